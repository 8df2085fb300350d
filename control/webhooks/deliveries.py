"""Deliveries: which event is on its way to which webhook, and how that goes.

They are made with their event (control/webhooks/fanout.py) or asked for (a test, a repetition). An
attempt is not written down before it is made: one that a crash cuts off is made again, so a
receiver gets everything at least once and knows a repetition by its id.
"""

from dataclasses import dataclass

import aiosqlite

from control.database import Database, Row
from control.events import Event, EventKind, Events, Recorded, recorded
from control.journal import Journal, Note
from control.metrics import WEBHOOK_GIVEN_UP
from control.webhooks.fanout import GIVE_UP_SECONDS
from control.webhooks.lanes import Due
from control.webhooks.store import Webhook, Webhooks
from control.webhooks.urls import origin_of
from control.webhooks.verdict import Outcome, Status, Verdict
from dormouse.base.clock import Clock

WAITING_MAX = 10_000
"""Deliveries of one webhook that wait; of more, the oldest are given up (within a minute)."""

_COLUMNS = (
    "d.id, d.webhook_id, d.status, d.attempts, d.due_ns, d.give_up_ns, d.attempted_ns,"
    " d.response_status, d.error,"
    " e.id, e.at_ns, e.kind, e.organisation_id, e.tenant_id, e.data"
)
_JOINED = f"SELECT {_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event_id"
_GIVE_UP_ROWS = 1000
_SLACK_SECONDS = 600
"""So long past its time a delivery may still be about to get its last attempt."""

_NO_TIME_LEFT = "no time was left for another attempt"
_TOO_MANY = f"more than {WAITING_MAX} deliveries were waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one webhook."""

    id: int
    webhook: int
    event: Recorded
    status: Status
    attempts: int
    """Since it was made, or last asked for again."""

    due_ns: int | None
    """The next attempt, of one that waits."""

    give_up_ns: int
    attempted_ns: int | None
    response_status: int | None
    """HTTP status of the last attempt, if there was an answer."""

    error: str | None
    """What was wrong with the last attempt."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits."""

    waiting: int
    oldest_ns: int | None
    """When the event of the oldest one happened."""


class Deliveries:
    """The table `deliveries`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        journal: Journal,
        *,
        events: Events,
        webhooks: Webhooks,
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._events = events
        self._webhooks = webhooks

    async def page(
        self, webhook: int, *, before: int, limit: int, status: Status | None = None
    ) -> list[Delivery]:
        """A webhook's deliveries, the newest first, those below `before`; of one status."""
        rows = await self._database.read(
            f"{_JOINED} WHERE d.webhook_id = ?1 AND d.id < ?2 AND (?3 IS NULL OR d.status = ?3)"
            " ORDER BY d.id DESC LIMIT ?4",
            (webhook, before, status, limit),
        )
        return [_delivery(row) for row in rows]

    async def due(self) -> list[Due]:
        """The enabled webhooks that something waits for."""
        rows = await self._database.read(
            "SELECT w.id, w.url, w.failures > 0, max(w.paused_until_ns, d.due_ns)"
            " FROM webhooks w JOIN deliveries d"
            " ON d.id = (SELECT id FROM deliveries WHERE webhook_id = w.id"
            " AND status = 'waiting' ORDER BY due_ns LIMIT 1) WHERE w.enabled = 1"
        )
        return [
            Due(webhook, origin_of(url).host, bool(failing), due_ns)
            for webhook, url, failing, due_ns in rows
        ]

    async def next_of(self, webhook: int) -> Delivery | None:
        """The one of this webhook that has been due longest."""
        row = await self._database.read_one(
            f"{_JOINED} WHERE d.webhook_id = ? AND d.status = 'waiting' AND d.due_ns <= ?"
            " ORDER BY d.due_ns LIMIT 1",
            (webhook, self._clock.wall_ns()),
        )
        return _delivery(row) if row is not None else None

    async def note(
        self, delivery: Delivery, webhook: Webhook, outcome: Outcome, verdict: Verdict
    ) -> None:
        """Write down an attempt and what it means; durable on return.

        A delivery that was asked for again meanwhile, or whose webhook is gone, stays as it is.
        """
        async with self._database.transaction() as connection:
            await connection.execute(
                "UPDATE deliveries SET status = ?, due_ns = ?, attempts = attempts + 1,"
                " attempted_ns = ?, response_status = ?, error = ?"
                " WHERE id = ? AND status = 'waiting' AND attempts = ? AND give_up_ns = ?",
                (
                    verdict.status,
                    verdict.due_ns,
                    self._clock.wall_ns(),
                    outcome.status,
                    outcome.error,
                    delivery.id,
                    delivery.attempts,
                    delivery.give_up_ns,
                ),
            )
            await self._webhooks.note_health(connection, webhook, verdict.health, verdict.disabled)

    async def test(self, webhook: Webhook) -> Delivery:
        """An event for this webhook alone, whatever it wants; tried once."""
        data = {"webhook": webhook.id}
        event = Event(kind=EventKind.WEBHOOK_TEST, organisation=webhook.organisation, data=data)
        async with self._database.transaction() as connection:
            number = await self._events.record(connection, event, fans_out=False)
            now_ns = self._clock.wall_ns()
            rows = await connection.execute_fetchall(
                "INSERT INTO deliveries (event_id, webhook_id, due_ns, give_up_ns)"
                " VALUES (?, ?, ?, ?) RETURNING id",
                (number, webhook.id, now_ns, now_ns),
            )
            ((made,),) = rows
            await self._ask_for(connection, webhook, "webhook.test")
            delivery = await _read(connection, made)
        self._events.wanted.set()
        return delivery

    async def again(self, webhook: Webhook, number: int) -> Delivery | None:
        """Have a delivery made (again) at once, with all the time of a new one; None where the
        webhook has none with this id.
        """
        now_ns = self._clock.wall_ns()
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "UPDATE deliveries SET status = 'waiting', due_ns = ?, give_up_ns = ?, attempts = 0"
                " WHERE id = ? AND webhook_id = ? RETURNING 1",
                (now_ns, now_ns + GIVE_UP_SECONDS * 10**9, number, webhook.id),
            )
            if not list(rows):
                return None
            await self._ask_for(connection, webhook, "webhook.redeliver")
            delivery = await _read(connection, number)
        self._events.wanted.set()
        return delivery

    async def _ask_for(
        self, connection: aiosqlite.Connection, webhook: Webhook, action: str
    ) -> None:
        """Somebody waits for it: a webhook that is left alone for failing is tried at once."""
        await connection.execute(
            "UPDATE webhooks SET paused_until_ns = 0 WHERE id = ?", (webhook.id,)
        )
        note = Note(
            action=action,
            resource=f"webhooks/{webhook.id}",
            organisation=webhook.organisation,
            changes={},
        )
        await self._journal.write(connection, note)

    async def give_up(self) -> int:
        """Give up what waits in vain: past its time (its webhook is disabled, say), or one of too
        many; a bounded number at a time; how many.
        """
        late = await self._database.write_all(
            "UPDATE deliveries SET status = 'dead', due_ns = NULL, error = coalesce(error, ?)"
            " WHERE id IN (SELECT id FROM deliveries WHERE status = 'waiting' AND give_up_ns < ?"
            " ORDER BY give_up_ns LIMIT ?) RETURNING id",
            (_NO_TIME_LEFT, self._clock.wall_ns() - _SLACK_SECONDS * 10**9, _GIVE_UP_ROWS),
        )
        crowded = await self._database.read(
            "SELECT webhook_id, count(*) FROM deliveries WHERE status = 'waiting'"
            " GROUP BY webhook_id HAVING count(*) > ?",
            (WAITING_MAX,),
        )
        given_up = len(late)
        for webhook, count in crowded:
            rows = await self._database.write_all(
                "UPDATE deliveries SET status = 'dead', due_ns = NULL, error = ?"
                " WHERE id IN (SELECT id FROM deliveries WHERE webhook_id = ?"
                " AND status = 'waiting' ORDER BY id LIMIT ?) RETURNING id",
                (_TOO_MANY, webhook, min(count - WAITING_MAX, 10 * _GIVE_UP_ROWS)),
            )
            given_up += len(rows)
        WEBHOOK_GIVEN_UP.inc(given_up)
        return given_up

    async def backlog(self) -> Backlog:
        """What waits for enabled webhooks."""
        row = await self._database.read_one(
            "SELECT count(*), min(e.at_ns) FROM deliveries d JOIN events e ON e.id = d.event_id"
            " JOIN webhooks w ON w.id = d.webhook_id"
            " WHERE d.status = 'waiting' AND w.enabled = 1"
        )
        return Backlog(*row) if row is not None else Backlog(0, None)


async def _read(connection: aiosqlite.Connection, number: int) -> Delivery:
    (row,) = await connection.execute_fetchall(f"{_JOINED} WHERE d.id = ?", (number,))
    return _delivery(tuple(row))


def _delivery(row: Row) -> Delivery:
    number, webhook, status, attempts, due_ns, give_up_ns, attempted_ns, answer, error, *rest = row
    return Delivery(
        id=number,
        webhook=webhook,
        event=recorded(tuple(rest)),
        status=Status(status),
        attempts=attempts,
        due_ns=due_ns,
        give_up_ns=give_up_ns,
        attempted_ns=attempted_ns,
        response_status=answer,
        error=error,
    )


def message_id(event: Recorded) -> str:
    """What a receiver knows an event by. With its time, for a registry that was restored from a
    backup gives numbers anew.
    """
    return f"evt_{event.id}_{event.at_ns // 1_000_000:x}"
