"""SELECT by primary key, without the machinery: one get, one decode, one projection."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from sqlnode.execute.api import Batch, Execution, ResultColumn, Row
from sqlnode.execute.runtime import Runtime
from sqlnode.plan.explain import explain
from sqlnode.plan.nodes import Plan


class PointSelect:
    """The plan of a single TableScan whose whole primary key is given."""

    tag = "SELECT"
    writes = False

    def __init__(
        self,
        plan: Plan,
        columns: tuple[ResultColumn, ...],
        param_types: tuple[int, ...],
        *,
        values: Callable[[Runtime], tuple[Any, ...]],
        encode: Callable[[Sequence[Any]], bytes],
        decode: Callable[[bytes], Row],
        process: Callable[[Batch, Runtime], Batch] | None,
    ) -> None:
        self._plan = plan
        self.tables = plan.tables
        self.columns: tuple[ResultColumn, ...] | None = columns
        self.param_types = param_types
        self._values = values
        self._encode = encode
        self._decode = decode
        self._process = process

    async def run(self, execution: Execution) -> AsyncIterator[Batch]:
        """See Executable.run."""
        if not execution.transaction.hold_tables(self.tables):
            await execution.transaction.lock_tables(self.tables)
        runtime = Runtime(execution, self._plan.slots)
        values = self._values(runtime)
        if None in values:
            return
        (found,) = await execution.transaction.get((self._encode(values),))
        if found is None:
            return
        rows = [self._decode(found)]
        if self._process is not None:
            rows = self._process(rows, runtime)
        if rows:
            execution.rows_processed += len(rows)
            yield rows

    def explain(self, *, verbose: bool = False) -> Sequence[str]:
        """See Executable.explain."""
        return explain(self._plan, verbose=verbose)
