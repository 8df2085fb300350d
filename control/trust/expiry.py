"""Warnings of certificates that end and are not renewed: a log line, an event, a metric.

A certificate of a role is renewed 60 days before its end, so one that has 30 left is in trouble.
The authority is not renewed by itself, for its clients have to be told: it is warned of a year
ahead. Each warning is given once, also over restarts.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from control.authority import Held
from control.database import Database
from control.events import Event, EventKind, Events, time_text
from dormouse.base.clock import Clock
from dormouse.base.renewal import EXPIRY

_CERTIFICATE_DAYS = (30, 7, 1)
_AUTHORITY_DAYS = (365, 90, 30, 7, 1)
_DAY = timedelta(days=1)

_log = logging.getLogger(__name__)


def days_left(held: Held, now_ns: int) -> float:
    """Until its end; below 0 when that is past."""
    return (held.ends.timestamp() - now_ns / 1e9) / _DAY.total_seconds()


def threshold(left: float, days: Sequence[int]) -> int | None:
    """The smallest of `days` that is left or passed; None: there is time enough."""
    return min((each for each in days if left <= each), default=None)


def state(
    held: Held, now_ns: int, *, is_authority: bool
) -> Literal["valid", "expiring", "expired"]:
    """`valid`, `expiring` or `expired`."""
    left = days_left(held, now_ns)
    if left <= 0:
        return "expired"
    days = _AUTHORITY_DAYS if is_authority else _CERTIFICATE_DAYS
    return "valid" if threshold(left, days) is None else "expiring"


class ExpiryWarnings:
    """The table `certificate_warnings`."""

    def __init__(self, database: Database, events: Events, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    async def look(self, certificates: Sequence[Held], authorities: Sequence[Held]) -> None:
        """Show when they end, and warn of those that end soon."""
        for held in certificates:
            EXPIRY.labels(held.name).set(held.ends.timestamp())
            await self._warn(held, _CERTIFICATE_DAYS)
        for number, held in enumerate(authorities):
            if number == 0:
                EXPIRY.labels("authority").set(held.ends.timestamp())
            await self._warn(held, _AUTHORITY_DAYS)

    async def _warn(self, held: Held, days: Sequence[int]) -> None:
        now_ns = self._clock.wall_ns()
        reached = threshold(days_left(held, now_ns), days)
        if reached is None:
            return
        values = (held.name, held.serial, reached)
        if await self._database.read_one(
            "SELECT 1 FROM certificate_warnings WHERE name = ? AND serial = ? AND days = ?", values
        ):
            return
        end_ns = int(held.ends.timestamp()) * 1_000_000_000
        event = Event(
            kind=EventKind.CERTIFICATE_EXPIRING,
            data={"subject": held.name, "serial": held.serial, "expires_at": time_text(end_ns)},
        )
        async with self._database.transaction() as connection:
            # Of the certificates before it no warning is needed any more.
            await connection.execute(
                "DELETE FROM certificate_warnings WHERE name = ? AND serial <> ?", values[:2]
            )
            await connection.execute(
                "INSERT INTO certificate_warnings (name, serial, days) VALUES (?, ?, ?)", values
            )
            await self._events.record(connection, event)
        extra = {"certificate": held.name, "days": reached, "ends": held.ends.isoformat()}
        _log.warning("a certificate ends and was not renewed", extra=extra)
