"""ALTER TABLE … ALTER COLUMN … ADD, SET and DROP IDENTITY."""

from dataclasses import replace
from typing import Any

from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Column, Table
from sqlnode.ddl import sequence_options
from sqlnode.ddl.alter_columns import column_of, with_column
from sqlnode.ddl.change import Change
from sqlnode.ddl.columns import identity_options
from sqlnode.ddl.owned_sequences import make
from sqlnode.ddl.sequences import altered
from sqlnode.errors import SqlError


async def add_identity(change: Change, table: Table, command: Any) -> Table:
    """ADD GENERATED … AS IDENTITY. Raises SqlError 42703, 55000, 22023."""
    node = getattr(command, "def").constraint
    column = column_of(table, command.name)
    options = identity_options(node.options, column.type)
    if not column.not_null:
        raise _state(table, column, "must be declared NOT NULL before identity can be added")
    if column.identity:
        raise _state(table, column, "is already an identity column")
    if column.default is not None:
        raise _state(table, column, "already has a default value")
    column = replace(column, identity=node.generated_when)
    made = await make(change, column, options, oid=table.oid, schema=table.schema, table=table.name)
    return with_column(table, replace(column, sequence=made.oid))


async def set_identity(change: Change, table: Table, command: Any) -> Table:
    """SET GENERATED, SET options, RESTART. Raises SqlError 42703, 55000, 22023."""
    column = column_of(table, command.name)
    nodes = getattr(command, "def").list.items
    if not column.identity:
        raise _state(table, column, "is not an identity column")
    generated = [each for each in nodes if each.def_elem.defname == "generated"]
    if len(generated) > 1:
        raise SqlError(sqlstate.SYNTAX_ERROR, "conflicting or redundant options")
    options = sequence_options.read(each for each in nodes if each not in generated)
    sequence = change.catalog.sequence_by_oid(column.sequence)
    if sequence is None:
        raise LookupError("an identity column without its sequence")
    if options.given:
        change.put(await altered(change, sequence, options))
    if generated:
        column = replace(column, identity=chr(generated[0].def_elem.arg.integer.ival))
    return with_column(table, column)


async def drop_identity(change: Change, table: Table, command: Any) -> Table:
    """DROP IDENTITY: its sequence goes with it. Raises SqlError 42703, 55000."""
    column = column_of(table, command.name)
    if not column.identity:
        error = _state(table, column, "is not an identity column")
        if not command.missing_ok:
            raise error
        change.notice(f"{error.message}, skipping")
        return table
    sequence = change.catalog.sequence_by_oid(column.sequence)
    if sequence is not None:
        change.drop_sequences([sequence])
    return with_column(table, replace(column, identity="", sequence=0))


def _state(table: Table, column: Column, what: str) -> SqlError:
    text = f'column "{column.name}" of relation "{table.name}" {what}'
    return SqlError(sqlstate.OBJECT_NOT_IN_PREREQUISITE_STATE, text)
