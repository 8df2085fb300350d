"""Reading dates and times the way PostgreSQL does (its manual, appendix B.1).

The text is split into tokens, each token says by its shape what it is, and what is left to say (is
01/02 a month first?) is decided by DateStyle's field order:

    "Jan 8, 04:05:06.789 1999 PST"  →  word  number  time  number  zone
"""

import re
from dataclasses import dataclass

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.calendar import (
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    MICROS_PER_MINUTE,
    MICROS_PER_SECOND,
    date_of,
    days_in_month,
    days_of,
)
from sqlnode.types.zones import abbreviation_seconds, find_zone

MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
SPECIALS = frozenset(
    {"now", "today", "tomorrow", "yesterday", "epoch", "infinity", "-infinity", "+infinity"}
)

_TOKEN = re.compile(
    r"""[\s,]*(?:
      (?P<time>\d{1,7}:\d{1,2}(?::\d{1,2}(?:\.\d*)?)?)
    | (?P<iso>\d{1,7}-\d{1,2}-\d{1,2})(?=[\sTt]|$|[+-]|\d*[A-Za-z])
    | (?P<date>\d+[-/.][A-Za-z]+[-/.]\d+|[A-Za-z]+[-/.]\d+[-/.]\d+|\d+[/.-]\d+[/.-]\d+)
    | (?P<julian>[Jj]\d+(?:\.\d+)?)
    | (?P<zone>[+-]\d{1,2}(?::?\d{2}(?::?\d{2})?)?(?=\s|$|[A-Za-z]))
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<word>[+-]?[A-Za-z][A-Za-z_]*(?:/[A-Za-z_0-9+-]+)*)
    )\.?""",
    re.VERBOSE,
)
_FAST = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:([+-])(\d\d)(?::?(\d\d))?|(Z))?)?",
    re.ASCII,
)
_MONTH_NUMBERS = {name[:n]: i + 1 for i, name in enumerate(MONTHS) for n in (3, len(name))} | {
    "sept": 9
}
_WEEKDAY_NAMES = {name[:3] for name in WEEKDAYS} | set(WEEKDAYS) | {
    "tues", "wednes", "weds", "thur", "thurs"
}  # fmt: skip


@dataclass(slots=True)
class Parsed:
    """What a text said. `micros` is the time of day (None if no time was given)."""

    special: str | None = None
    days: int | None = None
    micros: int | None = None
    offset: int | None = None
    """Seconds east of UTC, where the text gave an offset or abbreviation."""
    zone: str | None = None
    """Name of a full time zone."""


def syntax_error(type_name: str, text: str) -> SqlError:
    """22007."""
    return SqlError(
        sqlstate.INVALID_DATETIME_FORMAT, f'invalid input syntax for type {type_name}: "{text}"'
    )


def field_overflow(text: str, *, order_hint: bool = False) -> SqlError:
    """22008 for a field beyond its range."""
    return SqlError(
        sqlstate.DATETIME_FIELD_OVERFLOW,
        f'date/time field value out of range: "{text}"',
        hint='Perhaps you need a different "datestyle" setting.' if order_hint else None,
    )


def field_order(date_style: str) -> str:
    """MDY, DMY or YMD out of DateStyle."""
    upper = date_style.upper()
    return next((order for order in ("DMY", "YMD") if order in upper), "MDY")


def parse(text: str, type_name: str, date_style: str) -> Parsed:
    """Read a date, a time, or both; 22007, 22008, 22009."""
    fast = _FAST.fullmatch(text)
    if fast is not None:
        return _parse_fast(fast, text)
    return _Reader(text, type_name, field_order(date_style)).read()


def _parse_fast(found: re.Match[str], text: str) -> Parsed:
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    if year == 0:  # there is no year 0: 1 AD follows 1 BC
        raise field_overflow(text)
    parsed = Parsed(days=checked_days(year, month, day, text))
    if found[4] is not None:
        fraction = int(found[7].ljust(6, "0")) if found[7] else 0
        parsed.micros = time_micros(int(found[4]), int(found[5]), int(found[6]), fraction, text)
    if found[8] is not None:
        seconds = int(found[9]) * 3600 + int(found[10] or 0) * 60
        parsed.offset = _checked_offset(-seconds if found[8] == "-" else seconds, text)
    elif found[11] is not None:
        parsed.offset = 0
    return parsed


def checked_days(year: int, month: int, day: int, text: str) -> int:
    """The day count of an astronomical date; 22008 if there is no such day."""
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        raise field_overflow(text, order_hint=True)
    if day > days_in_month(year, month):
        raise field_overflow(text)
    return days_of(year, month, day)


def time_micros(hour: int, minute: int, second: int, micros: int, text: str) -> int:
    """Microseconds of the day; 24:00:00 and second 60 are allowed; 22008."""
    total = (
        hour * MICROS_PER_HOUR + minute * MICROS_PER_MINUTE + second * MICROS_PER_SECOND + micros
    )
    if minute > 59 or second > 60 or hour > 24 or total > MICROS_PER_DAY:
        raise field_overflow(text)
    return total


def _checked_offset(seconds: int, text: str) -> int:
    if abs(seconds) >= 16 * 3600:
        raise SqlError(
            sqlstate.INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
            f'time zone displacement out of range: "{text}"',
        )
    return seconds


def fraction_micros(digits: str) -> int:
    """Digits behind a second's point as microseconds, rounded to the nearest."""
    if len(digits) <= 6:
        return int(digits.ljust(6, "0")) if digits else 0
    return round(float(f"0.{digits}") * MICROS_PER_SECOND)


class _Reader:
    """Reads one text that is not in the common ISO form."""

    def __init__(self, text: str, type_name: str, order: str) -> None:
        self.text = text
        self.type_name = type_name
        self.order = order
        self.parsed = Parsed()
        self.numbers: list[str] = []
        self.month: int | None = None
        self.bc = False
        self.half: str | None = None
        self.time: tuple[int, int, int, int] | None = None

    def read(self) -> Parsed:
        at, text = 0, self.text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise self._syntax()
            self._token(found.lastgroup, found[found.lastgroup])
            at = found.end()
        self._finish_time()
        self._finish_date()
        parsed = self.parsed
        if parsed.special is None and parsed.days is None and parsed.micros is None:
            raise self._syntax()
        return parsed

    def _token(self, kind: str, value: str) -> None:
        if kind == "time":
            self._time(value)
        elif kind in {"iso", "date"}:
            self._date(value)
        elif kind == "julian":
            self._julian(value[1:])
        elif kind == "zone":
            self._offset(value)
        elif kind == "number":
            self._number(value)
        else:
            self._word(value)

    def _syntax(self) -> SqlError:
        return syntax_error(self.type_name, self.text)

    def _time(self, value: str) -> None:
        if self.time is not None:
            raise self._syntax()
        hour, minute, *rest = value.split(":")
        second, _, fraction = (rest[0] if rest else "0").partition(".")
        self.time = (int(hour), int(minute), int(second), fraction_micros(fraction))

    def _date(self, value: str) -> None:
        if self.parsed.days is not None:
            raise self._syntax()
        parts = re.split(r"[-/.]", value)
        if parts[0].isalpha():
            parts[0], parts[1] = parts[1], parts[0]
        if parts[1].isalpha():
            month = _MONTH_NUMBERS.get(parts[1].lower())
            if month is None:
                raise self._syntax()
            self.month = month
            self.numbers = [parts[0], parts[2]]
            self._named_month()
            return
        self._ordered(parts)

    def _ordered(self, parts: list[str]) -> None:
        first, second, third = parts
        hint = False
        if len(first) > 2 or self.order == "YMD":
            year, month, day = first, second, third
        elif self.order == "DMY":
            day, month, year = first, second, third
            hint = True
        else:
            month, day, year = first, second, third
            hint = True
        self._set_date(year, int(month), int(day), hint=hint)

    def _set_date(self, year: str, month: int, day: int, *, hint: bool = False) -> None:
        number = int(year)
        if len(year) <= 2 and not self._is_bc():
            number += 2000 if number < 70 else 1900
        if self._is_bc():
            if number <= 0:
                raise field_overflow(self.text)
            number = 1 - number
        elif number == 0:
            raise field_overflow(self.text)
        if hint and not 1 <= month <= 12:
            raise field_overflow(self.text, order_hint=True)
        self.parsed.days = checked_days(number, month, day, self.text)

    def _is_bc(self) -> bool:
        return self.bc or re.search(r"\bb\.?c\.?\s*$|\bbc\b", self.text, re.IGNORECASE) is not None

    def _named_month(self) -> None:
        first, second = self.numbers
        month = self.month or 0
        if len(first) > 2 or self.order == "YMD":
            self._set_date(first, month, int(second))
        else:
            self._set_date(second, month, int(first))
        self.numbers = []
        self.month = None

    def _julian(self, value: str) -> None:
        whole, _, fraction = value.partition(".")
        self.parsed.days = int(whole) - 2451545
        if fraction:
            self.parsed.micros = int(float(f"0.{fraction}") * MICROS_PER_DAY)

    def _offset(self, value: str) -> None:
        if self.parsed.offset is not None:
            raise self._syntax()
        hours, colon, rest = value[1:].partition(":")
        if not colon and len(hours) > 2:
            hours, rest = hours[:2], hours[2:]
        digits = hours.rjust(2, "0") + rest.replace(":", "").ljust(4, "0")
        seconds = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:6])
        if int(digits[2:4]) > 59:
            raise _checked_offset_error(self.text)
        self.parsed.offset = _checked_offset(-seconds if value[0] == "-" else seconds, self.text)

    def _number(self, value: str) -> None:
        whole, _, fraction = value.partition(".")
        if len(whole) == 8 and self.parsed.days is None:
            self._set_date(whole[:4], int(whole[4:6]), int(whole[6:]))
        elif len(whole) == 6 and (
            self.parsed.days is not None or self.type_name in {"time", "time with time zone"}
        ):
            self.time = (
                int(whole[:2]), int(whole[2:4]), int(whole[4:]), fraction_micros(fraction)
            )  # fmt: skip
        elif len(whole) == 6:
            self._set_date(whole[:2], int(whole[2:4]), int(whole[4:]))
        elif len(whole) == 4 and self.parsed.days is not None and not self.numbers:
            self.time = (int(whole[:2]), int(whole[2:]), 0, 0)
        elif len(whole) == 4 and len(fraction) == 3 and self.parsed.days is None:
            self.parsed.days = days_of(int(whole), 1, 1) + int(fraction) - 1
        elif fraction:
            raise self._syntax()
        else:
            self.numbers.append(whole)

    def _word(self, value: str) -> None:
        lowered = value.lower()
        if lowered in SPECIALS or lowered == "allballs":
            self._special(lowered)
        elif lowered in _MONTH_NUMBERS:
            self.month = _MONTH_NUMBERS[lowered]
        elif lowered in {"am", "pm"}:
            self.half = lowered
        elif lowered in {"bc", "ad"}:
            self.bc = lowered == "bc"
        elif lowered in _WEEKDAY_NAMES or lowered in {"at", "on"} or lowered == "t":
            return
        else:
            self._zone_word(value)

    def _special(self, word: str) -> None:
        if word == "allballs":
            self.time = (0, 0, 0, 0)
            self.parsed.offset = 0
        elif self.parsed.special is not None:
            raise self._syntax()
        else:
            self.parsed.special = word.lstrip("+")

    def _zone_word(self, value: str) -> None:
        seconds = 0 if value.lower() in {"z", "zulu"} else abbreviation_seconds(value)
        rest = value[1:] if value[0] in "Tt" else ""
        if seconds is not None:
            if self.parsed.offset is not None and value.lower() in {"z", "zulu", "utc", "gmt"}:
                raise self._syntax()
            self.parsed.offset = seconds + (self.parsed.offset or 0)
        elif rest.lower() == "z":
            self.parsed.offset = 0
        elif "/" in value or (self._has_date() and find_zone(value) is not None):
            if find_zone(value) is None:
                raise SqlError(
                    sqlstate.INVALID_PARAMETER_VALUE, f'time zone "{value.lower()}" not recognized'
                )
            self.parsed.zone = value
        else:
            raise self._syntax()

    def _has_date(self) -> bool:
        return self.parsed.days is not None or self.time is not None or bool(self.numbers)

    def _finish_time(self) -> None:
        if self.time is None and self.half and self.numbers:
            self.time = (int(self.numbers.pop()), 0, 0, 0)
        if self.time is None:
            if self.half:
                raise self._syntax()
            return
        hour, minute, second, micros = self.time
        if self.half is not None:
            if hour > 12:
                raise field_overflow(self.text)
            hour = hour % 12 + (12 if self.half == "pm" else 0)
        self.parsed.micros = time_micros(hour, minute, second, micros, self.text)

    def _finish_date(self) -> None:
        if self.month is not None:
            if len(self.numbers) != 2:
                raise self._syntax()
            first, second = self.numbers
            swapped = len(first) <= 2 and self.order == "YMD" and len(second) > 2
            self.numbers = [second, first] if swapped else self.numbers
            self._named_month()
        elif len(self.numbers) == 3 and self.parsed.days is None:
            self._ordered(self.numbers)
        elif self.numbers:
            raise self._syntax()


def _checked_offset_error(text: str) -> SqlError:
    return SqlError(
        sqlstate.INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
        f'time zone displacement out of range: "{text}"',
    )


def iso_date_text(days: int) -> str:
    """YYYY-MM-DD, with BC behind where it is due and more digits from the year 10000 on."""
    year, month, day = date_of(days)
    if year > 0:
        return f"{year:04d}-{month:02d}-{day:02d}"
    return f"{1 - year:04d}-{month:02d}-{day:02d} BC"


def time_text(micros: int) -> str:
    """HH:MM:SS with the fraction's trailing zeros left out."""
    seconds, fraction = divmod(micros, MICROS_PER_SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    if not fraction:
        return f"{hour:02d}:{minute:02d}:{second:02d}"
    return f"{hour:02d}:{minute:02d}:{second:02d}.{fraction:06d}".rstrip("0")
