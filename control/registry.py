"""Tenants: what exists, in SQLite.

A tenant goes through these states here, each one durable write:

    registered ──delete──▶ deleted (its name free) ──grace period──▶ due ──purge──▶ purged
         ▲                    │                                      its data is gone, its row
         └──────restore───────┘                                      stays as a tombstone

Whether a tenant is awake is not the registry's to know; that is the autoscaler's.
"""

import json
import secrets
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiosqlite

from control.actor import DEFAULT_ORGANISATION, OrganisationId
from control.database import Database, Row
from control.events import Event, EventKind, Events, time_text
from control.filters import Filter, page_query
from control.journal import Journal, Note, created
from control.keys import revoke_keys_of
from control.operations import Kind, Operation, Operations
from control.owners import note_news
from control.settings import Settings, differences
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId

_COLUMNS = (
    "id, name, owner, database, scram_verifier, sealed_session_key, created_ns, settings_version,"
    " organisation_id, labels, deleted_ns, purge_after_ns,"
    " connections_max, idle_timeout_seconds, never_sleeps, pods_min, pods_max, allowed_networks,"
    " storage_max_bytes, recovery_window_seconds"
)
_LIVING = f"SELECT {_COLUMNS} FROM tenants WHERE id = ? AND deleted_ns IS NULL"
_CHANGE = (
    "UPDATE tenants SET settings_version = settings_version + 1, name = ?, labels = ?,"
    " connections_max = ?, idle_timeout_seconds = ?, never_sleeps = ?, pods_min = ?, pods_max = ?,"
    " allowed_networks = ?, storage_max_bytes = ?, recovery_window_seconds = ?"
    f" WHERE id = ? RETURNING {_COLUMNS}"
)
SESSION_KEY_BYTES = 32
SESSION_KEY = "session key"
"""What the vault seals `tenants.sealed_session_key` for."""


class NameTaken(Exception):
    """A living tenant has the name."""


class VersionMismatch(Exception):
    """What is to change is not of a version that the change was made for."""


class NoOrganisation(Exception):
    """The organisation does not live."""


class NotRestorable(Exception):
    """There is no deleted tenant with this id whose data is still there."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A registered tenant."""

    id: TenantId
    name: str
    owner: str
    database: str
    scram_verifier: str
    sealed_session_key: bytes
    """Seals the sessions that move between its pods, which alone are given it; see
    `Registry.session_key_of`."""

    created_ns: int
    settings: Settings
    version: int
    """Counts the changes of its name, labels and settings, its deletion and restoring."""

    organisation: OrganisationId = DEFAULT_ORGANISATION
    labels: Mapping[str, str] = field(default_factory=dict)
    deleted_ns: int | None = None
    purge_after_ns: int | None = None
    """From then on a deleted tenant's data may go."""

    def __repr__(self) -> str:
        return f"Tenant({self.name}-{self.id})"


@dataclass(frozen=True, slots=True)
class Draft:
    """What of a tenant is changed."""

    name: str
    labels: Mapping[str, str]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Changed:
    """A tenant as it is now, and as it was."""

    tenant: Tenant
    before: Tenant


@dataclass(frozen=True, slots=True)
class Deleted:
    """A tombstone, and the operation that goes on behind it."""

    tenant: Tenant
    operation: Operation


@dataclass(frozen=True, slots=True)
class TenantCounts:
    """How many tenants there are, and how many there ever were."""

    registered: int
    ever: int


class Registry:
    """The table of tenants."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        journal: Journal,
        operations: Operations,
        *,
        events: Events,
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._events = events
        self._operations = operations

    async def add(
        self,
        *,
        name: str,
        owner: str,
        database: str,
        scram_verifier: str,
        connections_max: int,
        organisation: OrganisationId = DEFAULT_ORGANISATION,
        labels: Mapping[str, str] | None = None,
    ) -> Tenant:
        """Register a tenant under a new id; durable on return.

        Raises NameTaken and NoOrganisation.
        """
        insert = (
            "INSERT INTO tenants (name, owner, database, scram_verifier, sealed_session_key,"
            " connections_max, created_ns, organisation_id, labels)"
            " SELECT ?, ?, ?, ?, ?, ?, ?, id, ? FROM organisations"
            f" WHERE id = ? AND deleted_ns IS NULL RETURNING {_COLUMNS}"
        )
        values = (
            name,
            owner,
            database,
            scram_verifier,
            self._new_session_key(),
            connections_max,
            self._clock.wall_ns(),
            json.dumps(labels or {}),
            organisation,
        )
        async with self._database.transaction() as connection:
            tenant = await _write_named(connection, name, insert, values)
            if tenant is None:
                raise NoOrganisation(organisation)
            await _index_labels(connection, tenant)
            changes = created(name=name, labels=dict(tenant.labels))
            await self._journal.write(connection, note_of(tenant, "tenant.create", changes))
            event = event_of(tenant, EventKind.TENANT_CREATED, name=name)
            await self._events.record(connection, event)
        return tenant

    async def reserve(
        self,
        draft: Draft,
        *,
        owner: str,
        organisation: OrganisationId,
        seconds: float,
        contents: tuple[int, int, int],
    ) -> Tenant:
        """A tombstone for a tenant whose rows are on their way from a backup: `restore` with a
        verifier makes it live, else it is purged after so many `seconds`.

        `contents`: see control/steps/restores.py. Raises NameTaken and NoOrganisation.
        """
        now_ns = self._clock.wall_ns()
        insert = (
            "INSERT INTO tenants (name, owner, database, scram_verifier, sealed_session_key,"
            " created_ns, deleted_ns, purge_after_ns, labels, connections_max,"
            " idle_timeout_seconds, never_sleeps, pods_min, pods_max, allowed_networks,"
            " storage_max_bytes, recovery_window_seconds, organisation_id)"
            " SELECT ?1, ?2, ?1, '', x'', ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, id"
            f" FROM organisations WHERE id = ?14 AND deleted_ns IS NULL RETURNING {_COLUMNS}"
        )
        due_ns = now_ns + int(seconds * 1_000_000_000)
        labels = json.dumps(draft.labels)
        values = (draft.name, owner, now_ns, due_ns, labels, *_settings_row(draft.settings))
        async with self._database.transaction() as connection:
            taken = await connection.execute_fetchall(
                "SELECT 1 FROM tenants WHERE name = ? AND deleted_ns IS NULL", (draft.name,)
            )
            if list(taken):
                raise NameTaken(draft.name)
            tenant = await _write_named(connection, draft.name, insert, (*values, organisation))
            if tenant is None:
                raise NoOrganisation(organisation)
            await _index_labels(connection, tenant)
            # Those of tenants that are purged are of no use any more.
            await connection.execute(
                "DELETE FROM restores WHERE tenant_id IN"
                " (SELECT id FROM tenants WHERE purged_ns IS NOT NULL)"
            )
            await connection.execute(
                "INSERT INTO restores (tenant_id, rows, counters, has_catalog) VALUES (?, ?, ?, ?)",
                (tenant.id, *contents),
            )
            changes = created(name=draft.name, labels=dict(tenant.labels))
            await self._journal.write(connection, note_of(tenant, "tenant.import", changes))
        return tenant

    def session_key_of(self, tenant: Tenant) -> bytes:
        """What its pods seal sessions with; empty of a deleted tenant. Raises VaultError."""
        sealed = tenant.sealed_session_key
        return self._database.vault.open(SESSION_KEY, sealed) if sealed else b""

    def _new_session_key(self) -> bytes:
        return self._database.vault.seal(SESSION_KEY, secrets.token_bytes(SESSION_KEY_BYTES))

    async def get(self, tenant: TenantId) -> Tenant | None:
        """The living tenant with this id."""
        row = await self._database.read_one(_LIVING, (tenant,))
        return _tenant(row) if row is not None else None

    async def organisation_of(self, tenant: TenantId) -> OrganisationId | None:
        """Whose it is, also of a deleted tenant; None where there never was one."""
        row = await self._database.read_one(
            "SELECT organisation_id FROM tenants WHERE id = ?", (tenant,)
        )
        return OrganisationId(row[0]) if row is not None else None

    async def page(self, *, after: int, limit: int, where: Filter | None = None) -> list[Tenant]:
        """Tenants by id, those above `after`, at most `limit`."""
        query, values = page_query(_COLUMNS, where or Filter(), after=after, limit=limit)
        return [_tenant(row) for row in await self._database.read(query, values)]

    async def find(self, tenants: Sequence[TenantId]) -> dict[TenantId, Tenant]:
        """Those tenants that there are or were; a purged one has nothing but its name."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM tenants WHERE id IN (SELECT value FROM json_each(?))",
            # One parameter, for SQLite counts parameters and their number has a bound.
            (json.dumps(tenants),),
        )
        found = map(_tenant, rows)
        return {tenant.id: tenant for tenant in found}

    async def kept_awake(self, *, after: int, limit: int) -> list[Tenant]:
        """Living tenants that have a least number of pods, by id, those above `after`."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM tenants WHERE deleted_ns IS NULL AND pods_min > 0 AND id > ?"
            " ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [_tenant(row) for row in rows]

    async def names(self, tenants: Sequence[TenantId]) -> dict[TenantId, str]:
        """The names of those tenants, also of deleted ones."""
        rows = await self._database.read(
            "SELECT id, name FROM tenants WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(tenants),),
        )
        return {TenantId(tenant): name for tenant, name in rows}

    async def change(
        self,
        tenant: TenantId,
        change: Callable[[Draft], Draft],
        *,
        action: str,
        versions: Collection[int] | None = None,
    ) -> Changed | None:
        """Replace a living tenant's name, labels and settings by what `change` makes of them;
        durable on return, and noted as `action`.

        None where there is no such tenant. Raises VersionMismatch where `versions` are given and
        the tenant has none of them, NameTaken, and whatever `change` raises; then nothing has
        changed. What comes out as it was keeps its version.
        """
        async with self._database.transaction() as connection:
            rows = list(await connection.execute_fetchall(_LIVING, (tenant,)))
            if not rows:
                return None
            before = _tenant(tuple(rows[0]))
            if versions is not None and before.version not in versions:
                raise VersionMismatch(before.version)
            draft = change(Draft(before.name, before.labels, before.settings))
            changes = _differences(before, draft)
            if not changes:
                return Changed(before, before)
            labels = json.dumps(draft.labels)
            values = (draft.name, labels, *_settings_row(draft.settings), tenant)
            after = await _write_named(connection, draft.name, _CHANGE, values)
            if after is None:
                raise RuntimeError("a tenant went away inside a transaction")
            if "labels" in changes:
                await _index_labels(connection, after)
            await self._journal.write(connection, note_of(after, action, changes))
            if "name" in changes:
                names = {"name": after.name, "before": before.name}
                event = event_of(after, EventKind.TENANT_RENAMED, **names)
                await self._events.record(connection, event)
        return Changed(after, before)

    async def set_verifier(self, tenant: TenantId, scram_verifier: str) -> Tenant | None:
        """Give the tenant's first role another password; None where there is no such tenant."""
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "UPDATE tenants SET scram_verifier = ? WHERE id = ? AND deleted_ns IS NULL"
                f" RETURNING {_COLUMNS}",
                (scram_verifier, tenant),
            )
            for row in rows:
                changed = _tenant(tuple(row))
                await note_news(connection, tenant)
                note = note_of(changed, "tenant.password", {})
                await self._journal.write(connection, note)
                return changed
        return None

    async def counts(self) -> TenantCounts:
        """See TenantCounts."""
        # All less the deleted ones: SQLite counts a whole table, and an index, without reading
        # rows (0.1 ms instead of 12 at 100,000 tenants, and it is asked again and again).
        row = await self._database.read_one(
            "SELECT (SELECT count(*) FROM tenants)"
            " - (SELECT count(*) FROM tenants WHERE deleted_ns IS NOT NULL),"
            " (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'tenants')"
        )
        return TenantCounts(*row) if row is not None else TenantCounts(0, 0)

    async def mark_deleted(self, tenant: TenantId, *, grace_seconds: float = 0) -> Deleted | None:
        """Turn a living tenant into a tombstone; None where there is none.

        Until the grace period is over it can be restored; without one its data is due at once, and
        a deleted tenant that waits becomes due.
        """
        now_ns = self._clock.wall_ns()
        due_ns = now_ns + int(grace_seconds * 1_000_000_000)
        waits = "deleted_ns IS NULL"
        if not grace_seconds:
            waits = f"({waits} OR purged_ns IS NULL)"
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "UPDATE tenants SET deleted_ns = coalesce(deleted_ns, ?1), purge_after_ns = ?2,"
                " sealed_session_key = x'', settings_version = settings_version + 1,"
                " scram_verifier = iif(?3, scram_verifier, '')"
                f" WHERE id = ?4 AND {waits} RETURNING {_COLUMNS}",
                (now_ns, due_ns, bool(grace_seconds), tenant),
            )
            for row in rows:
                gone = _tenant(tuple(row))
                kind = Kind.DELETE if grace_seconds else Kind.PURGE
                operation = await self._operations.begin(connection, kind, tenant)
                changes = {"name": (gone.name, None)}
                await self._journal.write(connection, note_of(gone, f"tenant.{kind}", changes))
                if gone.deleted_ns == now_ns:  # and was not deleted already
                    until = time_text(due_ns) if grace_seconds else None
                    data = {"name": gone.name, "restorable_until": until}
                    event = event_of(gone, EventKind.TENANT_DELETED, **data)
                    await self._events.record(connection, event)
                return Deleted(gone, operation)
        return None

    async def restore(
        self, tenant: TenantId, *, name: str | None = None, verifier: str | None = None
    ) -> Deleted:
        """Bring a deleted tenant back, under its name or another; with a new session key.

        With a `verifier` it is one whose rows came from a backup (`reserve`), and no other.
        Raises NotRestorable, NameTaken and NoOrganisation.
        """
        async with self._database.transaction() as connection:
            where = (
                "WHERE id = ? AND deleted_ns IS NOT NULL AND purge_after_ns > ?"
                " AND EXISTS (SELECT 1 FROM restores WHERE tenant_id = tenants.id) = ?"
            )
            rows = list(
                await connection.execute_fetchall(
                    f"SELECT {_COLUMNS}, EXISTS (SELECT 1 FROM organisations"
                    " WHERE organisations.id = organisation_id AND deleted_ns IS NULL)"
                    f" FROM tenants {where}",
                    (tenant, self._clock.wall_ns(), verifier is not None),
                )
            )
            if not rows:
                raise NotRestorable(tenant)
            *columns, is_owned = rows[0]
            gone = _tenant(tuple(columns))
            if not is_owned:
                raise NoOrganisation(gone.organisation)
            update = (
                "UPDATE tenants SET deleted_ns = NULL, purge_after_ns = NULL, name = ?,"
                " sealed_session_key = ?, scram_verifier = coalesce(?, scram_verifier),"
                f" settings_version = settings_version + 1 WHERE id = ? RETURNING {_COLUMNS}"
            )
            values = (name or gone.name, self._new_session_key(), verifier, tenant)
            back = await _write_named(connection, name or gone.name, update, values)
            if back is None:
                raise NotRestorable(tenant)
            await connection.execute("DELETE FROM restores WHERE tenant_id = ?", (tenant,))
            overtaken = "the tenant was restored"
            await self._operations.end(connection, tenant, (Kind.DELETE,), error=overtaken)
            operation = await self._operations.begin(connection, Kind.RESTORE, tenant)
            await self._operations.end(connection, tenant, (Kind.RESTORE,))
            await self._journal.write(
                connection, note_of(back, "tenant.restore", created(name=back.name))
            )
            event = event_of(back, EventKind.TENANT_RESTORED, name=back.name)
            await self._events.record(connection, event)
        return Deleted(back, operation)

    async def mark_purged(self, tenant: TenantId) -> None:
        """Note that a deleted tenant's data is gone; its keys and its password go with it."""
        now_ns = self._clock.wall_ns()
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "UPDATE tenants SET purged_ns = ?, scram_verifier = '', labels = '{}'"
                " WHERE id = ? AND deleted_ns IS NOT NULL AND purged_ns IS NULL"
                f" RETURNING {_COLUMNS}",
                (now_ns, tenant),
            )
            await connection.execute("DELETE FROM tenant_labels WHERE tenant_id = ?", (tenant,))
            await revoke_keys_of(connection, self._events, at_ns=now_ns, tenant=tenant)
            await self._operations.end(connection, tenant, (Kind.DELETE, Kind.PURGE))
            for row in rows:
                gone = _tenant(tuple(row))
                event = event_of(gone, EventKind.TENANT_PURGED, name=gone.name)
                await self._events.record(connection, event)

    async def to_purge(self, limit: int) -> list[TenantId]:
        """Deleted tenants whose grace period is over and whose data may still be there."""
        rows = await self._database.read(
            "SELECT id FROM tenants WHERE deleted_ns IS NOT NULL AND purged_ns IS NULL"
            " AND purge_after_ns <= ? ORDER BY purge_after_ns LIMIT ?",
            (self._clock.wall_ns(), limit),
        )
        return [TenantId(row[0]) for row in rows]


async def _write_named(
    connection: aiosqlite.Connection, name: str, sql: str, values: Row
) -> Tenant | None:
    """The tenant that a statement made or changed. Raises NameTaken."""
    try:
        rows = list(await connection.execute_fetchall(sql, values))
    except sqlite3.IntegrityError as error:
        if "tenants.name" in str(error):
            raise NameTaken(name) from error
        raise
    return _tenant(tuple(rows[0])) if rows else None


async def _index_labels(connection: aiosqlite.Connection, tenant: Tenant) -> None:
    """Have the tenant found by the labels it has now."""
    await connection.execute("DELETE FROM tenant_labels WHERE tenant_id = ?", (tenant.id,))
    if tenant.labels:
        await connection.execute(
            "INSERT INTO tenant_labels (name, value, tenant_id)"
            " SELECT key, value, ?1 FROM json_each(?2)",
            (tenant.id, json.dumps(tenant.labels)),
        )


def _differences(before: Tenant, draft: Draft) -> dict[str, tuple[Any, Any]]:
    changes = differences(before.settings, draft.settings)
    if before.name != draft.name:
        changes["name"] = (before.name, draft.name)
    if before.labels != draft.labels:
        changes["labels"] = (dict(before.labels), dict(draft.labels))
    return changes


def note_of(tenant: Tenant, action: str, changes: Mapping[str, tuple[Any, Any]]) -> Note:
    """What the audit log says of a change of a tenant."""
    return Note(
        action=action,
        resource=f"tenants/{tenant.id}",
        organisation=tenant.organisation,
        tenant=tenant.id,
        changes=changes,
    )


def event_of(tenant: Tenant, kind: EventKind, **data: Any) -> Event:
    """Something that happened to a tenant."""
    return Event(kind=kind, organisation=tenant.organisation, tenant=tenant.id, data=data)


def _tenant(row: Row) -> Tenant:
    tenant, name, owner, database, verifier, sealed_key, created_ns, version, *rest = row
    organisation, labels, deleted_ns, purge_after_ns, *settings = rest
    connections_max, idle_timeout_seconds, never_sleeps, pods_min, pods_max, *limits = settings
    networks, storage_max_bytes, recovery_window_seconds = limits
    return Tenant(
        id=TenantId(tenant),
        name=name,
        owner=owner,
        database=database,
        scram_verifier=verifier,
        sealed_session_key=sealed_key,
        created_ns=created_ns,
        settings=Settings(
            connections_max=connections_max,
            idle_timeout_seconds=idle_timeout_seconds,
            never_sleeps=bool(never_sleeps),
            pods_min=pods_min,
            pods_max=pods_max,
            allowed_networks=tuple(json.loads(networks)),
            storage_max_bytes=storage_max_bytes,
            recovery_window_seconds=recovery_window_seconds,
        ),
        version=version,
        organisation=OrganisationId(organisation),
        labels=json.loads(labels),
        deleted_ns=deleted_ns,
        purge_after_ns=purge_after_ns,
    )


def _settings_row(settings: Settings) -> Row:
    """In the order of `_CHANGE`."""
    return (
        settings.connections_max,
        settings.idle_timeout_seconds,
        int(settings.never_sleeps),
        settings.pods_min,
        settings.pods_max,
        json.dumps(settings.allowed_networks),
        settings.storage_max_bytes,
        settings.recovery_window_seconds,
    )
