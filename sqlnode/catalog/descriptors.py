"""Descriptors: immutable pictures of a tenant's objects, as the catalog keeps them.

A table's rows live under (`table_id`, primary index's `index_id`); the value holds all columns that
`sqlnode.rows` lays out by the last of `layouts`. A table without a primary key is keyed by a hidden
64-bit row id that no statement sees. A secondary index entry's key is (indexed columns, and for a
non-unique index the row's key suffix); its value is the row's key suffix.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `number` is its attnum: 1-based, never reused within the table."""

    name: str
    number: int
    type: int
    typmod: int = -1
    not_null: bool = False
    default: str | None = None
    """SQL text of the DEFAULT expression."""
    dropped: bool = False
    missing: Any = None
    """The value (in its runtime representation) of rows written before the column was added."""
    comment: str | None = None
    identity: str = ""
    """a: GENERATED ALWAYS AS IDENTITY, d: BY DEFAULT."""
    sequence: int = 0
    """OID of the sequence behind an identity column."""

    @property
    def filled(self) -> str | None:
        """SQL text of what a row has where nothing is given; None for NULL."""
        return f"nextval('{self.sequence}'::regclass)" if self.identity else self.default


@dataclass(frozen=True, slots=True)
class IndexColumn:
    """One key column of an index."""

    number: int
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """An index. `index_id` names its key range; rewriting the index gives it a new one."""

    oid: int
    name: str
    index_id: int
    columns: tuple[IndexColumn, ...]
    unique: bool = False
    primary: bool = False
    constraint_oid: int = 0
    """pg_constraint's OID where a PRIMARY KEY or UNIQUE constraint stands behind it."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a table that is not an index of its own: CHECK (`kind` c)."""

    oid: int
    name: str
    kind: str
    expression: str
    """SQL text of the condition."""
    columns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NumberSequence:
    """A sequence: what its numbers look like. Where it stands is in storage, under `generation`
    (`sqlnode.kv.sequences`); starting anew is another generation."""

    oid: int
    name: str
    schema: str
    generation: int
    first: int = 1
    """What this generation begins with."""
    type: int = 20
    start: int = 1
    increment: int = 1
    min: int = 1
    max: int = 2**63 - 1
    cache: int = 1
    cycle: bool = False
    table: int = 0
    """OID of the table that owns it, and goes with it; 0: none."""
    column: int = 0
    """The column of that table."""
    identity: bool = False
    """Whether the column is an identity column, of which it is a part."""
    owner: str = ""
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table, whether a tenant's own or one of the system's (`virtual`)."""

    oid: int
    name: str
    schema: str
    table_id: int
    columns: tuple[Column, ...]
    heap_index_id: int = 1
    """Key range of the rows where there is no primary key."""
    indexes: tuple[Index, ...] = ()
    owner: str = ""
    options: tuple[str, ...] = ()
    """Storage parameters as given (fillfactor=100): kept and shown, without effect."""
    virtual: bool = False
    """Rows come from the catalog instead of storage (pg_catalog, information_schema)."""
    tenant: int = 0
    """Whose keyspace the rows are in."""
    layouts: tuple[tuple[int, ...], ...] = ()
    """Column numbers in each layout that stored rows may have; rows are written in the last one,
    which is that of the live columns. Empty: there is only that one."""
    constraints: tuple["Constraint", ...] = ()
    comment: str | None = None
    rows_estimate: float = -1.0
    """pg_class.reltuples: rows at the last ANALYZE, -1 before the first."""
    live: tuple[Column, ...] = field(init=False)
    """The columns that are not dropped, in order."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "live", tuple(c for c in self.columns if not c.dropped))

    @property
    def primary(self) -> Index | None:
        """The primary key's index, which is where the rows themselves live."""
        return next((index for index in self.indexes if index.primary), None)

    def column(self, name: str) -> Column | None:
        """The live column called `name`."""
        return next((column for column in self.live if column.name == name), None)
