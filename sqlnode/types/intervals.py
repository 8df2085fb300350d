"""interval: its four output styles, its fields and precision (typmod), its binary form."""

import struct
from collections.abc import Sequence

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings
from sqlnode.types.calendar import MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND
from sqlnode.types.codec import Codec
from sqlnode.types.interval import Interval
from sqlnode.types.intervalparse import parse_interval
from sqlnode.types.reading import invalid_binary
from sqlnode.types.timestamps import round_micros

_PACKED = struct.Struct(">qii")
FULL_RANGE = 0x7FFF
FULL_PRECISION = 0xFFFF

# Bits of the field mask, as PostgreSQL's utils/datetime.h numbers them.
_MONTH, _YEAR, _DAY, _HOUR, _MINUTE, _SECOND = 1 << 1, 1 << 2, 1 << 3, 1 << 10, 1 << 11, 1 << 12
_FIELDS = {
    _YEAR: "year",
    _MONTH: "month",
    _DAY: "day",
    _HOUR: "hour",
    _MINUTE: "minute",
    _SECOND: "second",
    _YEAR | _MONTH: "year to month",
    _DAY | _HOUR: "day to hour",
    _DAY | _HOUR | _MINUTE: "day to minute",
    _DAY | _HOUR | _MINUTE | _SECOND: "day to second",
    _HOUR | _MINUTE: "hour to minute",
    _HOUR | _MINUTE | _SECOND: "hour to second",
    _MINUTE | _SECOND: "minute to second",
}


def _range_of(typmod: int) -> int:
    return (typmod >> 16) & FULL_RANGE if typmod >= 0 else FULL_RANGE


def _default_unit(typmod: int) -> str:
    fields = _FIELDS.get(_range_of(typmod), "second")
    if fields == "minute to second":
        return "minute_second"
    return fields.rpartition(" ")[2]


def fit(value: Interval, typmod: int, explicit: bool) -> Interval:
    """Cut to the fields and rounded to the precision the typmod says."""
    if typmod < 0:
        return value
    months, days, micros = value.months, value.days, value.micros
    fields = _range_of(typmod)
    if fields == _YEAR:
        months, days, micros = _truncate(months, 12), 0, 0
    elif fields in {_MONTH, _YEAR | _MONTH}:
        days = micros = 0
    elif fields == _DAY:
        micros = 0
    elif fields in {_HOUR, _DAY | _HOUR}:
        micros = _truncate(micros, MICROS_PER_HOUR)
    elif fields in {_MINUTE, _HOUR | _MINUTE, _DAY | _HOUR | _MINUTE}:
        micros = _truncate(micros, MICROS_PER_MINUTE)
    precision = typmod & 0xFFFF
    if precision < 6:
        micros = round_micros(micros, precision)
    return Interval(months, days, micros)


def _truncate(value: int, unit: int) -> int:
    return value // unit * unit if value >= 0 else -(-value // unit * unit)


def _text_in(text: str, typmod: int, settings: FormatSettings) -> Interval:
    unit = _default_unit(typmod)
    return fit(parse_interval(text, unit), typmod, False)


def _typmod_in(modifiers: Sequence[str]) -> int:
    fields = int(modifiers[0])
    if (fields != FULL_RANGE and fields not in _FIELDS) or not 1 <= len(modifiers) <= 2:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "invalid INTERVAL type modifier")
    if len(modifiers) == 1:
        return -1 if fields == FULL_RANGE else (fields << 16) | FULL_PRECISION
    precision = int(modifiers[1])
    if precision < 0:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            f"INTERVAL({precision}) precision must not be negative",
        )
    return (fields << 16) | min(precision, 6)


def _typmod_out(typmod: int) -> str:
    fields = _range_of(typmod)
    name = "" if fields == FULL_RANGE else f" {_FIELDS.get(fields, '')}"
    precision = typmod & 0xFFFF
    return name if precision == FULL_PRECISION else f"{name}({precision})"


# --- output ------------------------------------------------------------------------------------


def _clock(micros: int) -> tuple[int, int, int, int]:
    hours, rest = divmod(micros, MICROS_PER_HOUR)
    minutes, rest = divmod(rest, MICROS_PER_MINUTE)
    return hours, minutes, *divmod(rest, MICROS_PER_SECOND)


def _decimal(seconds: int, fraction: int, width: int) -> str:
    if not fraction:
        return f"{seconds:0{width}d}"
    return f"{seconds:0{width}d}.{fraction:06d}".rstrip("0")


def _years_months(months: int) -> tuple[int, int]:
    years, rest = divmod(abs(months), 12)
    return (-years, -rest) if months < 0 else (years, rest)


def interval_text(value: Interval, style: str = "postgres") -> str:
    """An interval in one of IntervalStyle's styles."""
    if style == "postgres_verbose":
        return _verbose(value)
    if style == "iso_8601":
        return _iso(value)
    if style == "sql_standard":
        return _standard(value)
    return _postgres(value)


def _postgres(value: Interval) -> str:
    years, months = _years_months(value.months)
    words: list[str] = []
    negative_before = False
    for count, unit in ((years, "year"), (months, "mon"), (value.days, "day")):
        if count:
            sign = "+" if negative_before and count > 0 else ""
            words.append(f"{sign}{count} {unit}{'' if count == 1 else 's'}")
            negative_before = count < 0
    if value.micros or not words:
        hours, minutes, seconds, fraction = _clock(abs(value.micros))
        sign = "-" if value.micros < 0 else "+" if negative_before else ""
        words.append(f"{sign}{hours:02d}:{minutes:02d}:{_decimal(seconds, fraction, 2)}")
    return " ".join(words)


def _verbose(value: Interval) -> str:
    years, months = _years_months(value.months)
    hours, minutes, seconds, fraction = _clock(abs(value.micros))
    negative_time = value.micros < 0
    sign = -1 if negative_time else 1
    counts = [(years, "year"), (months, "mon"), (value.days, "day")]
    counts += [(sign * hours, "hour"), (sign * minutes, "min")]
    first = next((n for n, _ in counts if n), sign if value.micros else 0)
    flip = -1 if first < 0 else 1
    words = [f"{n * flip} {unit}{'' if n * flip == 1 else 's'}" for n, unit in counts if n]
    if seconds or fraction:
        minus = "-" if sign * flip < 0 else ""
        shown = _decimal(seconds, fraction, 1)
        words.append(f"{minus}{shown} sec{'' if shown == '1' and not minus else 's'}")
    if not words:
        return "@ 0"
    return "@ " + " ".join(words) + (" ago" if flip < 0 else "")


def _iso(value: Interval) -> str:
    years, months = _years_months(value.months)
    date = "".join(
        f"{n}{letter}" for n, letter in ((years, "Y"), (months, "M"), (value.days, "D")) if n
    )
    hours, minutes, seconds, fraction = _clock(abs(value.micros))
    minus = "-" if value.micros < 0 else ""
    time = "".join(f"{minus}{n}{letter}" for n, letter in ((hours, "H"), (minutes, "M")) if n)
    if seconds or fraction:
        time += f"{minus}{_decimal(seconds, fraction, 1)}S"
    if not date and not time:
        return "PT0S"
    return f"P{date}" + (f"T{time}" if time else "")


def _standard(value: Interval) -> str:
    years, months = _years_months(value.months)
    days, micros = value.days, value.micros
    if not (value.months or days or micros):
        return "0"
    parts = (value.months, days, micros)
    hours, minutes, seconds, fraction = _clock(abs(micros))
    clock = f"{hours}:{minutes:02d}:{_decimal(seconds, fraction, 2)}"
    mixed = (min(parts) < 0 < max(parts)) or (value.months and (days or micros))
    if mixed:
        signs = ["-" if n < 0 else "+" for n in parts]
        return f"{signs[0]}{abs(years)}-{abs(months)} {signs[1]}{abs(days)} {signs[2]}{clock}"
    sign = "-" if min(parts) < 0 else ""
    if value.months:
        return f"{sign}{abs(years)}-{abs(months)}"
    return f"{sign}{abs(days)} {clock}" if days else f"{sign}{clock}"


def _text_out(value: Interval, settings: FormatSettings) -> str:
    return interval_text(value, settings.interval_style)


def _binary_in(data: bytes, typmod: int) -> Interval:
    if len(data) != _PACKED.size:
        raise invalid_binary()
    micros, days, months = _PACKED.unpack(data)
    return fit(Interval(months, days, micros), typmod, False)


def _binary_out(value: Interval) -> bytes:
    return _PACKED.pack(value.micros, value.days, value.months)


CODECS = {
    "interval": Codec(
        _text_in,
        _text_out,
        _binary_in,
        _binary_out,
        apply_typmod=fit,
        typmod_in=_typmod_in,
        typmod_out=_typmod_out,
    )
}
