"""The rows of system tables: made from the catalog when a query asks for them.

Each maker gives a dictionary per row, of the columns it has something to say about. The others are
NULL, or the zero of their type where PostgreSQL's table has NOT NULL. A table without a maker is
empty, unless PostgreSQL's own rows of it are kept (`sqlnode.builtins`).
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlnode.bridge import wait
from sqlnode.builtins.facts import facts
from sqlnode.catalog import (
    information_schema,
    lock_view,
    pg_objects,
    pg_views,
    sequence_views,
    statement_views,
    system,
)
from sqlnode.catalog.catalog import is_sequence
from sqlnode.catalog.descriptors import Column, Table
from sqlnode.catalog.makers import Fact, Makers
from sqlnode.types.array import EMPTY, Array
from sqlnode.types.base import Value
from sqlnode.types.registry import by_oid

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.execute.api import Execution

_MAKERS: Makers = {
    **{("pg_catalog", name): maker for name, maker in pg_objects.MAKERS.items()},
    **{("pg_catalog", name): maker for name, maker in pg_views.MAKERS.items()},
    **{("pg_catalog", name): maker for name, maker in statement_views.MAKERS.items()},
    **{("pg_catalog", name): maker for name, maker in lock_view.MAKERS.items()},
    **{("pg_catalog", name): maker for name, maker in sequence_views.MAKERS.items()},
    **{
        ("information_schema", name): maker
        for name, maker in sequence_views.STANDARD_MAKERS.items()
    },
    **{("information_schema", name): maker for name, maker in information_schema.MAKERS.items()},
}
_KEPT = frozenset(
    {
        "pg_type",
        "pg_proc",
        "pg_operator",
        "pg_cast",
        "pg_aggregate",
        "pg_am",
        "pg_opclass",
        "pg_opfamily",
        "pg_amop",
        "pg_range",
        "pg_language",
        "pg_collation",
    }
)
_ASKING = frozenset({"pg_locks", "pg_sequences"})
_VECTORS = {"oidvector", "int2vector"}


def waits(table: Table) -> bool:
    """Whether the rows of a system table are asked of storage (sqlnode.bridge)."""
    if is_sequence(table):
        return True
    return table.virtual and table.schema == "pg_catalog" and table.name in _ASKING


def rows(catalog: "Catalog", table: Table, execution: "Execution") -> list[tuple[Value, ...]]:
    """The rows of a system table, one value per live column."""
    sequence = catalog.sequence_by_oid(table.oid)
    if sequence is not None:
        return [wait(execution.functions.sequences.look(sequence))]
    maker = _MAKERS.get((table.schema, table.name))
    if maker is not None:
        return _filled(table, maker(catalog, execution))
    if table.schema == "pg_catalog" and table.name in _KEPT:
        return _kept(table.name)
    return []


def _filled(table: Table, made: Iterable[Fact]) -> list[tuple[Value, ...]]:
    names = [column.name for column in table.live]
    zeros = [_zero(column) for column in table.live]
    shape = dict(zip(names, zeros, strict=True))
    found = []
    for fact in made:
        unknown = fact.keys() - shape.keys()
        if unknown:
            raise LookupError(f"{table.name} has no columns {sorted(unknown)}")
        found.append(tuple((shape | fact).values()))
    return found


def _zero(column: Column) -> Value:
    if not column.not_null:
        return None
    kind = by_oid(column.type)
    if kind.name in _VECTORS:
        return Array.vector(())
    if kind.category == "A":
        return EMPTY
    if kind.category == "B":
        return False
    return "" if kind.category in "SZ" else 0


@cache
def _kept(name: str) -> list[tuple[Value, ...]]:
    """PostgreSQL's own rows of a table; read once per process."""
    table = system.relations()["pg_catalog", name].table
    source = facts(name)
    readers = [_reader(column) for column in table.live]
    positions = [source.position(column.name) for column in table.live]
    return [
        tuple(
            [
                None if (text := row[position]) is None else read(text)
                for position, read in zip(positions, readers, strict=True)
            ]
        )
        for row in source.rows
    ]


def _reader(column: Column) -> Callable[[str], Value]:
    kind = by_oid(column.type)
    if kind.struct_code in ("h", "i", "I", "q") or kind.name.startswith("reg"):
        return int
    if kind.name == "bool":
        return _is_true
    if kind.struct_code is None and kind.category in "SZ" and kind.name != "char":
        return str
    if not kind.implemented:
        return str
    settings: Any = None  # none of the kept columns' types looks at settings
    return lambda text: kind.text_in(text, -1, settings)


def _is_true(text: str) -> bool:
    return text == "t"
