"""Tenants and API keys: what exists, in SQLite.

A tenant goes through three states here, each one durable write:

    registered ──delete──▶ deleted (a tombstone, its name free) ──purge──▶ purged (its data is gone)

Whether a tenant is awake is not the registry's to know; that is the autoscaler's.
"""

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from control.database import Database, Row
from control.settings import Settings
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId

_COLUMNS = (
    "id, name, owner, database, scram_verifier, session_key, created_ns, settings_version,"
    " connections_max, idle_timeout_seconds, never_sleeps, pods_min, pods_max, allowed_networks"
)
_CHANGE_SETTINGS = (
    "UPDATE tenants SET settings_version = settings_version + 1, connections_max = ?,"
    " idle_timeout_seconds = ?, never_sleeps = ?, pods_min = ?, pods_max = ?, allowed_networks = ?"
    f" WHERE id = ? RETURNING {_COLUMNS}"
)
_KEY_BYTES = 32
SESSION_KEY_BYTES = 32
KEY_PREFIX = "dm_"
"""API keys start with this, so that a leaked one is found by a scanner."""


class NameTaken(Exception):
    """A living tenant has the name."""


class VersionMismatch(Exception):
    """The settings are not of a version that the change was made for."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A registered tenant."""

    id: TenantId
    name: str
    owner: str
    database: str
    scram_verifier: str
    session_key: bytes
    """Seals the sessions that move between its pods; for them alone."""

    created_ns: int
    settings: Settings
    settings_version: int

    def __repr__(self) -> str:
        return f"Tenant({self.name}-{self.id})"


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """A tenant as it is now, and the settings it had."""

    tenant: Tenant
    before: Settings


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What an API key may do, and how its owner calls it."""

    scope: str
    label: str


@dataclass(frozen=True, slots=True)
class TenantCounts:
    """How many tenants there are, and how many there ever were."""

    registered: int
    ever: int


class Registry:
    """The tables of tenants and API keys."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self, *, name: str, owner: str, database: str, scram_verifier: str, connections_max: int
    ) -> Tenant:
        """Register a tenant under a new id; durable on return. Raises NameTaken."""
        try:
            row = await self._database.write(
                "INSERT INTO tenants"
                " (name, owner, database, scram_verifier, session_key, connections_max, created_ns)"
                f" VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
                (
                    name,
                    owner,
                    database,
                    scram_verifier,
                    secrets.token_bytes(SESSION_KEY_BYTES),
                    connections_max,
                    self._clock.wall_ns(),
                ),
            )
        except sqlite3.IntegrityError as error:
            if "tenants.name" in str(error):
                raise NameTaken(name) from error
            raise
        if row is None:
            raise RuntimeError("an insert returned no row")
        return _tenant(row)

    async def get(self, tenant: TenantId) -> Tenant | None:
        """The living tenant with this id."""
        row = await self._database.read_one(
            f"SELECT {_COLUMNS} FROM tenants WHERE id = ? AND deleted_ns IS NULL", (tenant,)
        )
        return _tenant(row) if row is not None else None

    async def page(self, *, after: int, limit: int, name: str | None = None) -> list[Tenant]:
        """Living tenants by id, those above `after`, at most `limit`; only `name` if given."""
        condition = "id > ?" if name is None else "id > ? AND name = ?"
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM tenants WHERE deleted_ns IS NULL AND {condition}"
            " ORDER BY id LIMIT ?",
            (after, limit) if name is None else (after, name, limit),
        )
        return [_tenant(row) for row in rows]

    async def find(self, tenants: Sequence[TenantId]) -> dict[TenantId, Tenant]:
        """The living ones of those tenants."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM tenants WHERE id IN (SELECT value FROM json_each(?))"
            " AND deleted_ns IS NULL",
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

    async def change_settings(
        self,
        tenant: TenantId,
        change: Callable[[Settings], Settings],
        *,
        versions: Collection[int] | None = None,
    ) -> SettingsChanged | None:
        """Replace a living tenant's settings by what `change` makes of them; durable on return.

        None where there is no such tenant. Raises VersionMismatch where `versions` are given and
        the settings have none of them, and whatever `change` raises; then nothing has changed.
        Settings that come out as they were keep their version.
        """
        async with self._database.transaction() as connection:
            select = f"SELECT {_COLUMNS} FROM tenants WHERE id = ? AND deleted_ns IS NULL"
            rows = list(await connection.execute_fetchall(select, (tenant,)))
            if not rows:
                return None
            before = _tenant(tuple(rows[0]))
            if versions is not None and before.settings_version not in versions:
                raise VersionMismatch(before.settings_version)
            settings = change(before.settings)
            if settings == before.settings:
                return SettingsChanged(before, before.settings)
            values = (*_settings_row(settings), tenant)
            rows = list(await connection.execute_fetchall(_CHANGE_SETTINGS, values))
            after = _tenant(tuple(rows[0]))
        return SettingsChanged(after, before.settings)

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

    async def mark_deleted(self, tenant: TenantId) -> Tenant | None:
        """Turn a living tenant into a tombstone, which is returned; None where there is none."""
        row = await self._database.write(
            "UPDATE tenants SET deleted_ns = ?, scram_verifier = '', session_key = x''"
            f" WHERE id = ? AND deleted_ns IS NULL RETURNING {_COLUMNS}",
            (self._clock.wall_ns(), tenant),
        )
        return _tenant(row) if row is not None else None

    async def mark_purged(self, tenant: TenantId) -> None:
        """Note that a deleted tenant's data is gone."""
        await self._database.write(
            "UPDATE tenants SET purged_ns = ? WHERE id = ? AND deleted_ns IS NOT NULL",
            (self._clock.wall_ns(), tenant),
        )

    async def to_purge(self, limit: int) -> list[TenantId]:
        """Deleted tenants whose data may still be there, oldest id first."""
        rows = await self._database.read(
            "SELECT id FROM tenants WHERE deleted_ns IS NOT NULL AND purged_ns IS NULL"
            " ORDER BY id LIMIT ?",
            (limit,),
        )
        return [TenantId(row[0]) for row in rows]

    async def add_key_hash(self, key_hash: bytes, *, scope: str, label: str) -> None:
        """Register the hash of an API key; nothing happens if it is there."""
        await self._database.write(
            "INSERT INTO api_keys (hash, scope, label, created_ns) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (hash) DO NOTHING",
            (key_hash, scope, label, self._clock.wall_ns()),
        )

    async def find_key(self, key: str) -> ApiKey | None:
        """What is known of an API key, or None where it is unknown or revoked."""
        row = await self._database.read_one(
            "SELECT scope, label FROM api_keys WHERE hash = ? AND revoked_ns IS NULL",
            (hash_key(key),),
        )
        return ApiKey(*row) if row is not None else None


def generate_key(scope: str = "admin") -> str:
    """A new API key of 256 random bits."""
    return f"{KEY_PREFIX}{scope}_{secrets.token_urlsafe(_KEY_BYTES)}"


def hash_key(key: str) -> bytes:
    """What is stored of a key. One round: 256 random bits cannot be guessed at any speed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _tenant(row: Row) -> Tenant:
    tenant, name, owner, database, verifier, session_key, created_ns, version, *settings = row
    connections_max, idle_timeout_seconds, never_sleeps, pods_min, pods_max, networks = settings
    return Tenant(
        id=TenantId(tenant),
        name=name,
        owner=owner,
        database=database,
        scram_verifier=verifier,
        session_key=session_key,
        created_ns=created_ns,
        settings=Settings(
            connections_max=connections_max,
            idle_timeout_seconds=idle_timeout_seconds,
            never_sleeps=bool(never_sleeps),
            pods_min=pods_min,
            pods_max=pods_max,
            allowed_networks=tuple(json.loads(networks)),
        ),
        settings_version=version,
    )


def _settings_row(settings: Settings) -> Row:
    """In the order of `_CHANGE_SETTINGS`."""
    return (
        settings.connections_max,
        settings.idle_timeout_seconds,
        int(settings.never_sleeps),
        settings.pods_min,
        settings.pods_max,
        json.dumps(settings.allowed_networks),
    )
