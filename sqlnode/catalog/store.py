"""The catalog in the tenant's keyspace: read with one scan, changed by DDL under one lock.

    /tenant/1/1/0            head: the next OID
    /tenant/1/1/1/oid        a schema
    /tenant/1/1/2/oid        a table, with its columns, indexes and constraints
    /tenant/1/1/3/oid        a sequence
    /tenant/4/generation     where a sequence stands: storage's own, and not versioned

Nothing there at all is the catalog of a fresh tenant: schemas public, pg_catalog and
information_schema. Making a tenant writes nothing.

*One DDL at a time*, on all the tenant's pods together. Whoever changes the catalog first locks the
head and learns from its commit time whether the picture it has is the newest: every change writes
the head, so the head's time is the catalog's version. If not, the statement is analysed anew. OIDs
are handed out under that lock too.

*Tables.* A pod must not read or commit rows by a shape that the table no longer has, and no row may
slip past an index while it is being built. So every statement holds its tables, in PostgreSQL's
modes (manual, 13.3.1) and to the end of its transaction:

    SELECT                          ACCESS SHARE            ┐ noted in the pod
    SELECT … FOR UPDATE             ROW SHARE               │ (`sqlnode.kv.tables`)
    INSERT, UPDATE, DELETE, COPY    ROW EXCLUSIVE           ┘
    ANALYZE, VACUUM, COMMENT,       SHARE UPDATE EXCLUSIVE  ┐
      ALTER TABLE SET (…)                                   │ asked of storage
    CREATE INDEX                    SHARE                   │
    other ALTER, DROP, TRUNCATE     ACCESS EXCLUSIVE        ┘

A change locks its tables first and the head after that: who waits for readers of one table does not
hold up changes of others. Whoever got a table after it was changed is planned anew.

*Readers and versions.* Every pod keeps a picture of its own. A statement whose tables are not
locked, or that begins a snapshot to be kept, proves its version (`sqlnode.kv.transaction`), and a
DDL's commit is answered only when every other pod has the new picture (`sqlnode.kv.following`), so
that a statement which asks storage nothing, such as one on pg_class, is up to date too.
"""

from typing import TYPE_CHECKING

from dormouse.base import keys
from dormouse.base.ids import TenantId
from dormouse.base.keys import KeyColumn
from dormouse.base.tasks import cancel, spawn
from sqlnode.catalog import encoding
from sqlnode.catalog.catalog import PUBLIC, Catalog, Schema
from sqlnode.catalog.descriptors import NumberSequence, Table
from sqlnode.kv.api import Transaction
from sqlnode.kv.errors import CatalogStale

if TYPE_CHECKING:
    from sqlnode.kv.client import KvClient
    from sqlnode.kv.transaction import KvTransaction

_CATALOG_TABLE, _SEQUENCES_TABLE = 1, 4
_HEAD, _SCHEMA, _TABLE, _SEQUENCE = 0, 1, 2, 3
_LOADS_MAX = 5


async def load(client: "KvClient", *, owner: str = "", database: str = "") -> Catalog:
    """Read the catalog: a scan and the version it is of, asked for together.

    `owner` and `database` are what the pod was stamped with. Raises SqlError.
    """
    for _ in range(_LOADS_MAX):
        asking = spawn(client.current_catalog_version(), name="catalog version")
        try:
            catalog, snapshot = await _read(client, owner, database)
            version = await asking
        finally:
            await cancel(asking)
        # A change between scan and question may be missing from the scan.
        if version <= snapshot:
            return _with_version(catalog, version)
    raise CatalogStale(0)


async def _read(client: "KvClient", owner: str, database: str) -> tuple[Catalog, int]:
    transaction = client.begin()
    try:
        found = await _scanned(transaction, client.tenant)
        return _built(found, client.tenant, owner, database), transaction.snapshot
    finally:
        transaction.rollback()


async def read_at(transaction: "KvTransaction", tenant: TenantId, *, like: Catalog) -> Catalog:
    """The catalog at the snapshot of a transaction, which is its version; `like`: another one of
    the tenant. Raises SqlError."""
    found = await _scanned(transaction, tenant)
    catalog = _built(found, tenant, like.owner, like.database)
    return _with_version(catalog, transaction.snapshot)


async def _scanned(transaction: "KvTransaction", tenant: TenantId) -> list[tuple[bytes, bytes]]:
    start, end = keys.index_span(tenant, _CATALOG_TABLE, 1)
    found: list[tuple[bytes, bytes]] = []
    async for page in transaction.scan(start, end, strip=len(start)):
        found += zip(page.keys, page.values, strict=True)
    return found


def _built(found: list[tuple[bytes, bytes]], tenant: int, owner: str, database: str) -> Catalog:
    schemas: dict[str, Schema] = {}
    tables: dict[tuple[str, str], Table] = {}
    sequences: dict[tuple[str, str], NumberSequence] = {}
    next_oid = None
    for key, value in found:
        if keys.decode_columns(key)[0] == _HEAD:
            next_oid = encoding.decode_next_oid(value)
            continue
        descriptor = encoding.decode(value, tenant=tenant)
        if isinstance(descriptor, Schema):
            schemas[descriptor.name] = descriptor
        elif isinstance(descriptor, NumberSequence):
            sequences[descriptor.schema, descriptor.name] = descriptor
        else:
            tables[descriptor.schema, descriptor.name] = descriptor
    if next_oid is None:
        return Catalog(tenant=tenant, owner=owner, database=database)
    return Catalog(
        tenant=tenant,
        owner=owner,
        database=database,
        user_schemas=schemas,
        tables=tables,
        sequences=sequences,
        next_oid=next_oid,
    )


def _with_version(catalog: Catalog, version: int) -> Catalog:
    object.__setattr__(catalog, "version", version)  # nobody has seen it yet
    return catalog


# --- changing ----------------------------------------------------------------------------------


async def begin_change(transaction: Transaction, catalog: Catalog) -> None:
    """Make this transaction the one that changes the catalog; waits for others.

    Raises CatalogStale if `catalog` is not the newest.
    """
    # Who is refused before he has the lock may be overtaken again and again; with it, once.
    [head] = await transaction.lock([_key(catalog, _HEAD)], proves=False)
    if head.version > catalog.version:
        raise CatalogStale(head.version)


def save(transaction: Transaction, before: Catalog, after: Catalog) -> None:
    """Buffer what turns `before` into `after`, the head included.

    Only this makes the commit one that changes the catalog: a statement that finds nothing to do
    (IF EXISTS) must not end the version everybody has.
    """
    transaction.change_catalog()
    _save_schemas(transaction, before, after)
    _save_sequences(transaction, before, after)
    old = {table.oid: table for table in before.tables.values()}
    new = {table.oid: table for table in after.tables.values()}
    for oid, table in new.items():
        if old.get(oid) is not table:
            transaction.put(_key(after, _TABLE, oid), encoding.encode(table))
    for oid in old:
        if oid not in new:
            transaction.delete(_key(after, _TABLE, oid))
    transaction.put(_key(after, _HEAD), encoding.encode_next_oid(after.next_oid))


def _save_schemas(transaction: Transaction, before: Catalog, after: Catalog) -> None:
    for name, schema in after.user_schemas.items():
        # The schema of a fresh tenant is written with its first change.
        if before.user_schemas.get(name) is not schema or schema is PUBLIC:
            transaction.put(_key(after, _SCHEMA, schema.oid), encoding.encode(schema))
    kept = {schema.oid for schema in after.user_schemas.values()}
    for schema in before.user_schemas.values():
        if schema.oid not in kept:
            transaction.delete(_key(after, _SCHEMA, schema.oid))


def _save_sequences(transaction: Transaction, before: Catalog, after: Catalog) -> None:
    old = {each.oid: each for each in before.sequences.values()}
    new = {each.oid: each for each in after.sequences.values()}
    for oid, sequence in new.items():
        if old.get(oid) is not sequence:
            transaction.put(_key(after, _SEQUENCE, oid), encoding.encode(sequence))
    for oid in old.keys() - new.keys():
        transaction.delete(_key(after, _SEQUENCE, oid))
    kept = {each.generation for each in new.values()}
    for sequence in old.values():
        if sequence.generation not in kept:
            transaction.retire(*sequence_range(after.tenant, sequence.generation))


def sequence_key(tenant: int, generation: int) -> bytes:
    """Under which storage has where a sequence stands."""
    return keys.index_prefix(TenantId(tenant), _SEQUENCES_TABLE, generation)


def sequence_range(tenant: int, generation: int) -> keys.Span:
    """Nothing but that key."""
    return keys.index_span(TenantId(tenant), _SEQUENCES_TABLE, generation)


def _key(catalog: Catalog, kind: int, oid: int | None = None) -> bytes:
    prefix = keys.index_prefix(TenantId(catalog.tenant), _CATALOG_TABLE, 1)
    columns = [KeyColumn("int"), KeyColumn("int")]
    return keys.key_encoder(prefix, columns)((kind,) if oid is None else (kind, oid))


def range_of(table: Table, index_id: int) -> keys.Span:
    """All keys of one of a table's key ranges."""
    return keys.index_span(TenantId(table.tenant), table.table_id, index_id)
