"""extract, date_part, date_trunc, date_bin."""

from collections.abc import Callable
from datetime import tzinfo
from decimal import Decimal
from typing import Any

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.datetimemath import date_to_timestamp
from sqlnode.functions.family import Family
from sqlnode.functions.numericmath import numeric_div
from sqlnode.types.calendar import (
    EPOCH_MICROS,
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    MICROS_PER_MINUTE,
    MICROS_PER_SECOND,
    date_of,
    day_of_year,
    days_of,
    is_finite_date,
    is_finite_timestamp,
    iso_week,
    iso_week_start,
    weekday,
)
from sqlnode.types.interval import Interval
from sqlnode.types.numerics import CONTEXT
from sqlnode.types.times import TimeTz
from sqlnode.types.zones import local_of_utc, offset_at, utc_of_local, zone

FAMILY = Family()

_ALIASES: dict[str, str] = {}
for _words in (
    "microseconds microsecond us usec usecs usecond useconds",
    "milliseconds millisecond ms msec msecs msecond mseconds",
    "second seconds sec secs s",
    "minute minutes min mins m",
    "hour hours hr hrs h",
    "day days d",
    "week weeks w",
    "month months mon mons",
    "quarter quarters qtr",
    "year years yr yrs y",
    "decade decades dec decs",
    "century centuries c cent",
    "millennium millennia mil mils millenium",
    "epoch",
    "dow",
    "isodow",
    "doy",
    "isoyear",
    "julian jd j",
    "timezone tz",
    "timezone_hour timezone_h",
    "timezone_minute timezone_m",
):
    for _word in _words.split():
        _ALIASES[_word] = _words.split()[0]
_CLOCK_UNITS = {"microseconds", "milliseconds", "second", "minute", "hour"}
_MONOTONE = {"year", "isoyear", "decade", "century", "millennium", "epoch", "julian"}


def _field(name: str, type_name: str) -> str:
    found = _ALIASES.get(name.lower())
    if found is None:
        raise _unknown(name, type_name)
    return found


def _unknown(name: str, type_name: str) -> SqlError:
    return SqlError(
        sqlstate.INVALID_PARAMETER_VALUE,
        f'unit "{name.lower()}" not recognized for type {type_name}',
    )


def _refused(name: str, type_name: str) -> SqlError:
    return SqlError(
        sqlstate.FEATURE_NOT_SUPPORTED,
        f'unit "{name.lower()}" not supported for type {type_name}',
    )


def _scaled(value: int, places: int) -> Decimal:
    return Decimal((value < 0, tuple(map(int, str(abs(value)))), -places))


def _clock_field(field: str, micros: int) -> Decimal:
    seconds = micros % MICROS_PER_MINUTE if micros >= 0 else -(-micros % MICROS_PER_MINUTE)
    if field == "microseconds":
        return Decimal(seconds)
    if field == "milliseconds":
        return _scaled(seconds, 3)
    if field == "second":
        return _scaled(seconds, 6)
    size = abs(micros)
    value = size // MICROS_PER_MINUTE % 60 if field == "minute" else size // MICROS_PER_HOUR
    return Decimal(-value if micros < 0 else value)


def _century(year: int) -> int:
    return (year + 99) // 100 if year > 0 else -((99 - (year - 1)) // 100)


def _millennium(year: int) -> int:
    return (year + 999) // 1000 if year > 0 else -((999 - (year - 1)) // 1000)


def _shown_year(year: int) -> int:
    return year if year > 0 else year - 1


_DATE_FIELDS: dict[str, Callable[[int, int, int, int], int]] = {
    "day": lambda days, y, m, d: d,
    "month": lambda days, y, m, d: m,
    "quarter": lambda days, y, m, d: (m - 1) // 3 + 1,
    "year": lambda days, y, m, d: _shown_year(y),
    "decade": lambda days, y, m, d: y // 10,
    "century": lambda days, y, m, d: _century(y),
    "millennium": lambda days, y, m, d: _millennium(y),
    "week": lambda days, y, m, d: iso_week(days)[1],
    "isoyear": lambda days, y, m, d: _shown_year(iso_week(days)[0]),
    "dow": lambda days, y, m, d: weekday(days),
    "isodow": lambda days, y, m, d: weekday(days) or 7,
    "doy": lambda days, y, m, d: day_of_year(days),
}


def _infinite(field: str, positive: bool) -> Decimal | None:
    return Decimal("Infinity" if positive else "-Infinity") if field in _MONOTONE else None


def timestamp_field(name: str, local: int, type_name: str) -> Decimal | None:
    """A field of a local time; NULL for fields an infinite one does not have; 22023, 0A000."""
    field = _field(name, type_name)
    if not is_finite_timestamp(local):
        return _infinite(field, local > 0)
    days, micros = divmod(local, MICROS_PER_DAY)
    if field in _CLOCK_UNITS:
        return _clock_field(field, micros)
    if field == "epoch":
        return _scaled(local - EPOCH_MICROS, 6)
    if field == "julian":
        fraction = numeric_div(Decimal(micros), Decimal(MICROS_PER_DAY))
        return CONTEXT.add(Decimal(days + 2451545), fraction)
    compute = _DATE_FIELDS.get(field)
    if compute is None:
        raise _refused(name, type_name)
    return Decimal(compute(days, *date_of(days)))


def _zone_field(field: str, offset: int) -> Decimal | None:
    size = abs(offset)
    sign = -1 if offset < 0 else 1
    if field == "timezone":
        return Decimal(offset)
    if field == "timezone_hour":
        return Decimal(sign * (size // 3600))
    if field == "timezone_minute":
        return Decimal(sign * (size % 3600 // 60))
    return None


_TZ_NAME = "timestamp with time zone"


def instant_field(context: FunctionContext, name: str, micros: int) -> Decimal | None:
    """A field of an instant on the session's clock."""
    field = _field(name, _TZ_NAME)
    if not is_finite_timestamp(micros):
        return _infinite(field, micros > 0)
    if field == "epoch":
        return _scaled(micros - EPOCH_MICROS, 6)
    offset = offset_at(micros, zone(context.time_zone))
    found = _zone_field(field, offset)
    if found is not None:
        return found
    return timestamp_field(name, micros + offset * MICROS_PER_SECOND, _TZ_NAME)


def date_field(name: str, days: int) -> Decimal | None:
    """A field of a date."""
    field = _field(name, "date")
    if field in _CLOCK_UNITS or field.startswith("timezone"):
        raise _refused(name, "date")
    if not is_finite_date(days):
        return _infinite(field, days > 0)
    if field == "epoch":
        return Decimal((days * MICROS_PER_DAY - EPOCH_MICROS) // MICROS_PER_SECOND)
    if field == "julian":
        return Decimal(days + 2451545)
    return timestamp_field(name, days * MICROS_PER_DAY, "date")


def time_field(name: str, micros: int) -> Decimal:
    """A field of a time of day."""
    field = _field(name, "time without time zone")
    if field == "epoch":
        return _scaled(micros, 6)
    if field not in _CLOCK_UNITS:
        raise _refused(name, "time without time zone")
    return _clock_field(field, micros)


def timetz_field(name: str, value: TimeTz) -> Decimal:
    """A field of a time of day with offset."""
    field = _field(name, "time with time zone")
    found = _zone_field(field, -value.west)
    if found is not None:
        return found
    if field == "epoch":
        return _scaled(value.micros + value.west * MICROS_PER_SECOND, 6)
    if field not in _CLOCK_UNITS:
        raise _refused(name, "time with time zone")
    return _clock_field(field, value.micros)


def _towards_zero(value: int, unit: int) -> int:
    return -(-value // unit) if value < 0 else value // unit


def interval_field(name: str, value: Interval) -> Decimal:
    """A field of an interval."""
    field = _field(name, "interval")
    if field in _CLOCK_UNITS:
        return _clock_field(field, value.micros)
    years = _towards_zero(value.months, 12)
    months = value.months - years * 12
    fields = {
        "day": value.days,
        "month": months,
        "quarter": _towards_zero(months, 3) + 1,
        "year": years,
        "decade": _towards_zero(years, 10),
        "century": _towards_zero(years, 100),
        "millennium": _towards_zero(years, 1000),
    }
    if field == "epoch":
        days = Decimal(years) * Decimal("365.25") + months * 30 + value.days
        return Decimal(int(days * MICROS_PER_DAY) + value.micros).scaleb(-6)
    if field not in fields:
        raise _refused(name, "interval")
    return Decimal(fields[field])


def _as_float(compute: Callable[..., Decimal | None]) -> Callable[..., float | None]:
    def part(*args: Any) -> float | None:
        found = compute(*args)
        return None if found is None else float(found)

    return part


def _timestamp_field(name: str, local: int) -> Decimal | None:
    return timestamp_field(name, local, "timestamp without time zone")


FAMILY.call(_timestamp_field, "extract_timestamp")
FAMILY.call(_as_float(_timestamp_field), "timestamp_part")
FAMILY.call(instant_field, "extract_timestamptz", needs_context=True)
FAMILY.call(_as_float(instant_field), "timestamptz_part", needs_context=True)
FAMILY.call(date_field, "extract_date")
FAMILY.call(
    _as_float(lambda name, days: _timestamp_field(name, date_to_timestamp(days))),
    "date_part(text,date)",
)
FAMILY.call(time_field, "extract_time")
FAMILY.call(_as_float(time_field), "time_part")
FAMILY.call(timetz_field, "extract_timetz")
FAMILY.call(_as_float(timetz_field), "timetz_part")
FAMILY.call(interval_field, "extract_interval")
FAMILY.call(_as_float(interval_field), "interval_part")

# --- truncation --------------------------------------------------------------------------------

_CLOCK_SIZES = {
    "microseconds": 1,
    "milliseconds": 1000,
    "second": MICROS_PER_SECOND,
    "minute": MICROS_PER_MINUTE,
    "hour": MICROS_PER_HOUR,
    "day": MICROS_PER_DAY,
}


_NEVER_TRUNCATED = {"epoch", "dow", "isodow", "doy", "isoyear", "julian"}


def _truncated_field(name: str, type_name: str) -> str:
    field = _field(name, type_name)
    if field in _NEVER_TRUNCATED:
        raise _unknown(name, type_name)
    return field


def _truncated(name: str, local: int, type_name: str) -> int:
    field = _truncated_field(name, type_name)
    size = _CLOCK_SIZES.get(field)
    if size is not None:
        return local // size * size
    days = local // MICROS_PER_DAY
    year, month, _ = date_of(days)
    if field == "week":
        start = iso_week_start(*iso_week(days))
    elif field == "month":
        start = days_of(year, month, 1)
    elif field == "quarter":
        start = days_of(year, (month - 1) // 3 * 3 + 1, 1)
    elif field == "year":
        start = days_of(year, 1, 1)
    elif field == "decade":
        start = days_of(year // 10 * 10, 1, 1)
    elif field == "century":
        start = days_of((year - 1) // 100 * 100 + 1, 1, 1)
    elif field == "millennium":
        start = days_of((year - 1) // 1000 * 1000 + 1, 1, 1)
    else:
        raise _refused(name, type_name)
    return start * MICROS_PER_DAY


@FAMILY.function("timestamp_trunc")
def truncate(name: str, local: int) -> int:
    """date_trunc(field, timestamp)."""
    if not is_finite_timestamp(local):
        return local
    return _truncated(name, local, "timestamp without time zone")


def _truncate_instant(name: str, micros: int, where: tzinfo) -> int:
    if not is_finite_timestamp(micros):
        return micros
    local = local_of_utc(micros, where)
    cut = _truncated(name, local, _TZ_NAME)
    if _CLOCK_SIZES.get(_field(name, _TZ_NAME), MICROS_PER_DAY) < MICROS_PER_DAY:
        # Within a day the offset stays, also where the clock shows an hour twice.
        return micros - (local - cut)
    return utc_of_local(cut, where)


@FAMILY.function("timestamptz_trunc", needs_context=True)
def truncate_instant(context: FunctionContext, name: str, micros: int) -> int:
    """date_trunc(field, timestamptz)."""
    return _truncate_instant(name, micros, zone(context.time_zone))


@FAMILY.function("timestamptz_trunc_zone")
def truncate_instant_in(name: str, micros: int, zone_name: str) -> int:
    """date_trunc(field, timestamptz, zone)."""
    return _truncate_instant(name, micros, zone(zone_name))


@FAMILY.function("interval_trunc")
def truncate_interval(name: str, value: Interval) -> Interval:
    """date_trunc(field, interval)."""
    field = _truncated_field(name, "interval")
    size = _CLOCK_SIZES.get(field)
    if field == "day":
        return Interval(value.months, value.days, 0)
    if size is not None:
        return Interval(value.months, value.days, _towards_zero(value.micros, size) * size)
    months = {
        "month": 1, "quarter": 3, "year": 12, "decade": 120, "century": 1200, "millennium": 12000,
    }.get(field)  # fmt: skip
    if months is None:
        raise _refused(name, "interval")
    return Interval(_towards_zero(value.months, months) * months, 0, 0)


@FAMILY.function("timestamp_bin", "timestamptz_bin")
def date_bin(stride: Interval, micros: int, origin: int) -> int:
    """date_bin(stride, timestamp, origin); 0A000 for months, 22008 for no stride."""
    if not is_finite_timestamp(micros):
        return micros
    if not is_finite_timestamp(origin):
        raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "origin out of range")
    if stride.months:
        raise SqlError(
            sqlstate.FEATURE_NOT_SUPPORTED,
            "timestamps cannot be binned into intervals containing months or years",
        )
    size = stride.days * MICROS_PER_DAY + stride.micros
    if size <= 0:
        raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "stride must be greater than zero")
    return origin + (micros - origin) // size * size
