"""Hours, days and months as unix seconds. Hours are UTC's; days and months are a calendar's."""

from enum import StrEnum

from control.months import UTC_CALENDAR, Calendar

HOUR_SECONDS = 3600
DAY_SECONDS = 86_400
"""A day of UTC; those of a calendar may be shorter or longer."""


class Span(StrEnum):
    """What sums are kept over."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


def period_of(span: Span, second: int, calendar: Calendar = UTC_CALENDAR) -> tuple[int, int]:
    """Begin and end of the hour, day or month that `second` is in."""
    match span:
        case Span.MONTH:
            return calendar.month_of(second)
        case Span.DAY:
            return calendar.day_of(second)
    start = second - second % HOUR_SECONDS
    return start, start + HOUR_SECONDS


def start_of(span: Span, second: int, calendar: Calendar = UTC_CALENDAR) -> int:
    """When the hour, day or month began that `second` is in."""
    return period_of(span, second, calendar)[0]


def cut(
    span: Span, start: int, end: int, calendar: Calendar = UTC_CALENDAR
) -> list[tuple[int, int]]:
    """The seconds from `start` to `end`, by the period they are in: (its start, seconds in it)."""
    pieces = []
    while start < end:
        period, following = period_of(span, start, calendar)
        stop = min(following, end)
        pieces.append((period, stop - start))
        start = stop
    return pieces
