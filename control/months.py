"""Months and days of an organisation: what bills, allowances and limits are counted in.

A month is the calendar month in the organisation's time zone. The borders are instants, and a
month is what lies between two of them, so months and days are a partition of time whatever the
clocks of a zone do: they are 23, 24 or 25 hours long, begin at :30 or :45 of an hour of UTC, and a
midnight that the clocks skip is the moment they skip it, one that comes twice is the first.

A new time zone counts from the next month on. The month that is under way ends where its old zone
ends it; the next one begins at that very instant and ends where the new zone ends it:

    zone        Asia/Tokyo ──────────────────┬── America/Los_Angeles ─────────────
    March       1st, 00:00 in Tokyo ─────────┤
    April                                    ├────────────── 30th, 24:00 in Los Angeles
    days                    … 30th ┊ 31st ┊  │    1st (40 hours)    ┊ 2nd ┊ …

So no second is in two months or in none, and months that are over keep their borders. The first
month after a change is up to 26 hours longer or shorter than its zone's; so is its first day, and
where the clocks go further ahead than a day the first day has no time at all.

Months are numbered: year × 12 + month, from January as 0.
"""

import json
import logging
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Self

_log = logging.getLogger(__name__)
_DAY = timedelta(days=1)
_HOUR_SECONDS = 3600
_BORDER_SLACK_SECONDS = 15 * 3600
"""No zone is further from UTC."""


def month_number(day: date) -> int:
    """The number of the month that a day is in."""
    return day.year * 12 + day.month - 1


def first_day(number: int) -> date:
    """The first day of a month."""
    return date(number // 12, number % 12 + 1, 1)


def month_name(number: int) -> str:
    """`2026-03`."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def border_range(number: int) -> tuple[int, int]:
    """Between which seconds a month begins in whatever zone; no other month's begin is there."""
    start = _midnight("UTC", first_day(number))
    return start - _BORDER_SLACK_SECONDS, start + _BORDER_SLACK_SECONDS


def month_of(zone: str, second: int) -> tuple[int, int]:
    """The month of a time zone that a unix second is in: the second it begins at, and the one that
    it is over at. An organisation that moved between zones has a calendar (`Calendar`)."""
    return Calendar.of(zone).month_of(second)


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        # Bookings must go on. Zones are checked when they are set and never leave the database.
        _log.error("a time zone is unknown here and counts as UTC", extra={"zone": name})
        return UTC


@lru_cache(maxsize=8192)
def _midnight(zone: str, day: date) -> int:
    """When a day begins: where the clocks skip midnight, the moment they do."""
    return int(datetime(day.year, day.month, day.day, tzinfo=_zone(zone)).timestamp())


@dataclass(frozen=True, slots=True)
class Calendar:
    """The months and days of one organisation."""

    zones: tuple[tuple[int, str], ...]
    """Time zones, each with the number of the first month it counts in; the first is 0."""

    @classmethod
    def of(cls, zone: str) -> Self:
        """Of an organisation that has always been in one zone."""
        return cls(((0, zone),))

    @staticmethod
    def read(zone: str, zones: str) -> "Calendar":
        """From the registry's columns: the zone that is wished for, and the zones there were as
        `zones_text` has it."""
        return _read(zone, zones)

    @property
    def zones_text(self) -> str:
        """The zones as the registry keeps them; as long as there was only one, none."""
        return json.dumps(self.zones if len(self.zones) > 1 else [])

    def moved(self, second: int, zone: str) -> "Calendar":
        """With another zone from the month after `second` on; a move that was to come is off."""
        following = self.number_of(second) + 1
        kept = tuple(each for each in self.zones if each[0] < following)
        if kept[-1][1] == zone:
            return Calendar(kept)
        return Calendar((*kept, (following, zone)))

    def zone(self, number: int) -> str:
        """The time zone of a month."""
        return next(name for first, name in reversed(self.zones) if first <= number)

    def border(self, number: int) -> int:
        """When a month begins: midnight where the month before it was."""
        return _border(self, number)

    def number_of(self, second: int) -> int:
        """The number of the month that a second is in."""
        number = month_number(datetime.fromtimestamp(second, UTC).date())
        while second < self.border(number):
            number -= 1
        while second >= self.border(number + 1):
            number += 1
        return number

    def month_of(self, second: int) -> tuple[int, int]:
        """Begin and end of the month that a second is in."""
        number = self.number_of(second)
        return _border(self, number), _border(self, number + 1)

    def date_of(self, second: int) -> date:
        """The day that a second is in."""
        number = self.number_of(second)
        first, last = first_day(number), first_day(number + 1) - _DAY
        local = datetime.fromtimestamp(second, _zone(self.zone(number))).date()
        day = min(max(local, first), last)
        while second < self.day_start(day):
            day -= _DAY
        while second >= self.day_start(day + _DAY):
            day += _DAY
        return day

    def day_start(self, day: date) -> int:
        """When a day begins."""
        number = month_number(day)
        border = self.border(number)
        if day.day == 1:
            return border
        # After a change of zones the first days may be cut off.
        return min(max(border, _midnight(self.zone(number), day)), self.border(number + 1))

    def day_of(self, second: int) -> tuple[int, int]:
        """Begin and end of the day that a second is in."""
        found = _day_at(self, second - second % _HOUR_SECONDS)
        if found[1] > second:
            return found
        day = self.date_of(second)
        return self.day_start(day), self.day_start(day + _DAY)


@lru_cache(maxsize=16384)
def _border(calendar: Calendar, number: int) -> int:
    return _midnight(calendar.zone(number - 1), first_day(number))


@lru_cache(maxsize=16384)
def _day_at(calendar: Calendar, second: int) -> tuple[int, int]:
    """`Calendar.day_of` for whole hours: reports are many, and of the same hours."""
    day = calendar.date_of(second)
    return calendar.day_start(day), calendar.day_start(day + _DAY)


@lru_cache(maxsize=4096)
def _read(zone: str, zones: str) -> Calendar:
    found = json.loads(zones)
    return Calendar(tuple((first, name) for first, name in found)) if found else Calendar.of(zone)


UTC_CALENDAR = Calendar.of("UTC")
"""Of sums over all organisations, and of what is nobody's."""
