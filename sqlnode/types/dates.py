"""date: days since 2000-01-01."""

import struct

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings
from sqlnode.types.calendar import (
    DATE_END,
    DATE_INFINITY,
    DATE_MIN,
    DATE_MINUS_INFINITY,
    EPOCH_DAYS,
    MICROS_PER_DAY,
    date_of,
)
from sqlnode.types.codec import Codec
from sqlnode.types.dateparse import field_order, iso_date_text, parse, syntax_error
from sqlnode.types.reading import unpack
from sqlnode.types.zones import local_of_utc, zone

_PACKED = struct.Struct(">i")
_DAY_STEPS = {"now": 0, "today": 0, "tomorrow": 1, "yesterday": -1}


def today(settings: FormatSettings) -> int:
    """The date at the start of the transaction, in the session's time zone."""
    return local_of_utc(settings.now_micros(), zone(settings.time_zone)) // MICROS_PER_DAY


def _text_in(text: str, typmod: int, settings: FormatSettings) -> int:
    parsed = parse(text, "date", settings.date_style)
    if parsed.special is not None:
        return _special(parsed.special, settings)
    if parsed.days is None:
        raise syntax_error("date", text)
    if not DATE_MIN <= parsed.days < DATE_END:
        raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, f'date out of range: "{text}"')
    return parsed.days


def _special(word: str, settings: FormatSettings) -> int:
    if word == "infinity":
        return DATE_INFINITY
    if word == "-infinity":
        return DATE_MINUS_INFINITY
    if word == "epoch":
        return EPOCH_DAYS
    return today(settings) + _DAY_STEPS[word]


def date_text(days: int, date_style: str) -> str:
    """A date in the style DateStyle asks for."""
    if days == DATE_INFINITY:
        return "infinity"
    if days == DATE_MINUS_INFINITY:
        return "-infinity"
    if date_style.startswith("ISO"):
        return iso_date_text(days)
    year, month, day = date_of(days)
    shown, era = (f"{year:04d}", "") if year > 0 else (f"{1 - year:04d}", " BC")
    if date_style.startswith("German"):
        return f"{day:02d}.{month:02d}.{shown}{era}"
    mark = "/" if date_style.startswith("SQL") else "-"
    order = field_order(date_style)
    if order == "YMD" and mark == "-":
        return f"{shown}-{month:02d}-{day:02d}{era}"
    if order == "DMY":
        return f"{day:02d}{mark}{month:02d}{mark}{shown}{era}"
    return f"{month:02d}{mark}{day:02d}{mark}{shown}{era}"


def _text_out(value: int, settings: FormatSettings) -> str:
    return date_text(value, settings.date_style)


def _binary_in(data: bytes, typmod: int) -> int:
    return unpack(_PACKED, data)[0]


CODECS = {
    "date": Codec(_text_in, _text_out, _binary_in, _PACKED.pack, struct_code="i", key_kind="int")
}
