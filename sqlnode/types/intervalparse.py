"""Reading intervals: `1 year 2 mons -3 days 04:05:06.7 ago`, `1-2`, `P1Y2M3DT4H5M6S`.

Quantities are kept as exact fractions until the end of a field; what is left of a unit spills into
the smaller ones (half a month is 15 days), as PostgreSQL does it.
"""

import re
from fractions import Fraction

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.calendar import MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE
from sqlnode.types.dateparse import syntax_error
from sqlnode.types.interval import DAYS_PER_MONTH, Interval

_I32 = 2**31
_I64 = 2**63
_TOKEN = re.compile(
    r"""[\s,]*(?:
      (?P<time>[+-]?\d+:\d*(?::\d*(?:\.\d*)?|\.\d+)?)
    | (?P<years>[+-]?\d+-\d+)
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>@|[A-Za-zµ]+)\.?
    )""",
    re.VERBOSE,
)
_ISO_FIELD = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([YMWDHS])")
_ISO_ALTERNATIVE = re.compile(r"P([+-]?\d+)-(\d+)-(\d+)(?:T([+-]?\d+):(\d+):(\d+(?:\.\d+)?))?")

_UNITS: dict[str, tuple[str, Fraction]] = {}
for _names, _part, _size in (
    ("microsecond microseconds us usec usecs usecond useconds", "micros", Fraction(1)),
    ("millisecond milliseconds ms msec msecs msecond mseconds", "micros", Fraction(1000)),
    ("second seconds sec secs s", "micros", Fraction(1_000_000)),
    ("minute minutes min mins m", "micros", Fraction(MICROS_PER_MINUTE)),
    ("hour hours hr hrs h", "micros", Fraction(MICROS_PER_HOUR)),
    ("day days d", "days", Fraction(1)),
    ("week weeks w", "days", Fraction(7)),
    ("month months mon mons", "months", Fraction(1)),
    ("quarter quarters", "months", Fraction(3)),
    ("year years yr yrs y", "months", Fraction(12)),
    ("decade decades dec decs", "months", Fraction(120)),
    ("century centuries c cent", "months", Fraction(1200)),
    ("millennium millennia mil mils", "months", Fraction(12000)),
):
    for _name in _names.split():
        _UNITS[_name] = (_part, _size)


def _overflow(text: str) -> SqlError:
    return SqlError(
        sqlstate.INTERVAL_FIELD_OVERFLOW, f'interval field value out of range: "{text}"'
    )


def parse_interval(text: str, default_unit: str = "second") -> Interval:
    """The interval a text stands for; a bare last number counts `default_unit`s; 22007, 22015."""
    stripped = text.strip()
    if stripped.startswith("P"):
        return _parse_iso(stripped, text)
    return _Reader(text, default_unit).read()


class _Sum:
    """The fields added up so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.months = 0
        self.days = 0
        self.micros = Fraction(0)

    def add(self, quantity: Fraction, part: str, size: Fraction) -> None:
        total = quantity * size
        if part == "micros":
            self.micros += total
        elif part == "days":
            self._add_days(total)
        else:
            months, rest = _split(total)
            # A fraction of a year is rounded to whole months; one of a month goes into days.
            if size >= 12:
                months, rest = _round(total), Fraction(0)
            self.months += months
            self._add_days(rest * DAYS_PER_MONTH)

    def _add_days(self, total: Fraction) -> None:
        days, rest = _split(total)
        self.days += days
        self.micros += rest * MICROS_PER_DAY

    def negate(self) -> None:
        self.months, self.days, self.micros = -self.months, -self.days, -self.micros

    def interval(self) -> Interval:
        micros = _round(self.micros)
        in_range = -_I32 <= self.months < _I32 and -_I32 <= self.days < _I32
        if not in_range or not -_I64 <= micros < _I64:
            raise _overflow(self.text)
        return Interval(self.months, self.days, micros)


def _split(value: Fraction) -> tuple[int, Fraction]:
    whole = int(value)
    return whole, value - whole


def _round(value: Fraction) -> int:
    return round(value)


class _Reader:
    """Reads the traditional and the SQL standard form."""

    def __init__(self, text: str, default_unit: str) -> None:
        self.text = text
        self.default_unit = default_unit
        self.sum = _Sum(text)
        self.seen = False

    def read(self) -> Interval:
        tokens = self._tokens()
        negated = bool(tokens) and tokens[-1] == ("word", "ago")
        if negated:
            tokens.pop()
        at = 0
        while at < len(tokens):
            kind, value = tokens[at]
            at += 1
            if kind == "time":
                self._time(value)
            elif kind == "years":
                self._years(value)
            elif kind == "number":
                at = self._quantity(value, tokens, at)
            elif value != "@":
                raise syntax_error("interval", self.text)
        if not self.seen:
            raise syntax_error("interval", self.text)
        if negated:
            self.sum.negate()
        return self.sum.interval()

    def _tokens(self) -> list[tuple[str, str]]:
        text, at, tokens = self.text.rstrip(), 0, []
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise syntax_error("interval", self.text)
            tokens.append((found.lastgroup, found[found.lastgroup].lower()))
            at = found.end()
        return tokens

    def _quantity(self, value: str, tokens: list[tuple[str, str]], at: int) -> int:
        self.seen = True
        quantity = Fraction(value)
        if at < len(tokens) and tokens[at][0] == "word" and tokens[at][1] != "@":
            unit = _UNITS.get(tokens[at][1])
            if unit is None:
                raise syntax_error("interval", self.text)
            self.sum.add(quantity, *unit)
            return at + 1
        follows_time = at < len(tokens) and tokens[at][0] == "time"
        self.sum.add(quantity, *_UNITS["day" if follows_time else self.default_unit])
        return at

    def _years(self, value: str) -> None:
        self.seen = True
        negative = value.startswith("-")
        years, months = value.lstrip("+-").split("-")
        if int(months) >= 12:
            raise _overflow(self.text)
        total = int(years) * 12 + int(months)
        self.sum.months += -total if negative else total

    def _time(self, value: str) -> None:
        self.seen = True
        negative = value.startswith("-")
        parts = value.lstrip("+-").split(":")
        if len(parts) == 2 and ("." in parts[1] or self.default_unit == "minute_second"):
            parts.insert(0, "0")
        hours, minutes, seconds = ([*parts, "0", "0"])[:3]
        if int(minutes or 0) > 59 or Fraction(seconds or 0) > 60:
            raise _overflow(self.text)
        total = (
            int(hours) * MICROS_PER_HOUR
            + int(minutes or 0) * MICROS_PER_MINUTE
            + Fraction(seconds.rstrip(".") or 0) * 1_000_000
        )
        self.sum.micros += -total if negative else total


_DATE_UNITS = {"Y": "year", "M": "month", "W": "week", "D": "day"}
_TIME_UNITS = {"H": "hour", "M": "minute", "S": "second"}


def _parse_iso(stripped: str, text: str) -> Interval:
    total = _Sum(text)
    alternative = _ISO_ALTERNATIVE.fullmatch(stripped)
    if alternative is not None:
        units = ("year", "month", "day", "hour", "minute", "second")
        for field, unit in zip(alternative.groups(), units, strict=True):
            if field is not None:
                total.add(Fraction(field), *_UNITS[unit])
        return total.interval()
    date, mark, time = stripped[1:].partition("T")
    if (not date and not time) or (mark and not time):
        raise syntax_error("interval", text)
    for part, units_of in ((date, _DATE_UNITS), (time, _TIME_UNITS)):
        at = 0
        while at < len(part):
            found = _ISO_FIELD.match(part, at)
            if found is None or found[2] not in units_of:
                raise syntax_error("interval", text)
            total.add(Fraction(found[1]), *_UNITS[units_of[found[2]]])
            at = found.end()
    return total.interval()
