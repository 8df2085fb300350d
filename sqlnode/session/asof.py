"""`dormouse.as_of`: the time in the past that a session's transactions read.

A timestamp, or how long ago, counted from when the transaction begins to read:

    SET dormouse.as_of = '2026-01-01 12:00:00+00'        SET dormouse.as_of = '5 minutes ago'

`'-5 minutes'` is the same. The text is kept as it was given, for SHOW; it gets its meaning when a
transaction begins to read, in the time zone and DateStyle the session has then. That is before its
first statement is planned: the plan is for the tables, columns and indexes of then, also those that
are dropped by now.
"""

from typing import TYPE_CHECKING

from dormouse.base.ids import TenantId
from sqlnode import sqlstate
from sqlnode.catalog import store
from sqlnode.errors import SqlError
from sqlnode.functions.datetimemath import timestamptz_add
from sqlnode.kv.usage import system_work
from sqlnode.session.context import EPOCH_MICROS
from sqlnode.session.guc_values import AS_OF, invalid, is_how_long_ago
from sqlnode.types.intervalparse import parse_interval
from sqlnode.types.timestamps import timestamptz_of
from sqlnode.types.zones import zone

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.kv.transaction import KvTransaction
    from sqlnode.session.context import SessionContext


def as_of_ns(text: str, context: "SessionContext") -> int:
    """The time a setting stands for, in nanoseconds since 1970, at least 1. Raises SqlError 22023
    where it is none, or lies in the future."""
    now = context.clock_micros()
    try:
        if is_how_long_ago(text):
            micros = timestamptz_add(now, parse_interval(text), zone(context.time_zone))
        else:
            micros = timestamptz_of(text, context)
    except SqlError as error:
        raise invalid(AS_OF, text) from error
    if micros > now:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f'{AS_OF} is in the future: "{text}"')
    return max((micros + EPOCH_MICROS) * 1000, 1)


async def catalog_of_past(transaction: "KvTransaction", now: "Catalog") -> "Catalog":
    """Take the snapshot of a transaction that reads the past, and the catalog of then; `now`: the
    newest, which it is where nothing has changed since. Raises SqlError."""
    snapshot = await transaction.look()
    if now.version <= snapshot:
        return now
    with system_work():
        return await store.read_at(transaction, TenantId(now.tenant), like=now)
