"""A DDL statement on its way: the catalog before, what it becomes, names and OIDs on demand.

    change = Change(execution)
    await change.claim(table)       # the table's lock, then one DDL at a time: the catalog is the
    …                               # newest from here on; edit change.catalog
    change.finish()                 # buffered; the transaction's own catalog from now

Nothing is visible to others before the transaction commits, and rolling back undoes it all. A
statement that changes no table begins with `Change.begin(execution)`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from proto import kv_pb2 as kv
from sqlnode import sqlstate
from sqlnode.catalog import store, system
from sqlnode.catalog.catalog import Catalog, Schema
from sqlnode.catalog.descriptors import Index, NumberSequence, Table
from sqlnode.errors import SqlError
from sqlnode.execute.api import Execution

NAME_BYTES_MAX = 63


class Change:
    """One DDL statement."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.transaction = execution.transaction
        self.before = execution.catalog
        self.catalog: Catalog = execution.catalog
        """The catalog as the statement has changed it so far."""
        self._next_oid = execution.catalog.next_oid
        self._alone = False

    @classmethod
    async def begin(cls, execution: Execution) -> "Change":
        """Become the one who changes the catalog. Raises CatalogStale."""
        change = cls(execution)
        await change.alone()
        return change

    async def alone(self) -> None:
        """Become the one who changes the catalog. Raises CatalogStale."""
        await store.begin_change(self.transaction, self.before)
        self._alone = True

    async def lock(self, *tables: Table, mode: int = kv.ACCESS_EXCLUSIVE) -> None:
        """Lock tables to the end of the transaction. Raises CatalogStale, SqlError 40P01, 55P03,
        57014."""
        if tables:
            await self.transaction.lock_tables([(table.oid, mode) for table in tables])
            if mode >= kv.TABLE_SHARE:
                self.transaction.look_anew()

    async def claim(self, *tables: Table, mode: int = kv.ACCESS_EXCLUSIVE) -> None:
        """Lock the tables that are to be changed, then become the one who changes the catalog."""
        await self.lock(*tables, mode=mode)
        await self.alone()

    def finish(self) -> None:
        """Buffer the changes; the session sees them from its next statement on."""
        if self.catalog is not self.before:
            if not self._alone:
                raise RuntimeError("a change of the catalog beside those of others")
            after = self.catalog.edited(next_oid=self._next_oid)
            store.save(self.transaction, self.before, after)
            self.execution.catalog = self.catalog = after

    def new_oid(self) -> int:
        """An OID nothing else has; also the id of a new key range."""
        self._next_oid += 1
        return self._next_oid - 1

    def notice(self, message: str, code: str = "00000") -> None:
        """Tell the client."""
        self.execution.notices.append(("NOTICE", code, message))

    async def new_generation(self) -> int:
        """A generation for a sequence that begins (see NumberSequence)."""
        return int(await self.execution.functions.sequences.new_generation())

    def put(self, *objects: Table | NumberSequence) -> None:
        """Let tables and sequences be as given; others with their OIDs go."""
        self.catalog = self.catalog.edited(put=objects)

    def drop_sequences(self, sequences: Iterable[NumberSequence]) -> None:
        """Remove sequences."""
        self.catalog = self.catalog.edited(drop=[(each.schema, each.name) for each in sequences])

    def drop(self, tables: Iterable[Table]) -> None:
        """Remove tables and give up their rows."""
        gone = list(tables)
        self.catalog = self.catalog.edited(drop=[(table.schema, table.name) for table in gone])
        for table in gone:
            self.retire(table, table.indexes)
            if table.primary is None:
                self.retire_range(table, table.heap_index_id)

    def put_schemas(self, schemas: Mapping[str, Schema]) -> None:
        """Let the tenant's schemas be these."""
        self.catalog = self.catalog.edited(schemas=schemas)

    def retire(self, table: Table, indexes: Iterable[Index]) -> None:
        """Give up the key ranges of indexes (the primary key's: the rows)."""
        for index in indexes:
            self.retire_range(table, index.index_id)

    def retire_range(self, table: Table, index_id: int) -> None:
        """Give up one key range of a table."""
        self.transaction.retire(*store.range_of(table, index_id))

    # --- names ---

    def find_table(self, target: Any) -> Table | None:
        """The table a RangeVar names, None if there is none."""
        return self.catalog.relation(
            target.relname,
            target.schemaname or None,
            search_path=self.execution.functions.search_path(),
        )

    def table(self, target: Any) -> Table:
        """The tenant's table a RangeVar names. Raises SqlError 42P01, 42809, 42501."""
        found = self.find_table(target)
        if found is not None:
            self.refuse_system(found)
            return found
        path = self.execution.functions.search_path()
        if self.catalog.relation_oid(target.relname, target.schemaname or None, path):
            raise SqlError(sqlstate.WRONG_OBJECT_TYPE, f'"{target.relname}" is not a table')
        raise undefined_relation(target)

    def refuse_system(self, table: Table) -> None:
        """Raises SqlError 42501 for a system table."""
        if table.virtual:
            raise SqlError(
                sqlstate.INSUFFICIENT_PRIVILEGE,
                f'permission denied: "{table.name}" is a system catalog',
            )

    def schema_for_new(self, target: Any) -> str:
        """Where a new relation goes. Raises SqlError 3F000, 42501."""
        name = target.schemaname
        if name and name not in self.catalog.schemas:
            raise undefined_schema(name)
        if not name:
            name = next(
                (s for s in self.execution.functions.search_path() if s != "pg_catalog"), ""
            )
        if not name:
            raise SqlError(sqlstate.INVALID_SCHEMA_NAME, "no schema has been selected to create in")
        if self.catalog.schemas[name].oid in _SYSTEM_SCHEMAS:
            raise SqlError(
                sqlstate.INSUFFICIENT_PRIVILEGE,
                f'permission denied to create "{name}.{target.relname}"',
                detail="System catalog modifications are currently disallowed.",
            )
        return str(name)


_SYSTEM_SCHEMAS = {system.PG_CATALOG_OID, system.TOAST_OID, system.INFORMATION_SCHEMA_OID}


def undefined_relation(target: Any, kind: str = "relation") -> SqlError:
    """42P01 with PostgreSQL's text."""
    name = f"{target.schemaname}.{target.relname}" if target.schemaname else target.relname
    return SqlError(sqlstate.UNDEFINED_TABLE, f'{kind} "{name}" does not exist')


def undefined_schema(name: str) -> SqlError:
    """3F000 with PostgreSQL's text."""
    return SqlError(sqlstate.INVALID_SCHEMA_NAME, f'schema "{name}" does not exist')


def undefined_column(table: Table, name: str) -> SqlError:
    """42703 with PostgreSQL's text."""
    return SqlError(
        sqlstate.UNDEFINED_COLUMN, f'column "{name}" of relation "{table.name}" does not exist'
    )


def relation_exists(name: str) -> SqlError:
    """42P07 with PostgreSQL's text."""
    return SqlError(sqlstate.DUPLICATE_TABLE, f'relation "{name}" already exists')


def choose_name(catalog: Catalog, schema: str, *parts: str, taken: Iterable[str] = ()) -> str:
    """A free name for an index or a constraint made of `parts`, such as t_a_key or t_a_key1.

    Long parts are cut, the longest first, as PostgreSQL's makeObjectName does.
    """
    used = set(taken)
    *names, label = parts
    for number in range(10_000):
        ending = label + (str(number) if number else "")
        name = _made_name(names, ending)
        if name not in used and not catalog.name_taken(schema, name):
            return name
    raise SqlError(sqlstate.PROGRAM_LIMIT_EXCEEDED, "no free name is left for an index")


def _made_name(names: list[str], ending: str) -> str:
    first, rest = names[0], "_".join(names[1:])
    room = NAME_BYTES_MAX - len(ending.encode()) - 1 - (1 if rest else 0)
    while len(first.encode()) + len(rest.encode()) > room:
        if len(first.encode()) > len(rest.encode()):
            first = first[:-1]
        else:
            rest = rest[:-1]
    return "_".join(filter(None, (first, rest, ending)))
