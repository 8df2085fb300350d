"""The days a question is about: `from`, `to`, and what they are when they are left out."""

from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import Query

from control.api.problems import Problem
from control.usage import UsageReader

DAYS_MAX = 366
_FIRST_DAY = date(2000, 1, 1)
_LAST_DAY = date(2200, 1, 1)

From = Annotated[
    date | None,
    Query(
        alias="from",
        description="First day, in the time zone of the organisation; default: of this month.",
    ),
]
To = Annotated[
    date | None,
    Query(description="The day after the last; default: after the month of `from`."),
]


async def days_asked(
    usage: UsageReader,
    account: int,
    first: date | None,
    to: date | None,
    *,
    days_max: int = DAYS_MAX,
) -> tuple[date, date]:
    """The days of the question; a Problem where they are none."""
    if first is None:
        first = (await usage.today(account)).replace(day=1)
    if to is None:
        to = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    if not _FIRST_DAY <= first < to <= _LAST_DAY or (to - first).days > days_max:
        detail = f"`to` must be 1 to {days_max} days after `from`"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail)
    return first, to


async def seconds_of(usage: UsageReader, account: int, days: tuple[date, date]) -> tuple[int, int]:
    """When the account's days begin and end."""
    _, calendar = await usage.whose(account)
    return calendar.day_start(days[0]), calendar.day_start(days[1])


def moment_of(second: int) -> datetime:
    """A unix second as answers have it."""
    return datetime.fromtimestamp(second, UTC)
