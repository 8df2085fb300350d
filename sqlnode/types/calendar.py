"""The proleptic Gregorian calendar on PostgreSQL's day and microsecond counts.

Days count from 2000-01-01. Years are astronomical (0 is 1 BC). Python's datetime ends at the years
1 and 9999; PostgreSQL's calendar runs from 4713 BC to 5874897 AD, so the arithmetic is done here.
"""

from functools import lru_cache

MICROS_PER_SECOND = 1_000_000
MICROS_PER_MINUTE = 60 * MICROS_PER_SECOND
MICROS_PER_HOUR = 60 * MICROS_PER_MINUTE
MICROS_PER_DAY = 24 * MICROS_PER_HOUR

DATE_INFINITY = 2**31 - 1
DATE_MINUS_INFINITY = -(2**31)
DATE_MIN = -2451545  # 4713-11-24 BC, the start of Julian days
DATE_END = 2145031949  # the day after 5874897-12-31
TIMESTAMP_INFINITY = 2**63 - 1
TIMESTAMP_MINUS_INFINITY = -(2**63)
TIMESTAMP_MIN = -211813488000000000
TIMESTAMP_END = 9223371331200000000  # 294277-01-01

EPOCH_DAYS = -10957
"""1970-01-01."""
EPOCH_MICROS = EPOCH_DAYS * MICROS_PER_DAY

_CIVIL_SHIFT = 730425  # days from 0000-03-01 to 2000-01-01
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def days_of(year: int, month: int, day: int) -> int:
    """The day count of a date (Howard Hinnant, chrono-compatible low-level date algorithms)."""
    shifted = year - (month <= 2)
    era, year_of_era = divmod(shifted, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146097 + day_of_era - _CIVIL_SHIFT


@lru_cache(maxsize=4096)
def date_of(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a day count."""
    era, day_of_era = divmod(days + _CIVIL_SHIFT, 146097)
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_shifted + 2) // 5 + 1
    month = month_shifted + (3 if month_shifted < 10 else -9)
    return year_of_era + era * 400 + (month <= 2), month, day


def is_leap(year: int) -> bool:
    """Whether the astronomical year has a 29 February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """Length of a month."""
    return 29 if month == 2 and is_leap(year) else _MONTH_DAYS[month - 1]


def weekday(days: int) -> int:
    """0 is Sunday."""
    return (days + 6) % 7


def day_of_year(days: int) -> int:
    """1 is 1 January."""
    return days - days_of(date_of(days)[0], 1, 1) + 1


def iso_week(days: int) -> tuple[int, int]:
    """(ISO year, ISO week) of a day."""
    thursday = days - (weekday(days) + 6) % 7 + 3
    year = date_of(thursday)[0]
    return year, (thursday - days_of(year, 1, 1)) // 7 + 1


def iso_week_start(year: int, week: int) -> int:
    """The Monday of an ISO week."""
    fourth = days_of(year, 1, 4)
    return fourth - (weekday(fourth) + 6) % 7 + 7 * (week - 1)


def is_finite_date(days: int) -> bool:
    """Neither -infinity nor infinity."""
    return DATE_MINUS_INFINITY < days < DATE_INFINITY


def is_finite_timestamp(micros: int) -> bool:
    """Neither -infinity nor infinity."""
    return TIMESTAMP_MINUS_INFINITY < micros < TIMESTAMP_INFINITY
