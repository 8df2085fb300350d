"""Index descriptors for constraints and CREATE INDEX."""

from collections.abc import Sequence
from dataclasses import replace

from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Index, IndexColumn, Table
from sqlnode.ddl.change import Change, choose_name, relation_exists
from sqlnode.ddl.columns import KeyConstraint
from sqlnode.errors import SqlError
from sqlnode.types.registry import by_oid, format_type

INDEX_COLUMNS_MAX = 32


def key_index(change: Change, table: Table, wanted: KeyConstraint) -> Index:
    """The index behind a PRIMARY KEY or UNIQUE constraint. Raises SqlError 42703, 42701, 42P07."""
    columns = _columns(table, wanted)
    taken = {index.name for index in table.indexes} | {table.name}
    name = wanted.name
    if name is None:
        parts = (table.name, "pkey") if wanted.primary else (table.name, *wanted.columns, "key")
        name = choose_name(change.catalog, table.schema, *parts, taken=taken)
    elif name in taken or change.catalog.name_taken(table.schema, name):
        raise relation_exists(name)
    return Index(
        oid=change.new_oid(),
        name=name,
        index_id=change.new_oid(),
        columns=columns,
        unique=True,
        primary=wanted.primary,
        constraint_oid=change.new_oid(),
    )


def _columns(table: Table, wanted: KeyConstraint) -> tuple[IndexColumn, ...]:
    kind = "primary key" if wanted.primary else "unique"
    found: list[IndexColumn] = []
    for name in wanted.columns:
        column = table.column(name)
        if column is None:
            raise SqlError(
                sqlstate.UNDEFINED_COLUMN,
                f'column "{name}" named in key does not exist',
                position=wanted.location,
            )
        if any(each.number == column.number for each in found):
            raise SqlError(
                sqlstate.DUPLICATE_COLUMN,
                f'column "{name}" appears twice in {kind} constraint',
                position=wanted.location,
            )
        check_indexable(column.type)
        found.append(IndexColumn(column.number))
    return checked_columns(found)


def checked_columns(columns: Sequence[IndexColumn]) -> tuple[IndexColumn, ...]:
    """The columns, if an index can have that many. Raises SqlError 54011."""
    if len(columns) > INDEX_COLUMNS_MAX:
        raise SqlError(
            sqlstate.TOO_MANY_COLUMNS,
            f"cannot use more than {INDEX_COLUMNS_MAX} columns in an index",
        )
    return tuple(columns)


def check_indexable(type_oid: int) -> None:
    """Raises SqlError 42704 where values of the type have no order in keys."""
    if by_oid(type_oid).key_kind is None:
        raise SqlError(
            sqlstate.UNDEFINED_OBJECT,
            f"data type {format_type(type_oid, -1)} has no default operator class "
            'for access method "btree"',
            hint="You must specify an operator class for the index "
            "or define a default operator class for the data type.",
        )


def with_keys(change: Change, table: Table, wanted: Sequence[KeyConstraint]) -> Table:
    """The table with constraints added; columns of a primary key become NOT NULL."""
    primary = [each for each in wanted if each.primary]
    if len(primary) + (table.primary is not None) > 1:
        raise SqlError(
            sqlstate.INVALID_TABLE_DEFINITION,
            f'multiple primary keys for table "{table.name}" are not allowed',
            position=primary[-1].location,
        )
    # The primary key first: it is the one that names itself after the table alone.
    for each in [*primary, *(each for each in wanted if not each.primary)]:
        index = key_index(change, table, each)
        table = replace(table, indexes=(*table.indexes, index))
        if each.primary:
            numbers = {column.number for column in index.columns}
            table = replace(
                table,
                columns=tuple(
                    replace(column, not_null=True) if column.number in numbers else column
                    for column in table.columns
                ),
            )
    return table
