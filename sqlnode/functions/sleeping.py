"""pg_sleep and its relatives. The other sessions of the pod go on meanwhile; a cancel, or
statement_timeout, wakes who sleeps."""

import asyncio

from sqlnode.bridge import wait
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.datetimes import instant_plus
from sqlnode.functions.family import Family
from sqlnode.types.interval import Interval

FAMILY = Family()
_AT_ONCE_SECONDS = 600.0
"""A longer sleep is several: a timer takes no infinity."""


@FAMILY.function("pg_sleep", waits=True)
def sleep(seconds: float) -> str:
    """pg_sleep(double precision)."""
    while seconds > 0:
        wait(asyncio.sleep(min(seconds, _AT_ONCE_SECONDS)))
        seconds -= _AT_ONCE_SECONDS
    return ""


@FAMILY.function("pg_sleep_for(interval)", needs_context=True, waits=True)
def sleep_for(context: FunctionContext, span: Interval) -> str:
    """pg_sleep_for(interval): a month is as long as this one is."""
    return sleep_until(context, instant_plus(context, context.clock_micros(), span))


@FAMILY.function("pg_sleep_until(timestamptz)", needs_context=True, waits=True)
def sleep_until(context: FunctionContext, instant: int) -> str:
    """pg_sleep_until(timestamptz)."""
    return sleep((instant - context.clock_micros()) / 1e6)
