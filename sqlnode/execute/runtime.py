"""One run of one plan: what every operator is handed."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from sqlnode.execute.api import Batch, Execution

BATCH_ROWS = 1024
"""Rows in a batch, unless storage gives them in other pieces."""


class Runtime:
    """The state of a run: parameters, slots, and the rows of WITH queries.

    `slots` holds what outer rows hand to inner plans and the results of sub-selects that run once.
    """

    __slots__ = ("context", "execution", "params", "shared", "slots", "transaction")

    def __init__(self, execution: Execution, slots: int) -> None:
        self.execution = execution
        self.params = execution.params
        self.context = execution.functions
        self.transaction = execution.transaction
        self.slots: list[Any] = [None] * slots
        self.shared: dict[Any, Any] = {}
        """State of operators that outlives one pass over them: materialised WITH queries, memos."""

    def close(self) -> None:
        """Give up what operators keep for the whole statement."""
        for kept in self.shared.values():
            close = getattr(kept, "close", None)
            if close is not None:
                close()
        self.shared.clear()

    async def checkpoint(self) -> None:
        """Let others run; raises SqlError where the statement was cancelled."""
        await self.execution.interrupts.checkpoint()


class Operator(Protocol):
    """A compiled plan node. Stateless: all state of a run is in generators and the Runtime."""

    def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """Batches of rows; closing the iterator early releases what it holds."""
        ...
