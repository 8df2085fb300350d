"""INSERT, with ON CONFLICT.

Without ON CONFLICT rows are written batch by batch, uniqueness checked by the write itself. With it
each row's unique keys are locked first, which answers whether they exist; what is locked stays so,
and the row is written or not by what was found (no window in between).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Index
from sqlnode.errors import SqlError
from sqlnode.execute.api import Batch, Row
from sqlnode.execute.runtime import Operator, Runtime
from sqlnode.execute.scans import close
from sqlnode.execute.stages import Pipeline
from sqlnode.execute.writer import Change, TableWriter
from sqlnode.rowkeys import IndexKeys


@dataclass(frozen=True, slots=True)
class Upsert:
    """DO UPDATE: `condition` and `new` work on the existing row followed by the proposed one."""

    condition: Pipeline
    new: Pipeline
    assigned: frozenset[int]


class Insert:
    """Inserts the rows of `child`. `arbiters` None: no ON CONFLICT."""

    def __init__(
        self,
        child: Operator,
        writer: TableWriter,
        *,
        arbiters: Sequence[tuple[Index, IndexKeys]] | None,
        upsert: Upsert | None,
        returning: Pipeline | None,
        counts: bool,
    ) -> None:
        self._child = child
        self._writer = writer
        self._arbiters = arbiters
        self._upsert = upsert
        self._returning = returning
        self._counts = counts

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        execution = runtime.execution
        batches = self._child.run(runtime)
        touched: set[bytes] = set()
        try:
            async for batch in batches:
                if self._arbiters is None:
                    await self._writer.insert(execution, batch)
                    done = batch
                else:
                    done = [
                        row
                        for proposed in batch
                        for row in await self._one(runtime, proposed, touched)
                    ]
                await execution.transaction.flush()
                if self._counts:
                    execution.rows_processed += len(done)
                if self._returning is not None and done:
                    yield await self._returning.apply(done, runtime)
                await runtime.checkpoint()
        finally:
            await close(batches)

    async def _one(self, runtime: Runtime, row: Row, touched: set[bytes]) -> list[Row]:
        """The row as it was written, or none."""
        writer, transaction = self._writer, runtime.transaction
        writer.check_nulls(row, runtime.context)
        wanted = [
            (index, keys.encode(keys.values_of(row)))
            for index, keys in self._arbiters or ()
            if keys.checks(row)
        ]
        existing: tuple[bytes, bytes, bool] | None = None
        if wanted:
            locks = await transaction.lock([key for _, key in wanted], new=True)
            for (index, key), found in zip(wanted, locks, strict=True):
                if found.value is not None:
                    existing = (key, found.value, index.primary)
                    break
        if existing is None:
            await writer.insert(runtime.execution, [row])
            touched.update(key for _, key in wanted)
            return [row]
        if self._upsert is None:
            transaction.forgo()
            return []
        return await self._update(runtime, self._upsert, existing, row, touched)

    async def _update(
        self,
        runtime: Runtime,
        upsert: Upsert,
        existing: tuple[bytes, bytes, bool],
        proposed: Row,
        touched: set[bytes],
    ) -> list[Row]:
        writer = self._writer
        key, value, is_row = existing
        if key in touched:
            raise SqlError(
                sqlstate.CARDINALITY_VIOLATION,
                "ON CONFLICT DO UPDATE command cannot affect row a second time",
                hint="Ensure that no rows proposed for insertion within the same command have "
                "duplicate constrained values.",
            )
        touched.add(key)
        if not is_row:
            key = writer.rows.row_key(value)
            (found,) = await runtime.transaction.lock([key])
            if found.value is None:
                raise LookupError("an index entry leads to no row")
            value = found.value
        old = writer.layout.decode(value)
        if not await upsert.condition.apply([old + proposed], runtime):
            return []
        (new,) = await upsert.new.apply([old + proposed], runtime)
        change = Change(key, old, new, changed=True)
        await writer.update(runtime.execution, [change], upsert.assigned)
        return [new]
