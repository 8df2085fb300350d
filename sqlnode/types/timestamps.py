"""timestamp and timestamptz: microseconds since 2000-01-01, the latter in UTC."""

import struct
from collections.abc import Sequence
from datetime import UTC

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings
from sqlnode.types.calendar import (
    EPOCH_MICROS,
    MICROS_PER_DAY,
    MICROS_PER_SECOND,
    TIMESTAMP_END,
    TIMESTAMP_INFINITY,
    TIMESTAMP_MIN,
    TIMESTAMP_MINUS_INFINITY,
    date_of,
    is_finite_timestamp,
    weekday,
)
from sqlnode.types.codec import Codec
from sqlnode.types.dateparse import (
    MONTHS,
    WEEKDAYS,
    Parsed,
    field_order,
    iso_date_text,
    parse,
    syntax_error,
    time_text,
)
from sqlnode.types.dates import date_text
from sqlnode.types.reading import unpack
from sqlnode.types.zones import (
    abbreviation_at,
    local_of_utc,
    offset_at,
    offset_text,
    utc_of_local,
    zone,
)

_PACKED = struct.Struct(">q")
_PRECISION_MAX = 6
_STEPS = {"today": 0, "tomorrow": 1, "yesterday": -1}


def round_micros(value: int, precision: int) -> int:
    """Rounded half away from zero to `precision` digits of a second."""
    unit: int = 10 ** (_PRECISION_MAX - precision)
    if value >= 0:
        return (value + unit // 2) // unit * unit
    return -((-value + unit // 2) // unit * unit)


def fit(value: int, typmod: int, explicit: bool) -> int:
    """timestamp(p)."""
    if not 0 <= typmod < _PRECISION_MAX or not is_finite_timestamp(value):
        return value
    return round_micros(value, typmod)


def check_range(micros: int, text: str | None = None) -> int:
    """The timestamp; 22008 beyond 4713 BC and 294276 AD."""
    if not TIMESTAMP_MIN <= micros < TIMESTAMP_END:
        shown = "" if text is None else f': "{text}"'
        raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, f"timestamp out of range{shown}")
    return micros


def _local(parsed: Parsed, text: str, type_name: str) -> int:
    if parsed.days is None:
        raise syntax_error(type_name, text)
    return parsed.days * MICROS_PER_DAY + (parsed.micros or 0)


def _special(parsed: Parsed, settings: FormatSettings, *, with_zone: bool) -> int:
    word = parsed.special
    if word == "infinity":
        return TIMESTAMP_INFINITY
    if word == "-infinity":
        return TIMESTAMP_MINUS_INFINITY
    if word == "epoch":
        return EPOCH_MICROS
    where = zone(settings.time_zone)
    now = settings.now_micros()
    if word == "now":
        return now if with_zone else local_of_utc(now, where)
    day = local_of_utc(now, where) // MICROS_PER_DAY + _STEPS[word or "today"]
    local = day * MICROS_PER_DAY + (parsed.micros or 0)
    return utc_of_local(local, where) if with_zone else local


def _timestamp_in(text: str, typmod: int, settings: FormatSettings) -> int:
    parsed = parse(text, "timestamp", settings.date_style)
    if parsed.special is not None:
        return _special(parsed, settings, with_zone=False)
    return fit(check_range(_local(parsed, text, "timestamp"), text), typmod, False)


def _timestamptz_in(text: str, typmod: int, settings: FormatSettings) -> int:
    name = "timestamp with time zone"
    parsed = parse(text, name, settings.date_style)
    if parsed.special is not None:
        return _special(parsed, settings, with_zone=True)
    local = _local(parsed, text, name)
    if parsed.offset is not None:
        value = local - parsed.offset * MICROS_PER_SECOND
    else:
        value = utc_of_local(local, zone(parsed.zone or settings.time_zone))
    return fit(check_range(value, text), typmod, False)


def timestamptz_of(text: str, settings: FormatSettings) -> int:
    """The timestamptz a text stands for; 22007, 22008."""
    return _timestamptz_in(text, -1, settings)


def timestamp_text(value: int, date_style: str) -> str:
    """A timestamp without time zone in the style DateStyle asks for."""
    if not is_finite_timestamp(value):
        return "infinity" if value > 0 else "-infinity"
    return _styled(value, date_style, None, None)


def timestamptz_text(value: int, date_style: str, time_zone: str) -> str:
    """An instant as the clock of `time_zone` shows it."""
    if not is_finite_timestamp(value):
        return "infinity" if value > 0 else "-infinity"
    where = zone(time_zone)
    if where is UTC:
        abbreviation = None if date_style.startswith("ISO") else "UTC"
        return _styled(value, date_style, 0, abbreviation)
    offset = offset_at(value, where)
    abbreviation = None if date_style.startswith("ISO") else abbreviation_at(value, where)
    return _styled(value + offset * MICROS_PER_SECOND, date_style, offset, abbreviation)


def _styled(local: int, style: str, offset: int | None, abbreviation: str | None) -> str:
    days, micros = divmod(local, MICROS_PER_DAY)
    clock = time_text(micros)
    if style.startswith("ISO"):
        date = iso_date_text(days)
        suffix = "" if offset is None else offset_text(offset)
        if date.endswith("BC"):
            return f"{date[:-3]} {clock}{suffix} BC"
        return f"{date} {clock}{suffix}"
    zone_part = "" if offset is None else _zone_part(offset, abbreviation)
    if style.startswith("Postgres"):
        return _postgres_style(days, clock, style, zone_part)
    date = date_text(days, style)
    era = " BC" if date.endswith(" BC") else ""
    return f"{date.removesuffix(' BC')} {clock}{zone_part}{era}"


def _zone_part(offset: int, abbreviation: str | None) -> str:
    if abbreviation and abbreviation[0].isalpha():
        return f" {abbreviation}"
    return f" {offset_text(offset)}"


def _postgres_style(days: int, clock: str, style: str, zone_part: str) -> str:
    year, month, day = date_of(days)
    shown, era = (f"{year:04d}", "") if year > 0 else (f"{1 - year:04d}", " BC")
    week = WEEKDAYS[weekday(days)][:3].title()
    name = MONTHS[month - 1][:3].title()
    middle = f"{day:02d} {name}" if field_order(style) == "DMY" else f"{name} {day:02d}"
    return f"{week} {middle} {clock} {shown}{zone_part}{era}"


def _timestamp_out(value: int, settings: FormatSettings) -> str:
    return timestamp_text(value, settings.date_style)


def _timestamptz_out(value: int, settings: FormatSettings) -> str:
    return timestamptz_text(value, settings.date_style, settings.time_zone)


def _binary_in(data: bytes, typmod: int) -> int:
    value = unpack(_PACKED, data)[0]
    if is_finite_timestamp(value):
        check_range(value)
    return fit(value, typmod, False)


def precision_in(modifiers: Sequence[str]) -> int:
    """The typmod of time and timestamp types: digits of a second."""
    if len(modifiers) != 1:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "invalid type modifier")
    precision = int(modifiers[0])
    if precision < 0:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE, f"precision {precision} must not be negative"
        )
    return min(precision, _PRECISION_MAX)


def precision_out(typmod: int) -> str:
    """`(p)`."""
    return f"({typmod})"


CODECS = {
    "timestamp": Codec(
        _timestamp_in,
        _timestamp_out,
        _binary_in,
        _PACKED.pack,
        apply_typmod=fit,
        struct_code="q",
        key_kind="int",
        typmod_in=precision_in,
        typmod_out=precision_out,
    ),
    "timestamptz": Codec(
        _timestamptz_in,
        _timestamptz_out,
        _binary_in,
        _PACKED.pack,
        apply_typmod=fit,
        struct_code="q",
        key_kind="int",
        typmod_in=precision_in,
        typmod_out=precision_out,
    ),
}
