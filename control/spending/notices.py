"""Notices: who pays is told once when 50, 75, 90 and 100 % of a limit are used.

A notice is a row and an event (control/events.py), written in one transaction; an index lets no
second row be. So each is given once in a month, whatever restarts, and however many reports reach
it together. A limit that was raised ends the notices that are not reached any more; they are given
again when they are reached again.

    limit 100   used 40 ── 60 ─────────── 80 ─── 110
    notices                50             75     90 100
    limit 200                      110: 50 stays, the others end      ── 150: 75   …

Whether an account is held, stopped or slowed down, is kept beside its limit. The change of that is
an event, too: `spend.limit_reached`, and `spend.restored` when the limit was raised, lifted or
relaxed or the month has turned.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiosqlite

from control.actor import OrganisationId
from control.database import Database
from control.events import Event, EventKind, Events
from control.metrics import SPEND_NOTICES
from control.spending.limits import NO_LIMIT, PERCENTS, scope_of
from control.spending.room import Position, Stand
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId
from dormouse.base.units import MICRO

KEPT_DAYS = 400
_PRUNE_ROWS = 1000
_CACHED_MAX = 50_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """A percentage of a limit that was reached."""

    percent: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class _Given:
    """What is written down of an account."""

    month: int
    percents: frozenset[int]
    is_held: bool


class Notices:
    """The table `spend_notices`, and `spend_limits.held`."""

    def __init__(self, database: Database, clock: Clock, events: Events) -> None:
        self._database = database
        self._clock = clock
        self._events = events
        self._given: dict[int, _Given] = {}

    async def read(self, account: int, month: int) -> list[Notice]:
        """Those of a month (unix seconds of its beginning) that stand, the lowest first."""
        rows = await self._database.read(
            "SELECT percent, at_ns FROM spend_notices WHERE account = ? AND month = ?"
            " AND ended_ns IS NULL ORDER BY percent",
            (account, month),
        )
        return [Notice(*row) for row in rows]

    async def settle(
        self, account: int, organisation: OrganisationId, position: Position, stand: Stand | None
    ) -> None:
        """Give the notices that are reached and were not given, end those that are not reached any
        more; `stand` None: there is no limit. Durable on return; without news nothing is written.
        """
        wanted = _Given(
            position.start,
            frozenset(each for each in PERCENTS if stand is not None and each <= stand.percent),
            stand is not None and stand.is_held,
        )
        if wanted != await self._known(account, position.start):
            context = _Context(account, organisation, position, stand)
            async with self._database.transaction() as connection:
                await self._write(connection, wanted, context)
        if len(self._given) >= _CACHED_MAX:
            self._given.clear()
        self._given[account] = wanted

    async def prune(self) -> int:
        """Forget old ones, a bounded number; how many."""
        oldest = self._clock.wall_ns() - KEPT_DAYS * 86_400 * 1_000_000_000
        rows = await self._database.write_all(
            "DELETE FROM spend_notices WHERE id IN"
            " (SELECT id FROM spend_notices WHERE at_ns < ? LIMIT ?) RETURNING id",
            (oldest, _PRUNE_ROWS),
        )
        return len(rows)

    async def _known(self, account: int, month: int) -> _Given:
        known = self._given.get(account)
        if known is not None and known.month == month:
            return known
        row = await self._database.read_one(
            "SELECT held FROM spend_limits WHERE account = ?", (account,)
        )
        percents = frozenset(each.percent for each in await self.read(account, month))
        return _Given(month, percents, row is not None and bool(row[0]))

    async def _write(
        self, connection: aiosqlite.Connection, wanted: _Given, context: "_Context"
    ) -> None:
        now_ns = self._clock.wall_ns()
        account, month = context.account, wanted.month
        await connection.execute(
            "UPDATE spend_notices SET ended_ns = ? WHERE account = ? AND month = ?"
            " AND ended_ns IS NULL AND percent > ?",
            (now_ns, account, month, max(wanted.percents, default=0)),
        )
        for percent in sorted(wanted.percents):
            rows = await connection.execute_fetchall(
                "INSERT INTO spend_notices (account, month, percent, at_ns) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING RETURNING id",
                (account, month, percent, now_ns),
            )
            if list(rows):
                await self._events.record(
                    connection, context.event(EventKind.SPEND_NOTICE, percent)
                )
                SPEND_NOTICES.labels(str(percent)).inc()
        rows = await connection.execute_fetchall(
            "UPDATE spend_limits SET held = ?1 WHERE account = ?2 AND held <> ?1 RETURNING account",
            (int(wanted.is_held), account),
        )
        if list(rows):
            kind = EventKind.SPEND_LIMIT_REACHED if wanted.is_held else EventKind.SPEND_RESTORED
            await self._events.record(connection, context.event(kind))
            _log.warning(
                "a spend limit is reached" if wanted.is_held else "a spend limit holds no more",
                extra=context.words,
            )


@dataclass(frozen=True, slots=True)
class _Context:
    """What an event tells."""

    account: int
    organisation: OrganisationId
    position: Position
    stand: Stand | None

    @property
    def words(self) -> dict[str, Any]:
        """For the log."""
        return {
            "scope": str(scope_of(self.account)),
            "account": abs(self.account),
            "request_units": self.position.micro_units / MICRO,
            "cost_micros": self.position.cost_micros,
            "percent": self._percent,
        }

    @property
    def _percent(self) -> int:
        return self.stand.permille // 10 if self.stand is not None else 0

    def event(self, kind: EventKind, percent: int | None = None) -> Event:
        """With `percent` where it is about one."""
        position = self.position
        limit = self.stand.limit if self.stand is not None else NO_LIMIT
        return Event(
            kind=kind,
            organisation=self.organisation,
            tenant=TenantId(self.account) if self.account > 0 else None,
            data={
                "scope": str(scope_of(self.account)),
                "percent": self._percent if percent is None else percent,
                "policy": str(limit.policy),
                "limit": {
                    "monthly_cents": limit.monthly_cents,
                    "monthly_request_units": limit.monthly_units,
                },
                "used": {
                    "request_units": position.micro_units / MICRO,
                    "cost_micros": position.cost_micros,
                },
                "period_start": _moment(position.start),
                "period_end": _moment(position.end),
            },
        )


def _moment(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z")
