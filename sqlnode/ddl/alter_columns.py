"""ALTER TABLE's subcommands on columns. Rows are not touched: layouts and missing values do it."""

from dataclasses import replace
from typing import Any

import postgast

from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Column, Table
from sqlnode.ddl.build import (
    build_index,
    contains_nulls,
    has_rows,
    rewrite,
    rewrite_filled,
)
from sqlnode.ddl.change import Change, undefined_column
from sqlnode.ddl.columns import COLUMNS_MAX, define_column
from sqlnode.ddl.defaults import (
    Volatile,
    check_default,
    default_text,
    value_for_existing_rows,
    values_for_rows,
)
from sqlnode.ddl.dependents import drop_owned
from sqlnode.ddl.indexing import with_keys
from sqlnode.ddl.owned_sequences import with_sequence
from sqlnode.errors import SqlError
from sqlnode.rows import LAYOUTS_MAX

_pb: Any = postgast.pg_query_pb2


async def add_column(change: Change, table: Table, command: Any) -> Table:
    """ADD COLUMN. Raises SqlError 42701, 23502, 54011, 0A000."""
    node = getattr(command, "def").column_def
    if table.column(node.colname) is not None:
        text = f'column "{node.colname}" of relation "{table.name}" already exists'
        if not command.missing_ok:
            raise SqlError(sqlstate.DUPLICATE_COLUMN, text)
        change.notice(f"{text}, skipping", "42701")
        return table
    number = max((column.number for column in table.columns), default=0) + 1
    defined = define_column(node, number, table.name, change.execution.functions)
    if number > COLUMNS_MAX:
        raise SqlError(sqlstate.TOO_MANY_COLUMNS, f"tables can have at most {COLUMNS_MAX} columns")
    column = await with_sequence(
        change, defined, oid=table.oid, schema=table.schema, table=table.name
    )
    missing = await value_for_existing_rows(change.execution, column)
    if column.identity or isinstance(missing, Volatile):
        after = _with_layout(replace(table, columns=(*table.columns, column)), table)
        values = values_for_rows(change.execution, change.catalog, column)
        return await rewrite_filled(change, table, with_keys(change, after, defined.keys), values)
    column = replace(column, missing=missing)
    if column.not_null and missing is None and await has_rows(change.execution, table):
        raise contains_nulls(table, column.name)
    after = _with_layout(replace(table, columns=(*table.columns, column)), table)
    if not defined.keys:
        return after
    keyed = with_keys(change, after, defined.keys)
    if keyed.primary is not after.primary:
        return await rewrite(change, after, keyed)
    for index in keyed.indexes[len(after.indexes) :]:
        await build_index(change, after, index)
    return keyed


async def drop_column(change: Change, table: Table, command: Any) -> Table:
    """DROP COLUMN: its indexes go with it. Raises SqlError 42703."""
    column = table.column(command.name)
    if column is None:
        if not command.missing_ok:
            raise undefined_column(table, command.name)
        text = f'column "{command.name}" of relation "{table.name}" does not exist, skipping'
        change.notice(text)
        return table
    gone = [
        index
        for index in table.indexes
        if any(each.number == column.number for each in index.columns)
    ]
    without = replace(table, indexes=tuple(index for index in table.indexes if index not in gone))
    if any(index.primary for index in gone):
        # The rows move to hidden row ids first.
        without = await rewrite(change, table, without)
    else:
        change.retire(table, gone)
    cascade = command.behavior == _pb.DROP_CASCADE
    await drop_owned(change, without, column, cascade=cascade)
    columns = tuple(
        _dropped(each) if each.number == column.number else each for each in without.columns
    )
    return _with_layout(replace(without, columns=columns), without)


def _dropped(column: Column) -> Column:
    return Column(
        column.name,
        column.number,
        column.type,
        column.typmod,
        dropped=True,
        missing=column.missing,
    )


async def set_default(change: Change, table: Table, command: Any) -> Table:
    """SET DEFAULT and DROP DEFAULT. Raises SqlError 42703 and what the expression raises."""
    column = column_of(table, command.name)
    expression = getattr(command, "def")
    _refuse_identity(table, column, drops=expression.WhichOneof("node") is None)
    text = None
    if expression.WhichOneof("node") is not None:
        text = default_text(expression, column.type, change.execution.functions)
    changed = replace(column, default=text)
    await check_default(change.execution, changed)
    return with_column(table, changed)


async def drop_not_null(change: Change, table: Table, command: Any) -> Table:
    """DROP NOT NULL. Raises SqlError 42703, 42P16."""
    del change
    column = column_of(table, command.name)
    if column.identity:
        raise _is_identity(table, column)
    primary = table.primary
    if primary is not None and any(each.number == column.number for each in primary.columns):
        raise SqlError(
            sqlstate.INVALID_TABLE_DEFINITION, f'column "{column.name}" is in a primary key'
        )
    return with_column(table, replace(column, not_null=False))


def _refuse_identity(table: Table, column: Column, *, drops: bool) -> None:
    if column.identity:
        error = _is_identity(table, column)
        if drops:
            error.hint = "Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead."
        raise error


def _is_identity(table: Table, column: Column) -> SqlError:
    text = f'column "{column.name}" of relation "{table.name}" is an identity column'
    return SqlError(sqlstate.SYNTAX_ERROR, text)


def with_not_null(table: Table, name: str) -> Table:
    """The table with the column NOT NULL; the table itself where it is already."""
    column = column_of(table, name)
    if column.not_null:
        return table
    return with_column(table, replace(column, not_null=True))


def column_of(table: Table, name: str) -> Column:
    """The live column of a name. Raises SqlError 42703."""
    column = table.column(name)
    if column is None:
        raise undefined_column(table, name)
    return column


def with_column(table: Table, column: Column) -> Table:
    """The table with a column in place of that of its number."""
    columns = tuple(column if each.number == column.number else each for each in table.columns)
    return replace(table, columns=columns)


def _with_layout(table: Table, before: Table) -> Table:
    """The table with the layout of its columns as they are now. Raises SqlError 54011."""
    layouts = (
        *(before.layouts or (tuple(column.number for column in before.live),)),
        tuple(column.number for column in table.live),
    )
    if len(layouts) > LAYOUTS_MAX:
        raise SqlError(
            sqlstate.TOO_MANY_COLUMNS,
            f"columns of a table can be added and dropped {LAYOUTS_MAX} times",
            hint="Copy the rows to a new table.",
        )
    return replace(table, layouts=layouts)
