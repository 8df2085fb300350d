"""Hours, days and months in UTC, as unix seconds."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

HOUR_SECONDS = 3600
DAY_SECONDS = 86_400


class Span(StrEnum):
    """What sums are kept over."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


def start_of(span: Span, second: int) -> int:
    """When the hour, day or month began that `second` is in."""
    if span is Span.MONTH:
        moment = datetime.fromtimestamp(second, UTC)
        return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp())
    return second - second % (HOUR_SECONDS if span is Span.HOUR else DAY_SECONDS)


def next_start(span: Span, start: int) -> int:
    """When the period after the one that begins at `start` begins."""
    if span is Span.MONTH:
        moment = datetime.fromtimestamp(start, UTC) + timedelta(days=32)
        return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp())
    return start + (HOUR_SECONDS if span is Span.HOUR else DAY_SECONDS)


def cut(span: Span, start: int, end: int) -> list[tuple[int, int]]:
    """The seconds from `start` to `end`, by the period they are in: (its start, seconds in it)."""
    pieces = []
    while start < end:
        period = start_of(span, start)
        stop = min(next_start(span, period), end)
        pieces.append((period, stop - start))
        start = stop
    return pieces
