"""What goes with a table or a sequence that is dropped, and what stands in its way.

    table ──owns──▶ sequence ◀──nextval── default of another table's column

A sequence goes with the table or column that owns it. A default that uses a sequence keeps it from
being dropped, unless CASCADE takes the default away.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sqlnode import sqlstate
from sqlnode.catalog import references
from sqlnode.catalog.catalog import Catalog
from sqlnode.catalog.descriptors import Column, NumberSequence, Table
from sqlnode.ddl.change import Change
from sqlnode.errors import SqlError
from sqlnode.types.formatting import quoted


async def drop_all(
    change: Change,
    tables: Iterable[Table],
    sequences: Iterable[NumberSequence],
    *,
    what: str,
    cascade: bool,
) -> None:
    """Drop tables and sequences, and what they own. `what` is how an error calls them.

    Raises SqlError 2BP01 where something else needs them and `cascade` is not asked for.
    """
    gone = list(tables)
    owned = [each for table in gone for each in change.catalog.sequences_of(table.oid)]
    lost = {each.oid: each for each in (*sequences, *owned)}
    left = list(_defaults(change.catalog, set(lost), {table.oid for table in gone}))
    if left and not cascade:
        raise _needed(change, what, left, lost)
    await change.claim(*gone)
    await _take_away(change, left)
    change.drop(gone)
    change.drop_sequences(lost.values())


async def drop_owned(change: Change, table: Table, column: Column, *, cascade: bool) -> None:
    """A column of a claimed table goes: so do its sequences. Raises SqlError 2BP01 as `drop_all`
    does."""
    owned = {each.oid: each for each in change.catalog.sequences_of(table.oid, column.number)}
    left = [
        each
        for each in _defaults(change.catalog, set(owned), set())
        if (each[0].oid, each[1].number) != (table.oid, column.number)
    ]
    if left and not cascade:
        what = f"column {column.name} of table {shown_name(change, table)}"
        raise _needed(change, what, left, owned)
    await _take_away(change, left)
    change.drop_sequences(owned.values())


async def _take_away(change: Change, uses: "list[_Use]") -> None:
    """Remove defaults that use what is dropped, and say so."""
    await change.claim(*{table.oid: table for table, _, _ in uses}.values())
    shown = [_default_of(change, table, column) for table, column, _ in uses]
    if shown:
        many = f"{len(shown)} other objects"
        change.notice(f"drop cascades to {shown[0] if len(shown) == 1 else many}")
    for table, column, _ in uses:
        now = change.catalog.table_by_oid(table.oid) or table
        change.put(_without_default(now, column))


def shown_name(change: Change, relation: Table | NumberSequence) -> str:
    """A relation's name, qualified where the search path does not lead to it."""
    path = change.execution.functions.search_path()
    visible = change.catalog.relation_oid(relation.name, None, path) == relation.oid
    return quoted(relation.name) if visible else f"{relation.schema}.{quoted(relation.name)}"


_Use = tuple[Table, Column, int]
"""A default that uses the sequence with an OID."""


def _defaults(catalog: Catalog, sequences: set[int], but: set[int]) -> Iterator[_Use]:
    for table in sorted(catalog.tables.values(), key=lambda each: each.oid):
        for column in table.live if table.oid not in but else ():
            for oid in references.referenced(column.default) & sequences:
                yield table, column, oid


def _needed(
    change: Change, what: str, left: list[_Use], sequences: dict[int, NumberSequence]
) -> SqlError:
    lines = [
        f"{_default_of(change, table, column)} depends on sequence "
        f"{shown_name(change, sequences[oid])}"
        for table, column, oid in left
    ]
    them = "them" if what.startswith("desired") else "it"
    return SqlError(
        sqlstate.DEPENDENT_OBJECTS_STILL_EXIST,
        f"cannot drop {what} because other objects depend on {them}",
        detail="\n".join(lines),
        hint="Use DROP ... CASCADE to drop the dependent objects too.",
    )


def _default_of(change: Change, table: Table, column: Column) -> str:
    return f"default value for column {column.name} of table {shown_name(change, table)}"


def _without_default(table: Table, column: Column) -> Table:
    columns = tuple(
        replace(each, default=None) if each.number == column.number else each
        for each in table.columns
    )
    return replace(table, columns=columns)
