"""The catalog: one immutable picture of all a tenant's objects, with lookups by name and OID.

A picture is read with one scan (`sqlnode.catalog.store`) and shared by all sessions of the pod. DDL
makes a changed copy, which only its own transaction sees until it commits; rolling back, whole or
to a savepoint, is going back to an older picture.

The system's tables are found like any other and are marked `virtual`: their rows are made from the
picture (`sqlnode.catalog.virtual`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlnode.catalog import deparse, system
from sqlnode.catalog.descriptors import Constraint, Index, Table
from sqlnode.types.base import Value

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
        """Whether a relation (table or index) of this name is in the schema."""
        key = (schema, name)
        return key in self.tables or key in self.indexes or key in system.relations()

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
        return None

    def relation_name(self, oid: int) -> Name | None:
        """See CatalogFunctions."""
        table = self.table_by_oid(oid)
        if table is not None:
            return table.schema, table.name
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
        table = self._by_oid.get(oid) if class_oid == system.PG_CLASS else None
        if table is None:
            return None
        if column == 0:
            return table.comment
        return next((each.comment for each in table.live if each.number == column), None)

    def default_sequence(self, relation: int, column: str) -> str | None:
        """See CatalogFunctions. There are no sequences."""
        del relation, column
        return None

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
        put: Iterable[Table] = (),
        drop: Iterable[Name] = (),
        schemas: Mapping[str, Schema] | None = None,
        next_oid: int | None = None,
    ) -> "Catalog":
        """A copy without the tables `drop`, and with `put` in place of those with their OIDs."""
        gone = set(drop)
        new = {table.oid: table for table in put}
        tables = {
            name: table
            for name, table in self.tables.items()
            if name not in gone and table.oid not in new
        }
        tables.update({(table.schema, table.name): table for table in new.values()})
        return replace(
            self,
            tables=tables,
            user_schemas=self.user_schemas if schemas is None else schemas,
            next_oid=self.next_oid if next_oid is None else next_oid,
        )

    def constraint_of(self, table: Table, name: str) -> Index | Constraint | None:
        """The constraint `name` of a table."""
        for index in table.indexes:
            if index.constraint_oid and index.name == name:
                return index
        return next((each for each in table.constraints if each.name == name), None)
