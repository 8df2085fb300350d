"""Time zones: UTC offsets of instants and of local times, from the system's zone database.

Instants beyond what the database library can compute (years 1 to 9999) take the offset of the same
day in the nearest 400-year cycle it can, as the calendar repeats.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.abbreviations import ABBREVIATIONS
from sqlnode.types.calendar import MICROS_PER_SECOND

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001  (a local time, by intent)
_CYCLE_SECONDS = 146097 * 86400
_SECONDS_MIN, _SECONDS_MAX = -63_000_000_000, 252_000_000_000
_POSIX = re.compile(
    r"(?:<[^>]+>|[A-Za-z]{3,})?([+-]?)(\d{1,3})(?::(\d{2}))?(?::(\d{2}))?", re.ASCII
)
_UTC_NAMES = {"utc", "gmt", "z", "zulu", "uct", "etc/utc", "etc/gmt"}
_ZONES_MAX = 1024


@cache
def _names() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}


@lru_cache(maxsize=_ZONES_MAX)
def find_zone(name: str) -> tzinfo | None:
    """The zone called `name`: a database name in any case, or POSIX such as `<+03>-03`."""
    lowered = name.lower()
    if lowered in _UTC_NAMES:
        return UTC
    try:
        if ".." not in name and not name.startswith("/"):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    known = _names().get(lowered)
    if known is not None:
        return ZoneInfo(known)
    found = _POSIX.fullmatch(name)
    if found is None:
        return None
    hours, minutes, seconds = (int(found[i] or 0) for i in (2, 3, 4))
    if hours > 167:
        return None
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    # POSIX counts westward: UTC+3 is three hours behind.
    east = offset if found[1] == "-" else -offset
    return timezone(east) if abs(east) < timedelta(hours=24) else None


def zone(name: str) -> tzinfo:
    """The zone called `name`; 22023 if there is none."""
    found = find_zone(name)
    if found is None:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f'time zone "{name}" not recognized')
    return found


def abbreviation_seconds(name: str) -> int | None:
    """Seconds east of UTC of an abbreviation such as EST, None if it is none."""
    return ABBREVIATIONS.get(name.upper())


def _clamped(seconds: int) -> int:
    if seconds < _SECONDS_MIN:
        return seconds + -((seconds - _SECONDS_MIN) // _CYCLE_SECONDS) * _CYCLE_SECONDS
    if seconds > _SECONDS_MAX:
        return seconds - -((_SECONDS_MAX - seconds) // _CYCLE_SECONDS) * _CYCLE_SECONDS
    return seconds


def offset_at(micros: int, where: tzinfo) -> int:
    """Seconds east of UTC in a zone at an instant."""
    if where is UTC:
        return 0
    instant = _EPOCH + timedelta(seconds=_clamped(micros // MICROS_PER_SECOND))
    offset = instant.astimezone(where).utcoffset()
    return _seconds(offset)


def offset_of_local(micros: int, where: tzinfo) -> int:
    """Seconds east of UTC of a local time. In a gap the offset before it counts, in an overlap the
    one after it: both times the smaller one."""
    if where is UTC:
        return 0
    local = _NAIVE_EPOCH + timedelta(seconds=_clamped(micros // MICROS_PER_SECOND))
    first = _seconds(local.replace(tzinfo=where, fold=0).utcoffset())
    second = _seconds(local.replace(tzinfo=where, fold=1).utcoffset())
    return min(first, second)


def abbreviation_at(micros: int, where: tzinfo) -> str:
    """What a zone calls itself at an instant (EST, CEST, +03)."""
    instant = _EPOCH + timedelta(seconds=_clamped(micros // MICROS_PER_SECOND))
    return instant.astimezone(where).tzname() or ""


def _seconds(offset: timedelta | None) -> int:
    return 0 if offset is None else offset.days * 86400 + offset.seconds


def utc_of_local(micros: int, where: tzinfo) -> int:
    """The instant of a local time."""
    return micros - offset_of_local(micros, where) * MICROS_PER_SECOND


def local_of_utc(micros: int, where: tzinfo) -> int:
    """The local time of an instant."""
    return micros + offset_at(micros, where) * MICROS_PER_SECOND


def offset_text(seconds: int) -> str:
    """An offset as ISO dates show it: +02, -03:30."""
    sign = "-" if seconds < 0 else "+"
    hours, rest = divmod(abs(seconds), 3600)
    minutes, left = divmod(rest, 60)
    text = f"{sign}{hours:02d}"
    if minutes or left:
        text += f":{minutes:02d}"
    return f"{text}:{left:02d}" if left else text
