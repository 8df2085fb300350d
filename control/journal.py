"""The audit log: every change, written in the transaction that makes it, so neither is without the
other; and the claim of an idempotency key, which lives by the same rule.

    BEGIN ─ the change ─ who did what to what, old → new ─ (the request's idempotency key) ─ COMMIT

Secrets never come here: what is noted is chosen field by field where the change is made.
"""

import json
import logging
import sqlite3
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import aiosqlite

from control.actor import OrganisationId, Reach, acting
from control.database import Database, Row
from control.metrics import AUDIT_ENTRIES
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId

_log = logging.getLogger(__name__)

_COLUMNS = (
    "id, at_ns, key_id, key_label, address, request_id, action, resource,"
    " organisation_id, tenant_id, changes"
)
_PRUNE_ROWS = 1000


class AlreadyClaimed(Exception):
    """Another request with the same idempotency key was faster."""


@dataclass(slots=True)
class Claim:
    """An idempotency key that the request in work wants to use up with the change it makes."""

    key_id: int
    name: str
    request_hash: bytes
    used: bool = False


claiming: ContextVar[Claim | None] = ContextVar("claim", default=None)
"""The claim of the request in work, if it came with an idempotency key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was done to what."""

    action: str
    """`tenant.rename`, `key.create` …"""

    resource: str
    """Its path below `/v1/`."""

    organisation: OrganisationId | None = None
    tenant: TenantId | None = None
    changes: Mapping[str, tuple[Any, Any]]
    """Old and new value by name; None: was not, or is not, there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A note as it stands in the log."""

    id: int
    at_ns: int
    key_id: int | None
    key_label: str
    address: str
    request_id: str
    note: Note


class Journal:
    """The table `audit`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def write(self, connection: aiosqlite.Connection, note: Note) -> None:
        """Note a change of the transaction that is open on `connection`.

        Raises AlreadyClaimed, and then nothing of the transaction may stay.
        """
        actor = acting()
        changes = {name: {"old": old, "new": new} for name, (old, new) in note.changes.items()}
        await connection.execute(
            "INSERT INTO audit (at_ns, key_id, key_label, address, request_id, action, resource,"
            " organisation_id, tenant_id, changes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._clock.wall_ns(),
                actor.key_id,
                actor.label,
                actor.address,
                actor.request_id,
                note.action,
                note.resource,
                note.organisation,
                note.tenant,
                json.dumps(changes, separators=(",", ":")),
            ),
        )
        await self._claim(connection, note.resource)
        AUDIT_ENTRIES.labels(note.action).inc()
        extra = {"action": note.action, "resource": note.resource, "changes": changes}
        _log.info("changed", extra=extra)

    async def page(
        self,
        *,
        after: int,
        limit: int,
        reach: Reach,
        organisation: OrganisationId | None = None,
        tenant: TenantId | None = None,
    ) -> list[Entry]:
        """Entries within reach by id, those above `after`; of one organisation or tenant."""
        filters = {
            "organisation_id": (organisation, reach.organisation),
            "tenant_id": (tenant, reach.tenant),
        }
        wanted = [
            (f"{column} = ?", number)
            for column, numbers in filters.items()
            for number in numbers
            if number is not None
        ]
        condition = " AND ".join(["id > ?", *(text for text, _ in wanted)])
        values = (after, *(number for _, number in wanted), limit)
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM audit WHERE {condition} ORDER BY id LIMIT ?", values
        )
        return [_entry(row) for row in rows]

    async def prune(self, before_ns: int) -> int:
        """Forget entries older than that, a bounded number at a time; how many."""
        rows = await self._database.write_all(
            "DELETE FROM audit WHERE id IN"
            " (SELECT id FROM audit WHERE at_ns < ? ORDER BY at_ns LIMIT ?) RETURNING id",
            (before_ns, _PRUNE_ROWS),
        )
        return len(rows)

    async def _claim(self, connection: aiosqlite.Connection, resource: str) -> None:
        claim = claiming.get()
        if claim is None or claim.used:
            return
        try:
            await connection.execute(
                "INSERT INTO idempotency (key_id, name, request_hash, made_ns, resource)"
                " VALUES (?, ?, ?, ?, ?)",
                (claim.key_id, claim.name, claim.request_hash, self._clock.wall_ns(), resource),
            )
        except sqlite3.IntegrityError as error:
            raise AlreadyClaimed(claim.name) from error
        claim.used = True


def created(**values: Any) -> dict[str, tuple[Any, Any]]:
    """The changes of something that was not there before."""
    return {name: (None, value) for name, value in values.items()}


def _entry(row: Row) -> Entry:
    number, at_ns, key_id, label, address, request_id, action, resource, *rest = row
    organisation, tenant, changes = rest
    note = Note(
        action=action,
        resource=resource,
        organisation=OrganisationId(organisation) if organisation is not None else None,
        tenant=TenantId(tenant) if tenant is not None else None,
        changes={name: (each["old"], each["new"]) for name, each in json.loads(changes).items()},
    )
    return Entry(number, at_ns, key_id, label, address, request_id, note)
