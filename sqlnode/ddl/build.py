"""Filling indexes and moving rows, a bounded batch at a time.

    claim the table ──▶ new snapshot ──▶ scan ──▶ encode ──▶ load ──▶ flush ──▶ next page

The table is claimed (`Change.claim`): who wrote to it has committed, and nobody else does until
this transaction ends, so no row slips past the snapshot. The new key range is nobody's yet: loading
it takes no locks, and duplicates show up among the transaction's own writes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Index, Table
from sqlnode.ddl.change import Change
from sqlnode.errors import SqlError
from sqlnode.execute.api import Execution, Row
from sqlnode.functions.base import FunctionContext
from sqlnode.kv.usage import system_work
from sqlnode.rowkeys import IndexKeys, row_keys
from sqlnode.rows import RowLayout
from sqlnode.types.base import Value
from sqlnode.types.registry import by_oid


async def build_index(change: Change, table: Table, index: Index) -> None:
    """Fill a secondary index from the rows of a claimed table. Raises SqlError 23505."""
    await change.transaction.begin_statement()
    layout, at = RowLayout(table), IndexKeys(table, index)
    execution = change.execution
    async for keys, values in _rows(execution, table):
        rows = layout.decode_many(values)
        _load_entries(execution, table, index, at, rows, keys)
        await _pause(execution)


async def rewrite(change: Change, before: Table, after: Table) -> Table:
    """Move the rows of `before`, a claimed table, to where `after` has them, and its indexes too.

    Answers `after` with fresh key ranges; those of `before` are retired. The rows' bytes stay as
    they are, so both must have the same layouts. Raises SqlError 23502, 23505.
    """
    await change.transaction.begin_statement()
    after = with_fresh_ranges(change, after)
    layout, to = RowLayout(before), row_keys(after)
    checked = [
        at
        for at, (old, new) in enumerate(zip(before.live, after.live, strict=True))
        if new.not_null and not old.not_null
    ]
    secondary = [(index, IndexKeys(after, index)) for index in after.indexes if not index.primary]
    execution, transaction = change.execution, change.transaction
    async for _keys, values in _rows(execution, before, keys=False):
        if checked:
            _check_values(after, checked, layout.decoder(checked).decode_many(values))
        if after.primary is None:
            keys = to.encode_row_ids(await transaction.row_ids(len(values)))
        else:
            keys = to.encode_many(layout.decoder(to.positions).decode_many(values))
        taken = transaction.load(keys, values)
        if taken is not None and after.primary is not None:
            row = layout.decode(values[taken])
            raise duplicate(after, after.primary, to, row, execution.functions)
        rows = layout.decode_many(values) if secondary else []
        for index, at in secondary:
            _load_entries(execution, after, index, at, rows, keys)
        await _pause(execution)
    retire_all(change, before)
    return after


async def rewrite_filled(
    change: Change, before: Table, after: Table, values: Callable[[int], Awaitable[list[Value]]]
) -> Table:
    """Like `rewrite`, where `after` has one column more at its end: `values` makes its values for
    so many rows. Raises SqlError 23502, 23505."""
    await change.transaction.begin_statement()
    after = with_fresh_ranges(change, after)
    reading, writing, to = RowLayout(before), RowLayout(after), row_keys(after)
    whole = reading.decoder(range(len(before.live)))
    secondary = [(index, IndexKeys(after, index)) for index in after.indexes if not index.primary]
    execution, transaction = change.execution, change.transaction
    async for _keys, stored in _rows(execution, before, keys=False):
        made = await values(len(stored))
        rows = [(*row, value) for row, value in zip(whole.decode_many(stored), made, strict=True)]
        check_not_null(after, rows)
        if after.primary is None:
            keys = to.encode_row_ids(await transaction.row_ids(len(rows)))
        else:
            keys = to.encode_many([tuple([row[at] for at in to.positions]) for row in rows])
        taken = transaction.load(keys, writing.encode_many(rows))
        if taken is not None and after.primary is not None:
            raise duplicate(after, after.primary, to, rows[taken], execution.functions)
        for index, at in secondary:
            _load_entries(execution, after, index, at, rows, keys)
        await _pause(execution)
    retire_all(change, before)
    return after


def with_fresh_ranges(change: Change, table: Table) -> Table:
    """The table with new key ranges for rows and indexes, all empty."""
    return replace(
        table,
        heap_index_id=change.new_oid(),
        indexes=tuple(replace(index, index_id=change.new_oid()) for index in table.indexes),
    )


def retire_all(change: Change, table: Table) -> None:
    """Give up every key range of a table."""
    change.retire(table, table.indexes)
    if table.primary is None:
        change.retire_range(table, table.heap_index_id)


async def check_rows(change: Change, before: Table, after: Table) -> None:
    """Look at every row of a claimed table for NULLs in columns that `after` makes NOT NULL.
    Raises SqlError 23502."""
    await change.transaction.begin_statement()
    layout = RowLayout(before)
    async for _keys, values in _rows(change.execution, before):
        check_not_null(after, layout.decode_many(values))
        await change.execution.interrupts.checkpoint()


async def count_rows(execution: Execution, table: Table) -> int:
    """How many rows the table has now."""
    keys = row_keys(table)
    pages = execution.transaction.scan(*keys.span, values=False, strip=len(keys.prefix))
    count = 0
    async for page in pages:
        count += len(page.keys)
        await execution.interrupts.checkpoint()
    return count


async def has_rows(execution: Execution, table: Table) -> bool:
    """Whether the table has any row."""
    keys = row_keys(table)
    async for page in execution.transaction.scan(*keys.span, values=False, rows_hint=1):
        return bool(page.keys)
    return False


def check_not_null(table: Table, rows: Sequence[Row]) -> None:
    """Raises SqlError 23502 where a row has NULL in a NOT NULL column."""
    wanted = [at for at, column in enumerate(table.live) if column.not_null]
    for row in rows:
        if None in row:
            for at in wanted:
                if row[at] is None:
                    raise contains_nulls(table, table.live[at].name)


def _check_values(table: Table, positions: Sequence[int], rows: Sequence[Row]) -> None:
    """Raises SqlError 23502 for a NULL; `rows` have the columns at `positions` only."""
    for row in rows:
        if None in row:
            raise contains_nulls(table, table.live[positions[row.index(None)]].name)


def contains_nulls(table: Table, column: str) -> SqlError:
    """23502 with PostgreSQL's text for existing rows."""
    return SqlError(
        sqlstate.NOT_NULL_VIOLATION,
        f'column "{column}" of relation "{table.name}" contains null values',
        schema=table.schema,
        table=table.name,
        column=column,
    )


def duplicate(
    table: Table, index: Index, at: IndexKeys, row: Row, context: FunctionContext
) -> SqlError:
    """23505 with PostgreSQL's text for an index that cannot be built."""
    values = at.values_of(row)
    columns = [table.live[position] for position in at.positions]
    names = ", ".join(column.name for column in columns)
    shown = ", ".join(
        by_oid(column.type).text_out(value, context)
        for column, value in zip(columns, values, strict=True)
    )
    return SqlError(
        sqlstate.UNIQUE_VIOLATION,
        f'could not create unique index "{index.name}"',
        detail=f"Key ({names})=({shown}) is duplicated.",
        schema=table.schema,
        table=table.name,
        constraint=index.name,
    )


def _load_entries(
    execution: Execution,
    table: Table,
    index: Index,
    at: IndexKeys,
    rows: Sequence[Row],
    keys: Sequence[bytes],
) -> None:
    entries = [at.entry(row, key) for row, key in zip(rows, keys, strict=True)]
    taken = execution.transaction.load([key for key, _ in entries], [value for _, value in entries])
    if taken is not None:
        raise duplicate(table, index, at, rows[taken], execution.functions)


async def _rows(
    execution: Execution, table: Table, *, keys: bool = True
) -> AsyncIterator[tuple[list[bytes], list[bytes]]]:
    """(row keys if wanted, row values), page by page; the tenant does not pay for the reading."""
    pages = execution.transaction.scan(*row_keys(table).span, keys=keys)
    while True:
        with system_work():
            page = await anext(pages, None)
        if page is None:
            return
        yield page.keys, page.values


async def _pause(execution: Execution) -> None:
    await execution.transaction.flush()
    await execution.interrupts.checkpoint()
