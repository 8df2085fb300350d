"""Arithmetic of dates, timestamps and intervals (utils/adt/timestamp.c), without a session.

Adding an interval adds its months first (the day is clipped to the month's end), then its days,
then its microseconds. For an instant in a time zone the first two happen on the local clock.
"""

from datetime import tzinfo

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.checks import division_by_zero
from sqlnode.types.calendar import (
    DATE_END,
    DATE_INFINITY,
    DATE_MIN,
    MICROS_PER_DAY,
    TIMESTAMP_END,
    TIMESTAMP_INFINITY,
    TIMESTAMP_MIN,
    TIMESTAMP_MINUS_INFINITY,
    date_of,
    days_in_month,
    days_of,
    is_finite_date,
    is_finite_timestamp,
)
from sqlnode.types.interval import DAYS_PER_MONTH, Interval
from sqlnode.types.zones import local_of_utc, utc_of_local

_I32 = 2**31
_I64 = 2**63


def interval_out_of_range() -> SqlError:
    """22008."""
    return SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "interval out of range")


def timestamp_out_of_range() -> SqlError:
    """22008."""
    return SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "timestamp out of range")


def make_interval(months: int, days: int, micros: int) -> Interval:
    """An interval; 22008 if a field does not fit."""
    in_range = -_I32 <= months < _I32 and -_I32 <= days < _I32 and -_I64 <= micros < _I64
    if not in_range:
        raise interval_out_of_range()
    return Interval(months, days, micros)


def interval_add(left: Interval, right: Interval) -> Interval:
    """`+`."""
    return make_interval(
        left.months + right.months, left.days + right.days, left.micros + right.micros
    )


def interval_sub(left: Interval, right: Interval) -> Interval:
    """`-`."""
    return make_interval(
        left.months - right.months, left.days - right.days, left.micros - right.micros
    )


def interval_neg(value: Interval) -> Interval:
    """Unary minus."""
    return make_interval(-value.months, -value.days, -value.micros)


def interval_multiply(value: Interval, factor: float) -> Interval:
    """`*`: fractions of months go to days, those of days to the clock."""
    if factor - factor != 0.0:
        raise interval_out_of_range()
    return _assembled(value.months * factor, value.days * factor, value.micros * factor)


def interval_divide(value: Interval, divisor: float) -> Interval:
    """`/`; 22012."""
    if divisor == 0:
        raise division_by_zero()
    if divisor != divisor:
        raise interval_out_of_range()
    return _assembled(value.months / divisor, value.days / divisor, value.micros / divisor)


def _assembled(months_exact: float, days_exact: float, micros_exact: float) -> Interval:
    if any(part - part != 0.0 for part in (months_exact, days_exact, micros_exact)):
        raise interval_out_of_range()
    # In doubles, rounding what spills over to microseconds as it goes, as PostgreSQL does.
    months, days = int(months_exact), int(days_exact)
    spilled_days = _rounded((months_exact - months) * DAYS_PER_MONTH)
    seconds = _rounded((days_exact - days + spilled_days - int(spilled_days)) * 86400)
    if abs(seconds) >= 86400:
        days += int(seconds / 86400)
        seconds -= int(seconds / 86400) * 86400
    days += int(spilled_days)
    return make_interval(months, days, round(micros_exact + seconds * 1_000_000))


def _rounded(value: float) -> float:
    return round(value * 1_000_000) / 1_000_000


def justify_hours(value: Interval) -> Interval:
    """Whole days out of the clock."""
    extra, micros = _truncating_divmod(value.micros, MICROS_PER_DAY)
    days = value.days + extra
    if days > 0 and micros < 0:
        days, micros = days - 1, micros + MICROS_PER_DAY
    elif days < 0 and micros > 0:
        days, micros = days + 1, micros - MICROS_PER_DAY
    return make_interval(value.months, days, micros)


def justify_days(value: Interval) -> Interval:
    """Whole months of 30 days out of the days."""
    extra, days = _truncating_divmod(value.days, DAYS_PER_MONTH)
    months = value.months + extra
    if months > 0 and days < 0:
        months, days = months - 1, days + DAYS_PER_MONTH
    elif months < 0 and days > 0:
        months, days = months + 1, days - DAYS_PER_MONTH
    return make_interval(months, days, value.micros)


def justify_interval(value: Interval) -> Interval:
    """Both, with all fields of one sign."""
    extra, micros = _truncating_divmod(value.micros, MICROS_PER_DAY)
    more, days = _truncating_divmod(value.days + extra, DAYS_PER_MONTH)
    months = value.months + more
    if months > 0 and (days < 0 or (days == 0 and micros < 0)):
        months, days = months - 1, days + DAYS_PER_MONTH
    elif months < 0 and (days > 0 or (days == 0 and micros > 0)):
        months, days = months + 1, days - DAYS_PER_MONTH
    if days > 0 and micros < 0:
        days, micros = days - 1, micros + MICROS_PER_DAY
    elif days < 0 and micros > 0:
        days, micros = days + 1, micros - MICROS_PER_DAY
    return make_interval(months, days, micros)


def _truncating_divmod(value: int, unit: int) -> tuple[int, int]:
    whole = abs(value) // unit
    whole = -whole if value < 0 else whole
    return whole, value - whole * unit


def _add_months(days: int, months: int) -> int:
    year, month, day = date_of(days)
    total = year * 12 + month - 1 + months
    year, month = total // 12, total % 12 + 1
    return days_of(year, month, min(day, days_in_month(year, month)))


def _check_timestamp(micros: int) -> int:
    if not TIMESTAMP_MIN <= micros < TIMESTAMP_END:
        raise timestamp_out_of_range()
    return micros


def timestamp_add(value: int, span: Interval) -> int:
    """timestamp + interval; 22008."""
    if not is_finite_timestamp(value):
        return value
    if span.months or span.days:
        days, clock = divmod(value, MICROS_PER_DAY)
        if span.months:
            days = _add_months(days, span.months)
        value = _check_timestamp((days + span.days) * MICROS_PER_DAY + clock)
    return _check_timestamp(value + span.micros)


def timestamptz_add(value: int, span: Interval, where: tzinfo) -> int:
    """timestamptz + interval on the clock of a zone; 22008."""
    if not is_finite_timestamp(value):
        return value
    if span.months or span.days:
        local = local_of_utc(value, where)
        moved = timestamp_add(local, Interval(span.months, span.days, 0))
        value = utc_of_local(moved, where)
    return _check_timestamp(value + span.micros)


def timestamp_difference(left: int, right: int) -> Interval:
    """timestamp - timestamp: days and a clock, never months; 22008 for infinities."""
    if not (is_finite_timestamp(left) and is_finite_timestamp(right)):
        raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps")
    return justify_hours(Interval(0, 0, left - right))


def date_add_days(days: int, count: int) -> int:
    """date + integer; 22008."""
    if not is_finite_date(days):
        return days
    moved = days + count
    if not DATE_MIN <= moved < DATE_END:
        raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "date out of range")
    return moved


def date_difference(left: int, right: int) -> int:
    """date - date in days; 22008 for infinities."""
    if not (is_finite_date(left) and is_finite_date(right)):
        raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "cannot subtract infinite dates")
    return left - right


def date_to_timestamp(days: int) -> int:
    """Midnight; 22008."""
    if not is_finite_date(days):
        return TIMESTAMP_INFINITY if days == DATE_INFINITY else TIMESTAMP_MINUS_INFINITY
    micros = days * MICROS_PER_DAY
    if micros >= TIMESTAMP_END:
        raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")
    return micros


def age(left: int, right: int) -> Interval:
    """The difference in years, months, days and a clock, as people count it."""
    if not (is_finite_timestamp(left) and is_finite_timestamp(right)):
        raise timestamp_out_of_range()
    sign = -1 if left < right else 1
    later, earlier = (left, right) if sign > 0 else (right, left)
    later_days, later_clock = divmod(later, MICROS_PER_DAY)
    earlier_days, earlier_clock = divmod(earlier, MICROS_PER_DAY)
    year1, month1, day1 = date_of(later_days)
    year2, month2, day2 = date_of(earlier_days)
    months = (year1 - year2) * 12 + month1 - month2
    days = day1 - day2
    micros = later_clock - earlier_clock
    if micros < 0:
        micros += MICROS_PER_DAY
        days -= 1
    if days < 0:
        # A borrowed month is as long as the one the earlier date lies in.
        days += days_in_month(year2, month2)
        months -= 1
    return Interval(sign * months, sign * days, sign * micros)
