"""Reading the values of settings: each kind's syntax, units, bounds, and PostgreSQL's refusals."""

import codecs
import re
import zoneinfo
from collections.abc import Callable

from sqlnode.errors import SqlError
from sqlnode.session.guc import Kind, Setting
from sqlnode.types.dateparse import parse
from sqlnode.types.intervalparse import parse_interval

AS_OF = "dormouse.as_of"
"""The setting that lets transactions read the past (sqlnode/session/asof.py)."""
_TIME_UNITS = {
    "us": 0.001,
    "ms": 1.0,
    "s": 1000.0,
    "min": 60_000.0,
    "h": 3_600_000.0,
    "d": 86_400_000.0,
}
_MEMORY_UNITS = {"B": 1 / 1024, "kB": 1.0, "MB": 1024.0, "GB": 1024.0**2, "TB": 1024.0**3}
_BASE = {"ms": 1.0, "s": 1000.0, "kB": 1.0, "8kB": 8.0}
_NUMBER = re.compile(
    r"\s*([-+]?(?:0x[0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+))\s*(\S*)\s*"
)

_PYTHON_CODECS = {
    "UTF8": "utf-8",
    "SQL_ASCII": "utf-8",
    "LATIN1": "latin-1",
    "LATIN9": "iso8859-15",
    "WIN1252": "cp1252",
    "WIN1251": "cp1251",
    "WIN1250": "cp1250",
    "KOI8R": "koi8-r",
}
_ENCODING_ALIASES = {
    "UNICODE": "UTF8",
    "ISO88591": "LATIN1",
    "ISO885915": "LATIN9",
    "WINDOWS1252": "WIN1252",
    "WINDOWS1251": "WIN1251",
    "WINDOWS1250": "WIN1250",
    "SQLASCII": "SQL_ASCII",
    "KOI8": "KOI8R",
}
_ORDERS = {
    "mdy": "MDY",
    "us": "MDY",
    "noneuropean": "MDY",
    "noneuro": "MDY",
    "dmy": "DMY",
    "euro": "DMY",
    "european": "DMY",
    "ymd": "YMD",
}
_STYLES = {"iso": "ISO", "sql": "SQL", "postgres": "Postgres", "german": "German"}


def canonical(setting: Setting, value: str, current: str) -> str:
    """The text SHOW prints for `value`. `current` fills in what the value leaves open.

    Raises SqlError 22023 as PostgreSQL does.
    """
    special = _SPECIAL.get(setting.name)
    if special is not None:
        return special(value, current)
    if setting.kind is Kind.BOOL:
        return "on" if parse_bool(setting.name, value) else "off"
    if setting.kind is Kind.ENUM:
        return _enum(setting, value)
    if setting.kind in (Kind.INTEGER, Kind.REAL):
        return _number(setting, value)
    return value


def invalid(
    name: str, value: str, *, hint: str | None = None, detail: str | None = None
) -> SqlError:
    """The error for a value that a setting does not take."""
    text = f'invalid value for parameter "{name}": "{value}"'
    return SqlError("22023", text, hint=hint, detail=detail)


def parse_bool(name: str, value: str) -> bool:
    """PostgreSQL's booleans: unique prefixes of on, off, true, false, yes, no; 1 and 0."""
    text = value.strip().lower()
    if (
        text == "1"
        or (text and ("true".startswith(text) or "yes".startswith(text)))
        or text == "on"
    ):
        return True
    if text == "0" or (text and ("false".startswith(text) or "no".startswith(text))):
        return False
    if len(text) >= 2 and "off".startswith(text):
        return False
    raise SqlError("22023", f'parameter "{name}" requires a Boolean value')


def _enum(setting: Setting, value: str) -> str:
    for allowed in setting.values:
        if allowed == value.lower():
            return allowed
    if "on" in setting.values:
        try:
            return "on" if parse_bool(setting.name, value) else "off"
        except SqlError:
            pass  # no boolean spelling either: refused below
    available = ", ".join(setting.values)
    raise invalid(setting.name, value, hint=f"Available values: {available}.")


def _number(setting: Setting, value: str) -> str:
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise invalid(setting.name, value)
    text = match[1]
    amount = float(int(text, 16)) if "0x" in text else float(text)
    if match[2]:
        amount *= _factor(setting, value, match[2])
    if setting.kind is Kind.INTEGER:
        amount = float(round(amount))
    if not setting.minimum <= amount <= setting.maximum:
        unit = f" {setting.unit}" if setting.unit else ""
        shown = f"{amount:g}" if setting.kind is Kind.REAL else f"{amount:.0f}"
        raise SqlError(
            "22023",
            f'{shown}{unit} is outside the valid range for parameter "{setting.name}" '
            f"({setting.minimum:.0f} .. {setting.maximum:.0f})",
        )
    if setting.kind is Kind.REAL:
        return f"{amount:g}"
    return with_unit(int(amount), setting.unit)


def _factor(setting: Setting, value: str, unit: str) -> float:
    table = _TIME_UNITS if setting.unit in ("ms", "s") else _MEMORY_UNITS
    if not setting.unit or unit not in table:
        known = '"us", "ms", "s", "min", "h", and "d"'
        if table is _MEMORY_UNITS:
            known = '"B", "kB", "MB", "GB", and "TB"'
        hint = f"Valid units for this parameter are {known}." if setting.unit else None
        raise invalid(setting.name, value, hint=hint)
    return table[unit] / _BASE[setting.unit]


def with_unit(amount: int, unit: str) -> str:
    """A number in its unit as SHOW prints it: in the largest unit that leaves it whole."""
    if not unit or amount <= 0:
        return str(amount)
    table = _TIME_UNITS if unit in ("ms", "s") else _MEMORY_UNITS
    base = amount * _BASE[unit]
    for name, factor in reversed(table.items()):
        if factor >= 1 and base % factor == 0:
            return f"{int(base // factor)}{name}"
    return f"{amount}{unit}"


def milliseconds(value: str) -> int:
    """A time setting's value, as SHOW prints it, in milliseconds."""
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise ValueError(value)
    return int(float(match[1]) * _TIME_UNITS.get(match[2] or "ms", 1.0))


def codec(encoding: str) -> str:
    """The Python codec of a canonical client_encoding."""
    return _PYTHON_CODECS[encoding]


def _client_encoding(value: str, _current: str) -> str:
    key = re.sub(r"[^A-Z0-9]", "", value.strip().strip("'\"").upper())
    name = _ENCODING_ALIASES.get(key, key)
    if name not in _PYTHON_CODECS:
        raise invalid("client_encoding", value)
    codecs.lookup(_PYTHON_CODECS[name])
    return name


def _date_style(value: str, current: str) -> str:
    style, order = current.split(", ")
    for word in value.split(","):
        token = word.strip().lower()
        if token in _STYLES:
            style = _STYLES[token]
            if style == "German" and not any(
                o.strip().lower() in _ORDERS for o in value.split(",")
            ):
                order = "DMY"
        elif token in _ORDERS:
            order = _ORDERS[token]
        elif token == "default":
            style, order = "ISO", "MDY"
        else:
            raise invalid("DateStyle", value, detail=f'Unrecognized key word: "{word.strip()}".')
    return f"{style}, {order}"


def _time_zone(value: str, _current: str) -> str:
    text = value.strip()
    if text.lower() in ("utc", "gmt", "z", "zulu"):
        return "UTC" if text.lower() == "utc" else "GMT" if text.lower() == "gmt" else "UTC"
    if re.fullmatch(r"[-+]?\d{1,2}(:\d{2})?", text):
        return _offset_zone(text)
    try:
        return zoneinfo.ZoneInfo(text).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass  # perhaps only its case is wrong
    for name in zoneinfo.available_timezones():
        if name.lower() == text.lower():
            return name
    raise invalid("TimeZone", value)


def _offset_zone(text: str) -> str:
    """An offset east of Greenwich as the POSIX zone PostgreSQL shows: `<+02>-02`."""
    sign = -1 if text.startswith("-") else 1
    hours, _, minutes = text.lstrip("+-").partition(":")
    if int(hours) > 15 or int(minutes or 0) > 59:
        raise invalid("TimeZone", text)
    digits = f"{int(hours):02d}" + (f":{minutes}" if minutes and int(minutes) else "")
    east, west = ("+", "-") if sign > 0 else ("-", "+")
    return f"<{east}{digits}>{west}{digits}"


def _application_name(value: str, _current: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in value)[:63]


def is_how_long_ago(text: str) -> bool:
    """Whether a value of dormouse.as_of is an interval, and no timestamp."""
    return (text.startswith("-") and text != "-infinity") or text.lower().endswith(" ago")


def _as_of(value: str, _current: str) -> str:
    text = value.strip()
    if not text or text == "-infinity":
        return text
    try:
        if is_how_long_ago(text):
            parse_interval(text)
        else:
            parse(text, "timestamp with time zone", "ISO, MDY")
    except SqlError as error:
        hint = "Give a timestamp, or how long ago, such as '5 minutes ago'."
        raise invalid(AS_OF, value, hint=hint) from error
    return text


_SPECIAL: dict[str, Callable[[str, str], str]] = {
    "application_name": _application_name,
    "client_encoding": _client_encoding,
    "DateStyle": _date_style,
    AS_OF: _as_of,
    "TimeZone": _time_zone,
}
