"""UPDATE and DELETE over locked rows (see `sqlnode.execute.locking`)."""

from collections.abc import AsyncIterator, Sequence

from sqlnode.execute.api import Batch
from sqlnode.execute.locking import Source, replaced
from sqlnode.execute.runtime import Runtime
from sqlnode.execute.stages import Pipeline
from sqlnode.execute.writer import Change, TableWriter


class Update:
    """Replaces rows. `key` and `columns` are the places of the target's key and columns in the
    source's rows; `new` makes the whole new row of such a row, `returning` what RETURNING lists
    of one in which the target's columns are already the new ones."""

    def __init__(
        self,
        source: Source,
        writer: TableWriter,
        *,
        key: int,
        columns: Sequence[int],
        new: Pipeline,
        assigned: frozenset[int],
        returning: Pipeline | None,
        counts: bool,
    ) -> None:
        self._source = source
        self._writer = writer
        self._key = key
        self._columns = tuple(columns)
        self._new = new
        self._assigned = assigned
        self._returning = returning
        self._counts = counts

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        execution = runtime.execution
        columns, place = self._columns, self._key
        async for locked in self._source.run(runtime):
            rows = [item.row for item in locked]
            new_rows = await self._new.apply(rows, runtime)
            changes = [
                Change(row[place], tuple([row[at] for at in columns]), new, changed=item.changed)
                for item, row, new in zip(locked, rows, new_rows, strict=True)
            ]
            await self._writer.update(execution, changes, self._assigned)
            await execution.transaction.flush()
            if self._counts:
                execution.rows_processed += len(rows)
            if self._returning is not None:
                after = [
                    replaced(row, columns, new) for row, new in zip(rows, new_rows, strict=True)
                ]
                yield await self._returning.apply(after, runtime)


class Delete:
    """Removes rows; see Update."""

    def __init__(
        self,
        source: Source,
        writer: TableWriter,
        *,
        key: int,
        columns: Sequence[int],
        returning: Pipeline | None,
        counts: bool,
    ) -> None:
        self._source = source
        self._writer = writer
        self._key = key
        self._columns = tuple(columns)
        self._returning = returning
        self._counts = counts

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        execution = runtime.execution
        columns, place = self._columns, self._key
        async for locked in self._source.run(runtime):
            gone = [
                (item.row[place], tuple([item.row[at] for at in columns]), item.changed)
                for item in locked
            ]
            await self._writer.delete(execution, gone)
            await execution.transaction.flush()
            if self._counts:
                execution.rows_processed += len(gone)
            if self._returning is not None:
                yield await self._returning.apply([item.row for item in locked], runtime)
