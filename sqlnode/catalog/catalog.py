"""The catalog: one immutable picture of all a tenant's objects, with lookups by name and OID.

A picture is read with one scan (`sqlnode.catalog.store`) and shared by all sessions of the pod. DDL
makes a changed copy, which only its own transaction sees until it commits; rolling back, whole or
to a savepoint, is going back to an older picture.

The system's tables are found like any other and are marked `virtual`: their rows are made from the
picture (`sqlnode.catalog.virtual`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from sqlnode.catalog import deparse, references, system
from sqlnode.catalog.descriptors import Column, Constraint, Index, NumberSequence, Table
from sqlnode.types import oids
from sqlnode.types.base import Value
from sqlnode.types.formatting import quoted

if TYPE_CHECKING:
    from sqlnode.execute.api import Execution


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema. `owner` empty is the tenant's first role."""

    oid: int
    name: str
    owner: str = ""
    comment: str | None = None


SYSTEM_SCHEMAS: Mapping[str, Schema] = {
    "pg_catalog": Schema(system.PG_CATALOG_OID, "pg_catalog", comment="system catalog schema"),
    "pg_toast": Schema(system.TOAST_OID, "pg_toast", comment="reserved schema for TOAST tables"),
    "information_schema": Schema(system.INFORMATION_SCHEMA_OID, "information_schema"),
}
PUBLIC = Schema(system.PUBLIC_OID, "public", "pg_database_owner", comment="standard public schema")

Name = tuple[str, str]
"""(schema, name)."""


@dataclass(frozen=True, eq=False)
class Catalog:
    """See the module. Compared by identity; use `edited` to change it."""

    version: int = 0
    """The tenant's catalog version this picture is of; 0 for one that never changed."""
    tenant: int = 0
    owner: str = ""
    """Name of the tenant's first role."""
    database: str = ""
    user_schemas: Mapping[str, Schema] = field(default_factory=lambda: {"public": PUBLIC})
    tables: Mapping[Name, Table] = field(default_factory=dict)
    """The tenant's own tables."""
    sequences: Mapping[Name, NumberSequence] = field(default_factory=dict)
    next_oid: int = system.FIRST_USER_OID

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        indexes = {
            (table.schema, index.name): (table, index)
            for table in self.tables.values()
            for index in table.indexes
        }
        set_field(self, "indexes", indexes)
        set_field(self, "schemas", {**SYSTEM_SCHEMAS, **self.user_schemas})
        set_field(self, "_by_oid", {table.oid: table for table in self.tables.values()})
        set_field(self, "_sequence_by_oid", {each.oid: each for each in self.sequences.values()})
        set_field(
            self,
            "_index_by_oid",
            {index.oid: pair for pair in indexes.values() for index in pair[1:]},
        )

    indexes: Mapping[Name, tuple[Table, Index]] = field(init=False, repr=False)
    schemas: Mapping[str, Schema] = field(init=False, repr=False)
    """All schemas by name, the system's included."""
    _by_oid: Mapping[int, Table] = field(init=False, repr=False)
    _index_by_oid: Mapping[int, tuple[Table, Index]] = field(init=False, repr=False)
    _sequence_by_oid: Mapping[int, NumberSequence] = field(init=False, repr=False)

    # --- lookups ---

    def relation(
        self, name: str, schema: str | None = None, *, search_path: Sequence[str] = ()
    ) -> Table | None:
        """The table `name`; without a schema the first along `search_path`."""
        for candidate in (schema,) if schema is not None else search_path:
            found = self.tables.get((candidate, name))
            if found is not None:
                return found
            builtin = system.relations().get((candidate, name))
            if builtin is not None:
                return builtin.table
        return None

    def table_by_oid(self, oid: int) -> Table | None:
        """The table with this OID, a tenant's own or the system's."""
        found = self._by_oid.get(oid)
        if found is None and oid < system.FIRST_USER_OID:
            builtin = system.by_oid().get(oid)
            return builtin.table if builtin is not None else None
        return found

    def readable(
        self, name: str, schema: str | None = None, *, search_path: Sequence[str] = ()
    ) -> Table | None:
        """What a SELECT finds by a name: a table, or a sequence as a table of one row."""
        for candidate in (schema,) if schema is not None else search_path:
            found = self.relation(name, candidate)
            if found is not None:
                return found
            sequence = self.sequences.get((candidate, name))
            if sequence is not None:
                return sequence_table(sequence)
        return None

    def sequence(
        self, name: str, schema: str | None = None, *, search_path: Sequence[str] = ()
    ) -> NumberSequence | None:
        """The sequence `name`; without a schema the first along `search_path`."""
        for candidate in (schema,) if schema is not None else search_path:
            found = self.sequences.get((candidate, name))
            if found is not None:
                return found
        return None

    def sequence_by_oid(self, oid: int) -> NumberSequence | None:
        """The sequence with this OID."""
        return self._sequence_by_oid.get(oid)

    def sequences_of(self, table: int, column: int | None = None) -> list[NumberSequence]:
        """The sequences a table owns, or one of its columns, the oldest first."""
        owned = [
            each
            for each in self.sequences.values()
            if each.table == table and column in (None, each.column)
        ]
        return sorted(owned, key=lambda each: each.oid)

    def index(
        self, name: str, schema: str | None = None, *, search_path: Sequence[str] = ()
    ) -> tuple[Table, Index] | None:
        """The index `name` with its table; without a schema the first along `search_path`."""
        for candidate in (schema,) if schema is not None else search_path:
            found = self.indexes.get((candidate, name))
            if found is not None:
                return found
        return None

    def name_taken(self, schema: str, name: str) -> bool:
        """Whether a relation (table, index or sequence) of this name is in the schema."""
        key = (schema, name)
        kinds = self.tables, self.indexes, self.sequences, system.relations()
        return any(key in kind for kind in kinds)

    def virtual_rows(self, table: Table, execution: "Execution") -> list[tuple[Value, ...]]:
        """The rows of a system table, one value per live column."""
        from sqlnode.catalog.virtual import rows  # it needs this module's types

        return rows(self, table, execution)

    # --- what functions ask (sqlnode.functions.base.CatalogFunctions) ---

    def relation_oid(self, name: str, schema: str | None, search_path: Sequence[str]) -> int | None:
        """See CatalogFunctions."""
        for candidate in (schema,) if schema is not None else search_path:
            table = self.relation(name, candidate)
            if table is not None:
                return table.oid
            found = self.indexes.get((candidate, name))
            if found is not None:
                return found[1].oid
            sequence = self.sequences.get((candidate, name))
            if sequence is not None:
                return sequence.oid
        return None

    def relation_name(self, oid: int) -> Name | None:
        """See CatalogFunctions."""
        named = self.table_by_oid(oid) or self.sequence_by_oid(oid)
        if named is not None:
            return named.schema, named.name
        found = self._index_by_oid.get(oid)
        return None if found is None else (found[0].schema, found[1].name)

    def schema_oid(self, name: str) -> int | None:
        """See CatalogFunctions."""
        found = self.schemas.get(name)
        return found.oid if found is not None else None

    def schema_name(self, oid: int) -> str | None:
        """See CatalogFunctions."""
        return next((schema.name for schema in self.schemas.values() if schema.oid == oid), None)

    def role_oid(self, name: str) -> int | None:
        """See CatalogFunctions."""
        if name == self.owner:
            return system.OWNER_OID
        return next((oid for oid, role in system.ROLES.items() if role == name), None)

    def role_name(self, oid: int) -> str | None:
        """See CatalogFunctions."""
        return self.owner if oid == system.OWNER_OID else system.ROLES.get(oid)

    def owner_oid(self, owner: str) -> int:
        """OID of a role a descriptor names as owner."""
        return self.role_oid(owner) or system.OWNER_OID

    def index_definition(self, oid: int) -> str | None:
        """See CatalogFunctions."""
        found = self._index_by_oid.get(oid)
        return deparse.index_definition(*found) if found is not None else None

    def index_column_definition(self, oid: int, column: int) -> str | None:
        """See CatalogFunctions."""
        found = self._index_by_oid.get(oid)
        if found is None or not 1 <= column <= len(found[1].columns):
            return None
        return deparse.index_column(found[0], found[1].columns[column - 1], ordering=False)

    def constraint_definition(self, oid: int) -> str | None:
        """See CatalogFunctions."""
        for table in self.tables.values():
            for index in table.indexes:
                if index.constraint_oid == oid:
                    return deparse.key_definition(table, index)
            for constraint in table.constraints:
                if constraint.oid == oid:
                    return deparse.check_definition(constraint)
        return None

    def comment(self, oid: int, class_oid: int, column: int) -> str | None:
        """See CatalogFunctions."""
        if class_oid == system.PG_NAMESPACE:
            name = self.schema_name(oid)
            return self.schemas[name].comment if name is not None else None
        if class_oid == system.PG_CLASS and oid in self._sequence_by_oid:
            return self._sequence_by_oid[oid].comment if column == 0 else None
        table = self._by_oid.get(oid) if class_oid == system.PG_CLASS else None
        if table is None:
            return None
        if column == 0:
            return table.comment
        return next((each.comment for each in table.live if each.number == column), None)

    def default_sequence(self, relation: int, column: str) -> str | None:
        """See CatalogFunctions."""
        table = self.table_by_oid(relation)
        found = None if table is None else table.column(column)
        if found is None:
            return None
        owned = self.sequences_of(relation, found.number)
        return f"{quoted(owned[0].schema)}.{quoted(owned[0].name)}" if owned else None

    def shown_expression(self, text: str, search_path: Sequence[str]) -> str:
        """An expression as it is stored, for people (`sqlnode.catalog.references`)."""

        def name(oid: int) -> str | None:
            found = self.relation_name(oid)
            if found is None:
                return None
            visible = self.relation_oid(found[1], None, search_path) == oid
            return ".".join(map(quoted, found[1:] if visible else found))

        return references.with_names(text, name)

    def has_column(self, relation: int, column: str | int) -> bool:
        """See CatalogFunctions."""
        table = self.table_by_oid(relation)
        return table is not None and any(column in (each.name, each.number) for each in table.live)

    def has_privilege(self, role: int, kind: str, oid: int, privilege: str) -> bool:
        """See CatalogFunctions. The first role owns all there is."""
        del kind, oid, privilege
        return role == system.OWNER_OID

    # --- changes ---

    def edited(
        self,
        *,
        put: Iterable[Table | NumberSequence] = (),
        drop: Iterable[Name] = (),
        schemas: Mapping[str, Schema] | None = None,
        next_oid: int | None = None,
    ) -> "Catalog":
        """A copy without what is called as in `drop`, and with `put` in place of the tables and
        sequences with their OIDs."""
        gone, new = set(drop), list(put)
        return replace(
            self,
            tables=_edited(self.tables, gone, [each for each in new if isinstance(each, Table)]),
            sequences=_edited(
                self.sequences, gone, [each for each in new if isinstance(each, NumberSequence)]
            ),
            user_schemas=self.user_schemas if schemas is None else schemas,
            next_oid=self.next_oid if next_oid is None else next_oid,
        )

    def constraint_of(self, table: Table, name: str) -> Index | Constraint | None:
        """The constraint `name` of a table."""
        for index in table.indexes:
            if index.constraint_oid and index.name == name:
                return index
        return next((each for each in table.constraints if each.name == name), None)


_Made = TypeVar("_Made", Table, NumberSequence)


def _edited(before: Mapping[Name, _Made], gone: set[Name], put: list[_Made]) -> dict[Name, _Made]:
    new = {each.oid: each for each in put}
    after = {
        name: each for name, each in before.items() if name not in gone and each.oid not in new
    }
    after.update({(each.schema, each.name): each for each in new.values()})
    return after


_STATE_COLUMNS = (
    Column("last_value", 1, oids.INT8, not_null=True),
    Column("log_cnt", 2, oids.INT8, not_null=True),
    Column("is_called", 3, oids.BOOL, not_null=True),
)


def sequence_table(sequence: NumberSequence) -> Table:
    """A sequence as SELECT sees it: one row that says where it stands."""
    return Table(
        sequence.oid, sequence.name, sequence.schema, sequence.oid, _STATE_COLUMNS, virtual=True
    )


def is_sequence(table: Table) -> bool:
    """Whether it is a `sequence_table`."""
    return table.virtual and table.oid >= system.FIRST_USER_OID
