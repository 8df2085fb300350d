"""to_char of dates, times and intervals; to_timestamp and to_date of text."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.family import Family
from sqlnode.functions.templates import Field, ordinal_suffix, split_template
from sqlnode.types.calendar import (
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    MICROS_PER_MINUTE,
    MICROS_PER_SECOND,
    date_of,
    day_of_year,
    days_in_month,
    days_of,
    is_finite_timestamp,
    iso_week,
    iso_week_start,
    weekday,
)
from sqlnode.types.dateparse import MONTHS, WEEKDAYS
from sqlnode.types.interval import Interval
from sqlnode.types.zones import (
    abbreviation_at,
    offset_at,
    utc_of_local,
    zone,
)

FAMILY = Family()
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")


@dataclass(frozen=True, slots=True)
class Moment:
    """A local time taken apart for printing."""

    year: int
    month: int
    day: int
    days: int
    micros: int
    offset: int = 0
    abbreviation: str = ""
    is_interval: bool = False

    @property
    def hour(self) -> int:
        """Of the day (or of the interval, which may exceed 23)."""
        return _part(self.micros, MICROS_PER_HOUR)

    def clock(self, unit: int, modulus: int) -> int:
        """How many whole units of the clock, modulo, with the sign of the time."""
        size = abs(self.micros) // unit % modulus
        return -size if self.micros < 0 else size

    @property
    def shown_year(self) -> int:
        """Without sign; the era says BC."""
        return self.year if self.year > 0 or self.is_interval else 1 - self.year


def _part(value: int, unit: int) -> int:
    return -(-value // unit) if value < 0 else value // unit


def _cased(word: str, written: str) -> str:
    if written.isupper():
        return word.upper()
    return word.title() if written[0].isupper() else word.lower()


def _pm(moment: Moment) -> str:
    return "pm" if abs(moment.hour) % 24 >= 12 else "am"


def _twelve(hour: int) -> int:
    return hour % 12 or 12


_NUMBERS: dict[str, tuple[int, Callable[[Moment], int]]] = {
    "HH": (2, lambda m: _twelve(m.hour)),
    "HH12": (2, lambda m: _twelve(m.hour)),
    "HH24": (2, lambda m: m.hour),
    "MI": (2, lambda m: m.clock(MICROS_PER_MINUTE, 60)),
    "SS": (2, lambda m: m.clock(MICROS_PER_SECOND, 60)),
    "SSSS": (1, lambda m: m.micros // MICROS_PER_SECOND),
    "SSSSS": (1, lambda m: m.micros // MICROS_PER_SECOND),
    "MS": (3, lambda m: m.clock(1000, 1000)),
    "US": (6, lambda m: m.clock(1, MICROS_PER_SECOND)),
    "YYYY": (4, lambda m: m.shown_year),
    "YYY": (3, lambda m: m.shown_year % 1000),
    "YY": (2, lambda m: m.shown_year % 100),
    "Y": (1, lambda m: m.shown_year % 10),
    "IYYY": (4, lambda m: iso_week(m.days)[0]),
    "IYY": (3, lambda m: iso_week(m.days)[0] % 1000),
    "IY": (2, lambda m: iso_week(m.days)[0] % 100),
    "I": (1, lambda m: iso_week(m.days)[0] % 10),
    "MM": (2, lambda m: m.month),
    "DD": (2, lambda m: m.day),
    "DDD": (3, lambda m: day_of_year(m.days)),
    "IDDD": (3, lambda m: m.days - iso_week_start(iso_week(m.days)[0], 1) + 1),
    "D": (1, lambda m: weekday(m.days) + 1),
    "ID": (1, lambda m: weekday(m.days) or 7),
    "IW": (2, lambda m: iso_week(m.days)[1]),
    "WW": (2, lambda m: (day_of_year(m.days) - 1) // 7 + 1),
    "W": (1, lambda m: (m.day - 1) // 7 + 1),
    "Q": (1, lambda m: (m.month - 1) // 3 + 1),
    "J": (1, lambda m: m.days + 2451545),
    "CC": (2, lambda m: (m.year + 99) // 100 if m.year > 0 else -((100 - m.year) // 100)),
}


def _shown(field: Field, moment: Moment) -> str:
    number = _NUMBERS.get(field.name)
    if number is not None:
        width, compute = number
        value = compute(moment)
        # The sign of a fraction of a second counts as one of its digits; elsewhere it comes on top.
        padded = width + (value < 0 and field.name not in {"MS", "US"})
        text = f"{value:0{padded}d}" if field.fill else str(value)
        if field.ordinal:
            suffix = ordinal_suffix(abs(value))
            text += suffix.upper() if field.ordinal[0].isupper() else suffix
        return text
    return _shown_word(field, moment)


def _shown_word(field: Field, moment: Moment) -> str:
    name = field.name
    if name.startswith("FF"):
        return f"{moment.micros % MICROS_PER_SECOND:06d}"[: int(name[2])]
    if name == "Y,YYY":
        return f"{moment.shown_year // 1000},{moment.shown_year % 1000:03d}"
    if name in {"MONTH", "MON"}:
        word = MONTHS[moment.month - 1]
        word = _cased(word[:3] if name == "MON" else word, field.written)
        return word.ljust(9) if field.fill and name == "MONTH" else word
    if name in {"DAY", "DY"}:
        word = WEEKDAYS[weekday(moment.days)]
        word = _cased(word[:3] if name == "DY" else word, field.written)
        return word.ljust(9) if field.fill and name == "DAY" else word
    if name in {"AM", "PM", "A.M.", "P.M."}:
        half = _pm(moment)
        half = f"{half[0]}.{half[1]}." if "." in name else half
        return half.upper() if field.written.isupper() else half
    if name in {"AD", "BC", "A.D.", "B.C."}:
        era = "ad" if moment.year > 0 else "bc"
        era = f"{era[0]}.{era[1]}." if "." in name else era
        return era.upper() if field.written.isupper() else era
    if name == "RM":
        roman = _ROMAN[moment.month - 1]
        roman = roman if field.written.isupper() else roman.lower()
        return roman.ljust(4) if field.fill else roman
    return _shown_zone(field, moment)


def _shown_zone(field: Field, moment: Moment) -> str:
    size = abs(moment.offset)
    sign = "-" if moment.offset < 0 else "+"
    if field.name == "TZ":
        return moment.abbreviation if field.written.isupper() else moment.abbreviation.lower()
    if field.name == "TZH":
        return f"{sign}{size // 3600:02d}"
    if field.name == "TZM":
        return f"{size % 3600 // 60:02d}"
    minutes = size % 3600 // 60
    return f"{sign}{size // 3600:02d}" + (f":{minutes:02d}" if minutes else "")


def _format(moment: Moment, template: str) -> str:
    parts = split_template(template)
    return "".join(part if isinstance(part, str) else _shown(part, moment) for part in parts)


def _moment(local: int, *, offset: int = 0, abbreviation: str = "") -> Moment:
    days, micros = divmod(local, MICROS_PER_DAY)
    return Moment(*date_of(days), days, micros, offset, abbreviation)


@FAMILY.function("timestamp_to_char")
def timestamp_to_char(local: int, template: str) -> str | None:
    """to_char(timestamp, template); NULL of an infinite one."""
    if not is_finite_timestamp(local) or not template:
        return None
    return _format(_moment(local), template)


@FAMILY.function("timestamptz_to_char", needs_context=True)
def instant_to_char(context: FunctionContext, micros: int, template: str) -> str | None:
    """to_char(timestamptz, template) on the session's clock."""
    if not is_finite_timestamp(micros) or not template:
        return None
    where = zone(context.time_zone)
    offset = offset_at(micros, where)
    shown = _moment(
        micros + offset * MICROS_PER_SECOND,
        offset=offset,
        abbreviation=abbreviation_at(micros, where),
    )
    return _format(shown, template)


_NOT_OF_INTERVALS = {
    "AD", "BC", "A.D.", "B.C.", "MONTH", "MON", "DAY", "DY", "D", "ID", "TZ", "TZH", "TZM", "OF",
}  # fmt: skip


@FAMILY.function("interval_to_char")
def interval_to_char(value: Interval, template: str) -> str | None:
    """to_char(interval, template)."""
    if not template:
        return None
    if any(isinstance(p, Field) and p.name in _NOT_OF_INTERVALS for p in split_template(template)):
        raise SqlError(
            sqlstate.INVALID_DATETIME_FORMAT,
            "invalid format specification for an interval value",
            hint="Intervals are not tied to specific calendar dates.",
        )
    months = value.months % 12 if value.months >= 0 else -(-value.months % 12)
    years = (value.months - months) // 12
    days = value.months * 30 + value.days
    return _format(
        Moment(years, months, value.days, days, value.micros, is_interval=True), template
    )


# --- reading -----------------------------------------------------------------------------------


class _Reading:
    """Reads one text by a template; 22007, 22008."""

    def __init__(self, text: str, template: str) -> None:
        self.text = text
        self.at = 0
        self.parts = split_template(template)
        self.found: dict[str, int] = {}
        self.micros = 0

    def read(self) -> None:
        for place, part in enumerate(self.parts):
            if isinstance(part, str):
                following = self.parts[place + 1] if place + 1 < len(self.parts) else ""
                self._literal(part, keep="+-" if _is_zone(following) else "")
            else:
                self._field(part, adjacent=self._is_adjacent(place))

    def _is_adjacent(self, place: int) -> bool:
        following = self.parts[place + 1] if place + 1 < len(self.parts) else ""
        return isinstance(following, Field) and following.name in _DIGITS

    def _literal(self, literal: str, *, keep: str) -> None:
        for character in literal:
            if self.at >= len(self.text):
                return
            if character.isspace() or not character.isalnum():
                current = self.text[self.at]
                separator = not current.isalnum() and current not in keep
                if separator or current == character:
                    self.at += 1
            else:
                self.at += 1

    def _field(self, field: Field, *, adjacent: bool) -> None:
        name = field.name
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        if name in {"MONTH", "MON"}:
            self.found["MM"] = self._word(MONTHS, name == "MON", field) + 1
        elif name in {"DAY", "DY"}:
            self._word(WEEKDAYS, name == "DY", field)
        elif name in {"AM", "PM", "A.M.", "P.M."}:
            self.found["PM"] = int(self._take(4 if "." in name else 2)[:1].lower() == "p")
        elif name in {"AD", "BC", "A.D.", "B.C."}:
            self.found["BC"] = int(self._take(4 if "." in name else 2)[:1].lower() == "b")
        elif name == "TZH":
            self._zone_hours()
        elif name in _DIGITS:
            self._number(field, adjacent=adjacent)
            if field.ordinal:
                self.at += 2

    def _take(self, count: int) -> str:
        taken = self.text[self.at : self.at + count]
        self.at += count
        return taken

    def _word(self, words: tuple[str, ...], short: bool, field: Field) -> int:
        rest = self.text[self.at :].lower()
        for number, word in enumerate(words):
            wanted = word[:3] if short else word
            if rest.startswith(wanted):
                self.at += len(wanted)
                return number
        shown = self.text[self.at :].split(" ")[0]
        raise SqlError(
            sqlstate.INVALID_DATETIME_FORMAT,
            f'invalid value "{shown}" for "{field.written}"',
            detail="The given value did not match any of the allowed values for this field.",
        )

    def _zone_hours(self) -> None:
        sign = -1 if self.text[self.at : self.at + 1] == "-" else 1
        if self.text[self.at : self.at + 1] in {"+", "-"}:
            self.at += 1
        digits = self._digits(2)
        self.found["TZSIGN"] = sign
        self.found["TZH"] = int(digits or 0)

    def _digits(self, width: int) -> str:
        end = self.at
        while end < len(self.text) and end - self.at < width and self.text[end].isdigit():
            end += 1
        digits = self.text[self.at : end]
        self.at = end
        return digits

    def _number(self, field: Field, *, adjacent: bool) -> None:
        name = field.name
        width = _DIGITS[name]
        fraction = name in {"MS", "US"} or name.startswith("FF")
        limit = width if adjacent or not field.fill or fraction or name != "YYYY" else 9
        digits = self._digits(limit)
        if not digits:
            if self.at >= len(self.text):
                return
            shown = self.text[self.at : self.at + width]
            raise SqlError(
                sqlstate.INVALID_DATETIME_FORMAT,
                f'invalid value "{shown}" for "{field.written}"',
                detail="Value must be an integer.",
            )
        if fraction:
            self.found["US"] = int(digits.ljust(6, "0")[:6])
        elif name in {"YYY", "YY", "Y"}:
            self.found["YYYY"] = _full_year(int(digits), len(digits))
        else:
            self.found["HH12" if name == "HH" else name] = int(digits)


def _is_zone(part: Field | str) -> bool:
    return isinstance(part, Field) and part.name == "TZH"


def _full_year(number: int, digits: int) -> int:
    if digits > 2:
        return number + (1000 if number >= 520 else 2000) if digits == 3 else number
    return number + (2000 if number < 70 else 1900)


_DIGITS = {
    "HH": 2, "HH12": 2, "HH24": 2, "MI": 2, "SS": 2, "SSSS": 5, "SSSSS": 5, "MS": 3, "US": 6,
    "YYYY": 4, "YYY": 3, "YY": 2, "Y": 1, "MM": 2, "DD": 2, "DDD": 3, "J": 7, "D": 1, "ID": 1,
    "IW": 2, "IYYY": 4, "WW": 2, "W": 1, "Q": 1, "CC": 2, "TZM": 2,
    "FF1": 1, "FF2": 2, "FF3": 3, "FF4": 4, "FF5": 5, "FF6": 6,
}  # fmt: skip


def _out_of_range(text: str) -> SqlError:
    return SqlError(
        sqlstate.DATETIME_FIELD_OVERFLOW, f'date/time field value out of range: "{text}"'
    )


def _days(found: dict[str, int], text: str) -> int:
    if "J" in found:
        return found["J"] - 2451545
    if "IYYY" in found:
        return iso_week_start(found["IYYY"], found.get("IW", 1)) + found.get("ID", 1) - 1
    year = found.get("YYYY", 0)
    year = 1 - year if found.get("BC") and year else year if "YYYY" in found else 0
    if "DDD" in found and "MM" not in found:
        return days_of(year, 1, 1) + found["DDD"] - 1
    month, day = found.get("MM", 1), found.get("DD", 1)
    if not 1 <= month <= 12 or not 1 <= day <= days_in_month(year, month):
        raise _out_of_range(text)
    return days_of(year, month, day)


def _clock(found: dict[str, int], text: str) -> int:
    if "SSSSS" in found or "SSSS" in found:
        return (found.get("SSSSS") or found.get("SSSS") or 0) * MICROS_PER_SECOND
    hour = found.get("HH24", found.get("HH12", 0))
    if "HH12" in found:
        if not 1 <= hour <= 12:
            raise SqlError(
                sqlstate.INVALID_DATETIME_FORMAT,
                f'hour "{hour}" is invalid for the 12-hour clock',
                hint="Use the 24-hour clock, or give an hour between 1 and 12.",
            )
        if "PM" in found:
            hour = hour % 12 + 12 * found["PM"]
    minute, second = found.get("MI", 0), found.get("SS", 0)
    if hour > 23 or minute > 59 or second > 59:
        raise _out_of_range(text)
    return (
        hour * MICROS_PER_HOUR
        + minute * MICROS_PER_MINUTE
        + second * MICROS_PER_SECOND
        + found.get("US", 0)
    )


@FAMILY.function("to_timestamp", needs_context=True)
def to_timestamp(context: FunctionContext, text: str, template: str) -> int:
    """to_timestamp(text, template); 22007, 22008."""
    reading = _Reading(text, template)
    reading.read()
    found = reading.found
    local = _days(found, text) * MICROS_PER_DAY + _clock(found, text)
    if "TZH" in found:
        east = found["TZSIGN"] * (found["TZH"] * 3600 + found.get("TZM", 0) * 60)
        return local - east * MICROS_PER_SECOND
    return utc_of_local(local, zone(context.time_zone))


@FAMILY.function("to_date")
def to_date(text: str, template: str) -> int:
    """to_date(text, template); 22007, 22008."""
    reading = _Reading(text, template)
    reading.read()
    return _days(reading.found, text)
