"""API keys: hashed, with a reach, a label and an end.

A key is 256 random bits, so one round of SHA-256 keeps it: a slow hash is for what people choose,
and nobody tries 2**256. Its text is in the answer that made it and nowhere else.

When a key was last used is noted in memory and written together, so that a busy key costs a write
a minute and not one per request.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import aiosqlite

from control.actor import EVERYTHING, Access, OrganisationId, Reach, Scope
from control.database import Database, Row
from control.events import Event, EventKind, Events
from control.journal import Journal, Note, created
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId

_KEY_BYTES = 32
KEY_PREFIX = "dm_"
"""API keys start with this, so that a leaked one is found by a scanner."""

KEYS_MAX = 200
"""Living keys of one organisation."""

_USED_MAX = 10_000
_COLUMNS = (
    "id, scope, access, organisation_id, tenant_id, label, created_ns, created_by, expires_ns,"
    " last_used_ns"
)
_LIVING = "revoked_ns IS NULL AND (expires_ns IS NULL OR expires_ns > ?)"


class TooManyKeys(Exception):
    """The organisation has as many keys as it may."""


class LastAdminKey(Exception):
    """Without this key nobody could administer the installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key that is not revoked."""

    id: int
    reach: Reach
    label: str
    created_ns: int = 0
    created_by: int | None = None
    """The key that made it; None: the gateway."""

    expires_ns: int | None = None
    last_used_ns: int | None = None


def generate_key(scope: str = "admin") -> str:
    """A new API key of 256 random bits."""
    return f"{KEY_PREFIX}{scope}_{secrets.token_urlsafe(_KEY_BYTES)}"


def hash_key(key: str) -> bytes:
    """What is stored of a key. One round: 256 random bits cannot be guessed at any speed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Keys:
    """The table `keys`."""

    def __init__(
        self, database: Database, clock: Clock, journal: Journal, *, events: Events
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._events = events
        self._used: dict[int, int] = {}

    async def add_admin_hash(self, key_hash: bytes, *, label: str) -> None:
        """Register the hash of the operator's key; nothing happens if it is there."""
        await self._database.write(
            "INSERT INTO keys (hash, scope, access, label, created_ns)"
            " VALUES (?, 'admin', 'write', ?, ?) ON CONFLICT (hash) DO NOTHING",
            (key_hash, label, self._clock.wall_ns()),
        )

    async def add(
        self, reach: Reach, *, label: str, expires_ns: int | None, created_by: int | None
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which is kept nowhere. Raises TooManyKeys."""
        async with self._database.transaction() as connection:
            return await self.insert(
                connection, reach, label=label, expires_ns=expires_ns, created_by=created_by
            )

    async def insert(
        self,
        connection: aiosqlite.Connection,
        reach: Reach,
        *,
        label: str,
        expires_ns: int | None = None,
        created_by: int | None = None,
    ) -> tuple[ApiKey, str]:
        """See `add`, in the transaction that is open on `connection`."""
        text = generate_key(reach.scope)
        now_ns = self._clock.wall_ns()
        count = f"SELECT count(*) FROM keys WHERE organisation_id IS ? AND {_LIVING}"
        values = (reach.organisation, now_ns)
        ((living,),) = await connection.execute_fetchall(count, values)
        if living >= KEYS_MAX:
            raise TooManyKeys(living)
        rows = await connection.execute_fetchall(
            "INSERT INTO keys (hash, scope, access, organisation_id, tenant_id, label,"
            " created_ns, created_by, expires_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            f" RETURNING {_COLUMNS}",
            (
                hash_key(text),
                reach.scope,
                reach.access,
                reach.organisation,
                reach.tenant,
                label,
                now_ns,
                created_by,
                expires_ns,
            ),
        )
        (key,) = (_key(tuple(row)) for row in rows)
        changes = created(
            label=label, scope=reach.scope, access=reach.access, expires_ns=expires_ns
        )
        await self._journal.write(connection, _note(key, "key.create", changes))
        await self._events.record(connection, _event(key, EventKind.KEY_CREATED))
        return key, text

    async def find(self, text: str) -> ApiKey | None:
        """The key of this text, or None where it is unknown, revoked or past its end."""
        row = await self._database.read_one(
            f"SELECT {_COLUMNS} FROM keys WHERE hash = ? AND {_LIVING}",
            (hash_key(text), self._clock.wall_ns()),
        )
        if row is None:
            return None
        key = _key(row)
        # At the bound a use goes unnoted, not the request.
        if key.id in self._used or len(self._used) < _USED_MAX:
            self._used[key.id] = self._clock.wall_ns()
        return key

    async def get(self, number: int) -> ApiKey | None:
        """The key with this id, past its end or not; None where it is revoked."""
        row = await self._database.read_one(
            f"SELECT {_COLUMNS} FROM keys WHERE id = ? AND revoked_ns IS NULL", (number,)
        )
        return _key(row) if row is not None else None

    async def page(
        self,
        *,
        after: int,
        limit: int,
        organisation: OrganisationId | None = None,
        tenant: TenantId | None = None,
    ) -> list[ApiKey]:
        """Keys by id, those above `after`; of one organisation, of one tenant."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM keys WHERE revoked_ns IS NULL AND id > ?1"
            " AND (?2 IS NULL OR organisation_id = ?2) AND (?3 IS NULL OR tenant_id = ?3)"
            " ORDER BY id LIMIT ?4",
            (after, organisation, tenant, limit),
        )
        return [_key(row) for row in rows]

    async def revoke(self, number: int) -> ApiKey | None:
        """Revoke a key; it opens nothing on return. None where there is none.

        Raises LastAdminKey.
        """
        now_ns = self._clock.wall_ns()
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "UPDATE keys SET revoked_ns = ? WHERE id = ? AND revoked_ns IS NULL"
                f" RETURNING {_COLUMNS}",
                (now_ns, number),
            )
            for row in rows:
                key = _key(tuple(row))
                left = await connection.execute_fetchall(
                    "SELECT 1 FROM keys WHERE scope = 'admin' AND access = 'write'"
                    " AND expires_ns IS NULL AND revoked_ns IS NULL LIMIT 1"
                )
                if key.reach == EVERYTHING and not list(left):
                    raise LastAdminKey
                note = _note(key, "key.revoke", {"label": (key.label, None)})
                await self._journal.write(connection, note)
                await self._events.record(connection, _event(key, EventKind.KEY_REVOKED))
                return key
        return None

    async def write_uses(self) -> None:
        """Write down when keys were used that were used since the last time."""
        used, self._used = self._used, {}
        if not used:
            return
        async with self._database.transaction() as connection:
            await connection.executemany(
                "UPDATE keys SET last_used_ns = ? WHERE id = ?",
                [(at_ns, number) for number, at_ns in used.items()],
            )


def _note(key: ApiKey, action: str, changes: Mapping[str, tuple[object, object]]) -> Note:
    return Note(
        action=action,
        resource=f"keys/{key.id}",
        organisation=key.reach.organisation,
        tenant=key.reach.tenant,
        changes=changes,
    )


def _event(key: ApiKey, kind: EventKind) -> Event:
    reach = key.reach
    data = {"key": key.id, "label": key.label, "scope": reach.scope, "access": reach.access}
    return Event(kind=kind, organisation=reach.organisation, tenant=reach.tenant, data=data)


async def revoke_keys_of(
    connection: aiosqlite.Connection,
    events: Events,
    *,
    at_ns: int,
    organisation: OrganisationId | None = None,
    tenant: TenantId | None = None,
) -> None:
    """Revoke the keys of what goes, in the transaction open on `connection`: of an organisation
    with those of its tenants, or of one tenant.
    """
    column, owner = ("organisation_id", organisation) if tenant is None else ("tenant_id", tenant)
    rows = await connection.execute_fetchall(
        f"UPDATE keys SET revoked_ns = ? WHERE {column} = ? AND revoked_ns IS NULL"
        f" RETURNING {_COLUMNS}",
        (at_ns, owner),
    )
    for row in rows:
        await events.record(connection, _event(_key(tuple(row)), EventKind.KEY_REVOKED))


def _key(row: Row) -> ApiKey:
    number, scope, access, organisation, tenant, label, *times = row
    created_ns, created_by, expires_ns, last_used_ns = times
    return ApiKey(
        id=number,
        reach=Reach(
            Scope(scope),
            Access(access),
            OrganisationId(organisation) if organisation is not None else None,
            TenantId(tenant) if tenant is not None else None,
        ),
        label=label,
        created_ns=created_ns,
        created_by=created_by,
        expires_ns=expires_ns,
        last_used_ns=last_used_ns,
    )
