"""The sequences of serial and identity columns: made with the column, named after it."""

from dataclasses import replace

from sqlnode.catalog.descriptors import Column, NumberSequence
from sqlnode.ddl import sequence_options
from sqlnode.ddl.change import Change, choose_name
from sqlnode.ddl.columns import ColumnDefinition
from sqlnode.ddl.sequence_options import Options


async def with_sequence(
    change: Change, defined: ColumnDefinition, *, oid: int, schema: str, table: str
) -> Column:
    """The column that was defined, with its sequence where it is to have one. `oid` is its table's.

    Raises SqlError 22023.
    """
    column = defined.column
    if defined.sequence is None:
        return column
    made = await make(change, column, defined.sequence, oid=oid, schema=schema, table=table)
    if column.identity:
        return replace(column, sequence=made.oid)
    return replace(column, default=f"nextval('{made.oid}'::regclass)")


async def make(
    change: Change, column: Column, options: Options, *, oid: int, schema: str, table: str
) -> NumberSequence:
    """A sequence that a column owns, put into the catalog. Raises SqlError 22023."""
    new = NumberSequence(
        change.new_oid(),
        choose_name(change.catalog, schema, table, column.name, "seq"),
        schema,
        generation=await change.new_generation(),
        table=oid,
        column=column.number,
        identity=bool(column.identity),
    )
    made = sequence_options.defined(new, options, type_oid=column.type)
    change.put(made)
    return made
