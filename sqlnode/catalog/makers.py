"""What makers of system rows share."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sqlnode.catalog import system
from sqlnode.catalog.descriptors import Index, NumberSequence, Table

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.execute.api import Execution

Fact = dict[str, Any]
"""Column → value, in the runtime representation of the column's type."""
Maker = Callable[["Catalog", "Execution"], Iterable[Fact]]
Makers = Mapping[tuple[str, str], Maker]

BTREE, HEAP = 403, 2


def all_tables(catalog: "Catalog") -> Iterator[tuple[Table, str]]:
    """Every table and view with its relkind, the system's first."""
    for relation in system.relations().values():
        yield relation.table, relation.kind
    for table in user_tables(catalog):
        yield table, "r"


def user_tables(catalog: "Catalog") -> list[Table]:
    """The tenant's tables in the order they were made."""
    return sorted(catalog.tables.values(), key=lambda table: table.oid)


def user_sequences(catalog: "Catalog") -> list[NumberSequence]:
    """The tenant's sequences in the order they were made."""
    return sorted(catalog.sequences.values(), key=lambda sequence: sequence.oid)


def user_indexes(catalog: "Catalog") -> Iterator[tuple[Table, Index]]:
    """The tenant's indexes."""
    for table in user_tables(catalog):
        for index in table.indexes:
            yield table, index


def owner_name(catalog: "Catalog", owner: str, execution: "Execution") -> str:
    """The name of an owner as descriptors have it."""
    return owner or catalog.owner or execution.functions.session_user


def schema_oid(catalog: "Catalog", name: str) -> int:
    """OID of a schema that exists."""
    return catalog.schemas[name].oid


def database_name(catalog: "Catalog", execution: "Execution") -> str:
    """The tenant's database."""
    return catalog.database or execution.functions.current_database
