"""time (microseconds of the day, 24:00:00 included) and timetz."""

import struct
from dataclasses import dataclass

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings
from sqlnode.types.calendar import MICROS_PER_DAY, MICROS_PER_SECOND
from sqlnode.types.codec import Codec
from sqlnode.types.dateparse import parse, syntax_error, time_text
from sqlnode.types.reading import invalid_binary, unpack
from sqlnode.types.timestamps import precision_in, precision_out, round_micros
from sqlnode.types.zones import local_of_utc, offset_at, offset_of_local, offset_text, zone

_TIME = struct.Struct(">q")
_TIMETZ = struct.Struct(">qi")


@dataclass(frozen=True, slots=True)
class TimeTz:
    """A time of day at an offset; `west` is in seconds west of UTC, as PostgreSQL keeps it."""

    micros: int
    west: int

    def order(self) -> tuple[int, int]:
        """By the instant in UTC, then by the offset."""
        return self.micros + self.west * MICROS_PER_SECOND, self.west

    def __lt__(self, other: "TimeTz") -> bool:
        return self.order() < other.order()

    def __le__(self, other: "TimeTz") -> bool:
        return self.order() <= other.order()

    def __gt__(self, other: "TimeTz") -> bool:
        return self.order() > other.order()

    def __ge__(self, other: "TimeTz") -> bool:
        return self.order() >= other.order()


def fit_time(value: int, typmod: int, explicit: bool) -> int:
    """time(p)."""
    return round_micros(value, typmod) if 0 <= typmod < 6 else value


def fit_timetz(value: TimeTz, typmod: int, explicit: bool) -> TimeTz:
    """timetz(p)."""
    return TimeTz(fit_time(value.micros, typmod, explicit), value.west)


def _time_in(text: str, typmod: int, settings: FormatSettings) -> int:
    parsed = parse(text, "time", settings.date_style)
    if parsed.special == "now":
        now = local_of_utc(settings.now_micros(), zone(settings.time_zone))
        return fit_time(now % MICROS_PER_DAY, typmod, False)
    if parsed.micros is None or parsed.special is not None:
        raise syntax_error("time", text)
    return fit_time(parsed.micros, typmod, False)


def _timetz_in(text: str, typmod: int, settings: FormatSettings) -> TimeTz:
    parsed = parse(text, "time with time zone", settings.date_style)
    where = zone(parsed.zone or settings.time_zone)
    now = settings.now_micros()
    if parsed.special == "now":
        local = local_of_utc(now, where)
        return fit_timetz(TimeTz(local % MICROS_PER_DAY, -offset_at(now, where)), typmod, False)
    if parsed.micros is None or parsed.special is not None:
        raise syntax_error("time with time zone", text)
    if parsed.offset is not None:
        east = parsed.offset
    else:
        days = local_of_utc(now, where) // MICROS_PER_DAY if parsed.days is None else parsed.days
        east = offset_of_local(days * MICROS_PER_DAY + parsed.micros, where)
    return fit_timetz(TimeTz(parsed.micros, -east), typmod, False)


def _time_out(value: int, settings: FormatSettings) -> str:
    return time_text(value)


def timetz_text(value: TimeTz) -> str:
    """HH:MM:SS+ZZ."""
    return time_text(value.micros) + offset_text(-value.west)


def _timetz_out(value: TimeTz, settings: FormatSettings) -> str:
    return timetz_text(value)


def _check(micros: int) -> int:
    if not 0 <= micros <= MICROS_PER_DAY:
        raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "time out of range")
    return micros


def _time_binary_in(data: bytes, typmod: int) -> int:
    return fit_time(_check(unpack(_TIME, data)[0]), typmod, False)


def _timetz_binary_in(data: bytes, typmod: int) -> TimeTz:
    if len(data) != _TIMETZ.size:
        raise invalid_binary()
    micros, west = _TIMETZ.unpack(data)
    return fit_timetz(TimeTz(_check(micros), west), typmod, False)


def _timetz_binary_out(value: TimeTz) -> bytes:
    return _TIMETZ.pack(value.micros, value.west)


CODECS = {
    "time": Codec(
        _time_in,
        _time_out,
        _time_binary_in,
        _TIME.pack,
        apply_typmod=fit_time,
        struct_code="q",
        key_kind="int",
        typmod_in=precision_in,
        typmod_out=precision_out,
    ),
    "timetz": Codec(
        _timetz_in,
        _timetz_out,
        _timetz_binary_in,
        _timetz_binary_out,
        apply_typmod=fit_timetz,
        typmod_in=precision_in,
        typmod_out=precision_out,
    ),
}
