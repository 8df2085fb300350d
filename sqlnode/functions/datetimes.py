"""Dates, times, timestamps, intervals: operators, casts, now(), construction, series."""

from collections.abc import Callable, Iterator
from datetime import tzinfo
from fractions import Fraction

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions import datetimemath
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.datetimemath import (
    age,
    date_to_timestamp,
    interval_neg,
    make_interval,
    timestamp_add,
    timestamptz_add,
)
from sqlnode.functions.family import Family
from sqlnode.types.calendar import (
    DATE_INFINITY,
    DATE_MINUS_INFINITY,
    EPOCH_MICROS,
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    MICROS_PER_MINUTE,
    MICROS_PER_SECOND,
    TIMESTAMP_INFINITY,
    TIMESTAMP_MINUS_INFINITY,
    days_in_month,
    days_of,
    is_finite_date,
    is_finite_timestamp,
)
from sqlnode.types.dates import today
from sqlnode.types.interval import Interval
from sqlnode.types.times import TimeTz
from sqlnode.types.timestamps import check_range, timestamp_text
from sqlnode.types.zones import (
    abbreviation_at,
    abbreviation_seconds,
    find_zone,
    local_of_utc,
    offset_at,
    offset_of_local,
    utc_of_local,
    zone,
)

FAMILY = Family()

FAMILY.inlines(
    vars(datetimemath) | {"MICROS_PER_DAY": MICROS_PER_DAY, "Interval": Interval},
    {
        "interval_pl": "interval_add({0}, {1})",
        "interval_mi": "interval_sub({0}, {1})",
        "interval_um": "interval_neg({0})",
        "interval_mul": "interval_multiply({0}, {1})",
        "mul_d_interval": "interval_multiply({1}, {0})",
        "interval_div": "interval_divide({0}, {1})",
        "interval_justify_hours": "justify_hours({0})",
        "interval_justify_days": "justify_days({0})",
        "interval_justify_interval": "justify_interval({0})",
        "date_pli": "date_add_days({0}, {1})",
        "integer_pl_date(int4,date)": "date_add_days({1}, {0})",
        "date_mii": "date_add_days({0}, -{1})",
        "date_mi": "date_difference({0}, {1})",
        "date_pl_interval": "timestamp_add(date_to_timestamp({0}), {1})",
        "interval_pl_date(interval,date)": "timestamp_add(date_to_timestamp({1}), {0})",
        "date_mi_interval": "timestamp_add(date_to_timestamp({0}), interval_neg({1}))",
        "timestamp_pl_interval": "timestamp_add({0}, {1})",
        "interval_pl_timestamp(interval,timestamp)": "timestamp_add({1}, {0})",
        "timestamp_mi_interval": "timestamp_add({0}, interval_neg({1}))",
        "timestamp_mi": "timestamp_difference({0}, {1})",
        "time_pl_interval": "(({0} + {1}.micros) % MICROS_PER_DAY)",
        "interval_pl_time(interval,time)": "(({1} + {0}.micros) % MICROS_PER_DAY)",
        "time_mi_interval": "(({0} - {1}.micros) % MICROS_PER_DAY)",
        "time_mi_time": "Interval(0, 0, {0} - {1})",
        "time_interval": "Interval(0, 0, {0})",
        "interval_time": "({0}.micros % MICROS_PER_DAY)",
        "date_timestamp": "date_to_timestamp({0})",
        "timestamp_age": "age({0}, {1})",
    },
)


def _zone(context: FunctionContext) -> tzinfo:
    return zone(context.time_zone)


# --- now ---------------------------------------------------------------------------------------


@FAMILY.function("now", needs_context=True)
def now(context: FunctionContext) -> int:
    """Start of the transaction."""
    return context.now_micros()


@FAMILY.function("statement_timestamp", needs_context=True)
def statement_timestamp(context: FunctionContext) -> int:
    """Start of the statement."""
    return context.statement_micros()


@FAMILY.function("clock_timestamp", needs_context=True)
def clock_timestamp(context: FunctionContext) -> int:
    """The present moment."""
    return context.clock_micros()


@FAMILY.function("timeofday", needs_context=True)
def time_of_day(context: FunctionContext) -> str:
    """The present moment as text."""
    where = _zone(context)
    micros = context.clock_micros()
    local = timestamp_text(local_of_utc(micros, where), "Postgres, MDY")
    head, _, year = local.rpartition(" ")
    return f"{head} {year} {abbreviation_at(micros, where)}"


# --- with the session's zone -------------------------------------------------------------------


@FAMILY.function("timestamptz_pl_interval", needs_context=True)
def instant_plus(context: FunctionContext, value: int, span: Interval) -> int:
    """timestamptz + interval."""
    return timestamptz_add(value, span, _zone(context))


@FAMILY.function("interval_pl_timestamptz(interval,timestamptz)", needs_context=True)
def plus_instant(context: FunctionContext, span: Interval, value: int) -> int:
    """interval + timestamptz."""
    return timestamptz_add(value, span, _zone(context))


@FAMILY.function("timestamptz_mi_interval", needs_context=True)
def instant_minus(context: FunctionContext, value: int, span: Interval) -> int:
    """timestamptz - interval."""
    return timestamptz_add(value, interval_neg(span), _zone(context))


@FAMILY.function("timestamptz_age", needs_context=True)
def age_of_instants(context: FunctionContext, left: int, right: int) -> Interval:
    """age(timestamptz, timestamptz), counted on the local clock."""
    where = _zone(context)
    return age(local_of_utc(left, where), local_of_utc(right, where))


def _midnight(context: FunctionContext) -> int:
    return today(context) * MICROS_PER_DAY


@FAMILY.function("age(timestamp)", needs_context=True)
def age_since(context: FunctionContext, value: int) -> Interval:
    """age(timestamp): since then until midnight today."""
    return age(_midnight(context), value)


@FAMILY.function("age(timestamptz)", needs_context=True)
def age_since_instant(context: FunctionContext, value: int) -> Interval:
    """age(timestamptz): since then until midnight today."""
    return age(_midnight(context), local_of_utc(value, _zone(context)))


@FAMILY.function("timestamp_timestamptz", needs_context=True)
def to_instant(context: FunctionContext, local: int) -> int:
    """timestamp → timestamptz."""
    if not is_finite_timestamp(local):
        return local
    return check_range(utc_of_local(local, _zone(context)))


@FAMILY.function("timestamptz_timestamp", needs_context=True)
def to_local(context: FunctionContext, micros: int) -> int:
    """timestamptz → timestamp."""
    return local_of_utc(micros, _zone(context)) if is_finite_timestamp(micros) else micros


@FAMILY.function("date_timestamptz", needs_context=True)
def date_to_instant(context: FunctionContext, days: int) -> int:
    """date → timestamptz: local midnight."""
    return to_instant(context, date_to_timestamp(days))


@FAMILY.function("timestamptz_date", needs_context=True)
def instant_to_date(context: FunctionContext, micros: int) -> int:
    """timestamptz → date."""
    return timestamp_to_date(to_local(context, micros))


@FAMILY.function("timestamp_date")
def timestamp_to_date(local: int) -> int:
    """timestamp → date."""
    if not is_finite_timestamp(local):
        return DATE_INFINITY if local > 0 else DATE_MINUS_INFINITY
    return local // MICROS_PER_DAY


@FAMILY.function("timestamp_time")
def timestamp_to_time(local: int) -> int | None:
    """timestamp → time; NULL of an infinite one."""
    return local % MICROS_PER_DAY if is_finite_timestamp(local) else None


@FAMILY.function("timestamptz_time", needs_context=True)
def instant_to_time(context: FunctionContext, micros: int) -> int | None:
    """timestamptz → time."""
    return timestamp_to_time(to_local(context, micros))


@FAMILY.function("timestamptz_timetz", needs_context=True)
def instant_to_timetz(context: FunctionContext, micros: int) -> TimeTz | None:
    """timestamptz → timetz."""
    if not is_finite_timestamp(micros):
        return None
    offset = offset_at(micros, _zone(context))
    return TimeTz((micros + offset * MICROS_PER_SECOND) % MICROS_PER_DAY, -offset)


@FAMILY.function("time_timetz", needs_context=True)
def time_to_timetz(context: FunctionContext, clock: int) -> TimeTz:
    """time → timetz at today's offset."""
    offset = offset_of_local(_midnight(context) + clock, _zone(context))
    return TimeTz(clock, -offset)


@FAMILY.function("timetz_time")
def timetz_to_time(value: TimeTz) -> int:
    """timetz → time."""
    return value.micros


@FAMILY.function("timetz_pl_interval")
def timetz_plus(value: TimeTz, span: Interval) -> TimeTz:
    """timetz + interval."""
    return TimeTz((value.micros + span.micros) % MICROS_PER_DAY, value.west)


@FAMILY.function("timetz_mi_interval")
def timetz_minus(value: TimeTz, span: Interval) -> TimeTz:
    """timetz - interval."""
    return TimeTz((value.micros - span.micros) % MICROS_PER_DAY, value.west)


@FAMILY.function("datetime_timestamp")
def date_and_time(days: int, clock: int) -> int:
    """date + time."""
    return date_to_timestamp(days) + clock if is_finite_date(days) else date_to_timestamp(days)


@FAMILY.function("timedate_pl(time,date)")
def time_and_date(clock: int, days: int) -> int:
    """time + date."""
    return date_and_time(days, clock)


@FAMILY.function("datetimetz_timestamptz")
def date_and_timetz(days: int, clock: TimeTz) -> int:
    """date + timetz."""
    if not is_finite_date(days):
        return date_to_timestamp(days)
    return date_to_timestamp(days) + clock.micros + clock.west * MICROS_PER_SECOND


@FAMILY.function("date_finite")
def date_is_finite(days: int) -> bool:
    """isfinite(date)."""
    return is_finite_date(days)


@FAMILY.function("timestamp_finite")
def timestamp_is_finite(micros: int) -> bool:
    """isfinite(timestamp) and of timestamptz."""
    return is_finite_timestamp(micros)


@FAMILY.function("interval_finite")
def interval_is_finite(value: Interval) -> bool:
    """isfinite(interval): PostgreSQL 15 has no infinite ones."""
    return True


# --- AT TIME ZONE ------------------------------------------------------------------------------


def _named_offset(name: str, local: int | None, micros: int | None) -> int:
    """Seconds east of UTC of a zone or abbreviation at a local time or an instant; 22023."""
    seconds = abbreviation_seconds(name)
    if seconds is not None and find_zone(name) is None:
        return seconds
    where = find_zone(name)
    if where is None:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f'time zone "{name}" not recognized')
    if local is not None:
        return offset_of_local(local, where)
    return offset_at(micros or 0, where)


@FAMILY.function("timestamp_zone")
def local_at_zone(name: str, local: int) -> int:
    """timestamp AT TIME ZONE name."""
    if not is_finite_timestamp(local):
        return local
    return check_range(local - _named_offset(name, local, None) * MICROS_PER_SECOND)


@FAMILY.function("timestamptz_zone")
def instant_at_zone(name: str, micros: int) -> int:
    """timestamptz AT TIME ZONE name."""
    if not is_finite_timestamp(micros):
        return micros
    return check_range(micros + _named_offset(name, None, micros) * MICROS_PER_SECOND)


def _interval_offset(span: Interval) -> int:
    if span.months or span.days:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            "interval time zone must not include months or days",
        )
    return span.micros


@FAMILY.function("timestamp_izone")
def local_at_offset(span: Interval, local: int) -> int:
    """timestamp AT TIME ZONE interval."""
    return check_range(local - _interval_offset(span)) if is_finite_timestamp(local) else local


@FAMILY.function("timestamptz_izone")
def instant_at_offset(span: Interval, micros: int) -> int:
    """timestamptz AT TIME ZONE interval."""
    return check_range(micros + _interval_offset(span)) if is_finite_timestamp(micros) else micros


# --- construction ------------------------------------------------------------------------------


@FAMILY.function("make_date")
def make_date(year: int, month: int, day: int) -> int:
    """make_date(); a negative year is BC; 22008."""
    astronomical = year + 1 if year < 0 else year
    if year == 0 or not 1 <= month <= 12 or not 1 <= day <= days_in_month(astronomical, month):
        raise SqlError(
            sqlstate.DATETIME_FIELD_OVERFLOW,
            f"date field value out of range: {astronomical}-{month:02d}-{day:02d}",
        )
    return days_of(astronomical, month, day)


@FAMILY.function("make_time")
def make_time(hour: int, minute: int, second: float) -> int:
    """make_time(); 22008."""
    micros = round(second * MICROS_PER_SECOND)
    total = hour * MICROS_PER_HOUR + minute * MICROS_PER_MINUTE + micros
    fields_fit = 0 <= minute < 60 and 0 <= second <= 60 and hour >= 0
    if not fields_fit or total > MICROS_PER_DAY:
        raise SqlError(
            sqlstate.DATETIME_FIELD_OVERFLOW,
            f"time field value out of range: {hour}:{minute:02d}:{second:02g}",
        )
    return total


@FAMILY.function("make_timestamp")
def make_timestamp(year: int, month: int, day: int, hour: int, minute: int, second: float) -> int:
    """make_timestamp(); 22008."""
    days = make_date(year, month, day)
    return check_range(days * MICROS_PER_DAY + make_time(hour, minute, second))


@FAMILY.function("make_timestamptz", needs_context=True)
def make_instant(
    context: FunctionContext,
    year: int,
    month: int,
    day: int,
    hour: int,
    minute: int,
    second: float,
) -> int:
    """make_timestamptz() in the session's zone."""
    return to_instant(context, make_timestamp(year, month, day, hour, minute, second))


@FAMILY.function("make_interval")
def make_interval_of(
    years: int, months: int, weeks: int, days: int, hours: int, minutes: int, seconds: float
) -> Interval:
    """make_interval(); 22008."""
    micros = round(Fraction(seconds) * MICROS_PER_SECOND)
    micros += hours * MICROS_PER_HOUR + minutes * MICROS_PER_MINUTE
    return make_interval(years * 12 + months, weeks * 7 + days, micros)


@FAMILY.function("float8_timestamptz")
def from_epoch(seconds: float) -> int:
    """to_timestamp(seconds since 1970); 22008."""
    if seconds - seconds != 0.0:
        if seconds != seconds:
            raise SqlError(sqlstate.DATETIME_FIELD_OVERFLOW, "timestamp cannot be NaN")
        return TIMESTAMP_INFINITY if seconds > 0 else TIMESTAMP_MINUS_INFINITY
    micros = round(Fraction(seconds) * MICROS_PER_SECOND)
    try:
        return check_range(micros + EPOCH_MICROS)
    except SqlError:
        raise SqlError(
            sqlstate.DATETIME_FIELD_OVERFLOW, f'timestamp out of range: "{seconds:g}"'
        ) from None


# --- series and overlaps -----------------------------------------------------------------------


def _check_step(step: Interval) -> None:
    if step.span() == 0:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "step size cannot equal zero")


@FAMILY.function("generate_series_timestamp")
def timestamp_series(start: int, stop: int, step: Interval) -> Iterator[int]:
    """generate_series() of timestamps; 22023."""
    _check_step(step)
    return _stepped(start, stop, step, timestamp_add)


def _stepped(
    value: int, stop: int, step: Interval, after: Callable[[int, Interval], int]
) -> Iterator[int]:
    forward = step.span() > 0
    while value <= stop if forward else value >= stop:
        yield value
        value = after(value, step)


@FAMILY.function("generate_series_timestamptz", needs_context=True)
def instant_series(
    context: FunctionContext, start: int, stop: int, step: Interval
) -> Iterator[int]:
    """generate_series() of instants, stepping on the local clock; 22023."""
    _check_step(step)
    where = _zone(context)
    return _stepped(start, stop, step, lambda value, by: timestamptz_add(value, by, where))


@FAMILY.function("overlaps_timestamp", "overlaps_time")
def overlaps(
    start1: int | None, end1: int | None, start2: int | None, end2: int | None
) -> bool | None:
    """(start1, end1) OVERLAPS (start2, end2), with SQL's rules for NULL ends."""
    first, first_end = _ordered(start1, end1)
    second, second_end = _ordered(start2, end2)
    if first is None or second is None:
        return None
    if first == second:
        return True if first_end is not None and second_end is not None else None
    if first > second:
        first, first_end, second, second_end = second, second_end, first, first_end
    if first_end is None:
        return None
    return True if second < first_end else False if second_end is not None else None


def _ordered(start: int | None, end: int | None) -> tuple[int | None, int | None]:
    if start is None:
        return end, None
    if end is not None and start > end:
        return end, start
    return start, end
