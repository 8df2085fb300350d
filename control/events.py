"""Events: what happened, for whoever wants to know of it; each one written in the transaction that
makes it happen, so neither is without the other.

    BEGIN ─ the change ─ the event ─ a delivery for each webhook that wants it ─ COMMIT
                             │                         │
                    GET /v1/events            control/webhooks/sender.py

An event belongs to an organisation, and mostly to one tenant of it, or (both None) to the whole
installation; a key sees those within its reach. Ids are in the order in which events were
committed, for the registry has one writer. An event stays for some months (control/upkeep.py).

How an event differs from an entry of the audit log (control/journal.py): the log says who changed
what, field by field, and only of requests; an event is for programs, its data has documented names,
and most of the interesting ones nobody asked for.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import aiosqlite

from control.actor import OrganisationId, Reach
from control.database import Database, Row
from control.metrics import EVENTS
from control.webhooks.fanout import fan_out
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId

_log = logging.getLogger(__name__)

DATA_BYTES_MAX = 16 * 1024
"""Of an event's data as JSON."""

_COLUMNS = "id, at_ns, kind, organisation_id, tenant_id, data"
_PRUNE_ROWS = 1000


class EventKind(StrEnum):
    """What can happen."""

    TENANT_CREATED = "tenant.created"
    TENANT_DELETED = "tenant.deleted"
    TENANT_RESTORED = "tenant.restored"
    TENANT_PURGED = "tenant.purged"
    TENANT_RENAMED = "tenant.renamed"
    SPEND_NOTICE = "spend.notice"
    SPEND_LIMIT_REACHED = "spend.limit_reached"
    SPEND_RESTORED = "spend.restored"
    INVOICE_CLOSED = "invoice.closed"
    CERTIFICATE_EXPIRING = "certificate.expiring"
    AUTHORITY_ROTATED = "authority.rotated"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    WEBHOOK_DISABLED = "webhook.disabled"
    WEBHOOK_TEST = "webhook.test"


_SPENDING = {
    "scope": "whose limit it is: `tenant` or `organisation`",
    "percent": "what was reached: 50, 75, 90 or 100; else how much is used, rounded down",
    "policy": "`stop`, `throttle` or `notify`",
    "limit": "{`monthly_cents`, `monthly_request_units`}; null: no such limit",
    "used": "{`request_units`, `cost_micros`} in this month; millionths of a unit of currency",
    "period_start": "RFC 3339, when the month began",
    "period_end": "RFC 3339, when the next one begins",
}

DATA: Mapping[EventKind, Mapping[str, str]] = {
    EventKind.TENANT_CREATED: {"name": "its name"},
    EventKind.TENANT_DELETED: {
        "name": "its name, which is free from now on",
        "restorable_until": "RFC 3339; null: its data goes at once",
    },
    EventKind.TENANT_RESTORED: {"name": "the name it came back under"},
    EventKind.TENANT_PURGED: {"name": "the name it had"},
    EventKind.TENANT_RENAMED: {"name": "its name", "before": "the name it had"},
    EventKind.SPEND_NOTICE: _SPENDING,
    EventKind.SPEND_LIMIT_REACHED: _SPENDING,
    EventKind.SPEND_RESTORED: _SPENDING,
    EventKind.INVOICE_CLOSED: {
        "invoice": "its id",
        "number": "its number",
        "currency": "as `USD`",
        "total_cents": "what is to be paid",
        "period_start": "RFC 3339, when the month began",
        "period_end": "RFC 3339, when it ended",
    },
    EventKind.CERTIFICATE_EXPIRING: {
        "subject": "whose certificate",
        "serial": "its serial number, in hexadecimal digits",
        "expires_at": "RFC 3339",
    },
    EventKind.AUTHORITY_ROTATED: {
        "authority": "SHA-256 fingerprint of the new certificate of the authority",
        "expires_at": "RFC 3339, when that ends",
    },
    EventKind.KEY_CREATED: {
        "key": "its id",
        "label": "its label",
        "scope": "`admin`, `organisation` or `tenant`",
        "access": "`read` or `write`",
    },
    EventKind.KEY_REVOKED: {
        "key": "its id",
        "label": "its label",
        "scope": "`admin`, `organisation` or `tenant`",
        "access": "`read` or `write`",
    },
    EventKind.WEBHOOK_DISABLED: {
        "webhook": "its id",
        "origin": "where it sent to: scheme, host and port of its URL",
        "reason": "`failing` or `gone` (the receiver answered 410)",
        "failing_since": "RFC 3339, since when no delivery has arrived",
    },
    EventKind.WEBHOOK_TEST: {"webhook": "its id"},
}
"""The names in the data of each kind, and what they mean; docs/events.md shows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened."""

    kind: EventKind
    organisation: OrganisationId | None = None
    tenant: TenantId | None = None
    data: Mapping[str, Any]
    """JSON values under the names that DATA has for the kind, all of them; no secrets."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as it stands in the table."""

    id: int
    at_ns: int
    event: Event


class Events:
    """The table `events`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.wanted = asyncio.Event()
        """Set whenever an event is recorded that some webhook wants."""

    async def record(
        self, connection: aiosqlite.Connection, event: Event, *, fans_out: bool = True
    ) -> int:
        """Write down an event of the transaction that is open on `connection`; its id. Webhooks
        get it, unless whoever records it sees to that (`fans_out`).

        Raises ValueError for data that is not what DATA says of the kind, or is too large.
        """
        if event.data.keys() != DATA[event.kind].keys():
            raise ValueError(
                f"{event.kind} has {sorted(event.data)}, not {sorted(DATA[event.kind])}"
            )
        data = json.dumps(event.data, separators=(",", ":"))
        if len(data) > DATA_BYTES_MAX:
            raise ValueError(f"{event.kind} has {len(data)} bytes of data")
        at_ns = self._clock.wall_ns()
        ((number,),) = await connection.execute_fetchall(
            "INSERT INTO events (at_ns, kind, organisation_id, tenant_id, data)"
            " VALUES (?, ?, ?, ?, ?) RETURNING id",
            (at_ns, event.kind, event.organisation, event.tenant, data),
        )
        if fans_out and await self._fan_out(connection, int(number), event, at_ns):
            # Nobody sees them before this transaction has ended; see control/webhooks/sender.py.
            self.wanted.set()
        EVENTS.labels(event.kind).inc()
        extra = {"event": number, "kind": event.kind, "tenant": event.tenant}
        _log.info("event", extra=extra | {"organisation": event.organisation})
        return int(number)

    async def _fan_out(
        self, connection: aiosqlite.Connection, number: int, event: Event, at_ns: int
    ) -> int:
        return await fan_out(
            connection,
            event=number,
            kind=event.kind,
            organisation=event.organisation,
            at_ns=at_ns,
        )

    async def page(
        self,
        *,
        after: int,
        limit: int,
        reach: Reach,
        organisation: OrganisationId | None = None,
        tenant: TenantId | None = None,
        kinds: tuple[str, ...] = (),
        newest_first: bool = False,
    ) -> list[Recorded]:
        """Events within reach by id, those above `after`; of one organisation or tenant, of some
        kinds (none: all). With the newest first, those below `after`, if that is not 0.
        """
        filters = {
            "organisation_id": (organisation, reach.organisation),
            "tenant_id": (tenant, reach.tenant),
        }
        wanted: list[tuple[str, Any]] = [
            (f"{column} = ?", number)
            for column, numbers in filters.items()
            for number in numbers
            if number is not None
        ]
        if kinds:
            wanted.append(("kind IN (SELECT value FROM json_each(?))", json.dumps(kinds)))
        start = "(id < ?1 OR ?1 = 0)" if newest_first else "id > ?1"
        condition = " AND ".join([start, *(text for text, _ in wanted)])
        order = "DESC" if newest_first else "ASC"
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM events WHERE {condition} ORDER BY id {order} LIMIT ?",
            (after, *(value for _, value in wanted), limit),
        )
        return [recorded(row) for row in rows]

    async def prune(self, before_ns: int) -> int:
        """Forget events older than that with their deliveries, a bounded number at a time; how
        many.
        """
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "DELETE FROM events WHERE id IN"
                " (SELECT id FROM events WHERE at_ns < ? ORDER BY at_ns LIMIT ?) RETURNING id",
                (before_ns, _PRUNE_ROWS),
            )
            gone = json.dumps([number for (number,) in rows])
            await connection.execute(
                "DELETE FROM deliveries WHERE event_id IN (SELECT value FROM json_each(?))", (gone,)
            )
        return len(list(rows))


def time_text(ns: int) -> str:
    """A moment as text: RFC 3339 in UTC, to the microsecond."""
    seconds, micros = divmod(ns // 1000, 10**6)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
    return moment.isoformat().replace("+00:00", "Z")


def recorded(row: Row) -> Recorded:
    """An event of a row of the table's columns, in their order."""
    number, at_ns, kind, organisation, tenant, data = row
    event = Event(
        kind=EventKind(kind),
        organisation=OrganisationId(organisation) if organisation is not None else None,
        tenant=TenantId(tenant) if tenant is not None else None,
        data=json.loads(data),
    )
    return Recorded(number, at_ns, event)
