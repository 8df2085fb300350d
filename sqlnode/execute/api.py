"""What running a statement needs and gives: the border between session and executor."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sqlnode.functions.base import FunctionContext
from sqlnode.kv.api import Transaction
from sqlnode.types.base import Value

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog

Row = tuple[Value, ...]
Batch = list[Row]
"""Rows that travel together, a few hundred to a few thousand; never empty."""


class Interrupts(Protocol):
    """The session's way into a running statement."""

    async def checkpoint(self) -> None:
        """Called between batches: lets other sessions run, raises SqlError 57014 when the statement
        was cancelled or its time is over."""
        ...


@dataclass(slots=True)
class Execution:
    """One run of one statement."""

    transaction: Transaction
    catalog: "Catalog"
    functions: FunctionContext
    interrupts: Interrupts
    params: tuple[Value, ...] = ()
    """Parameter values in their runtime representation, in order."""
    memory_bytes_max: int = 64 << 20
    """What sorts, hashes and aggregates may hold before they spill to disk (work_mem)."""
    rows_processed: int = 0
    """Rows returned, or inserted, updated, deleted: what the command tag counts."""
    notices: list[tuple[str, str, str]] = field(default_factory=list)
    """(severity, SQLSTATE, message) to send before the statement's end."""


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A field of RowDescription."""

    name: str
    type: int
    typmod: int = -1
    table: int = 0
    number: int = 0


class Executable(Protocol):
    """A planned and compiled statement; stateless, so that many sessions may run one at a time."""

    columns: tuple[ResultColumn, ...] | None
    """What rows it returns, None if it returns none."""
    param_types: tuple[int, ...]
    tag: str
    """Command tag without its count: SELECT, INSERT 0, UPDATE, DELETE."""
    writes: bool
    """Whether it needs a read-write transaction."""
    tables: tuple[tuple[int, int], ...]
    """What it locks before anything else (see kv Transaction.hold_tables)."""

    def run(self, execution: Execution) -> AsyncIterator[Batch]:
        """Run, giving batches of rows. A statement that writes has written when it is exhausted."""
        ...

    def explain(self, *, verbose: bool = False) -> Sequence[str]:
        """The plan as EXPLAIN's lines (without costs)."""
        ...
