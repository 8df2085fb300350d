"""`dormouse.as_of`: the time in the past that a session's transactions read.

A timestamp, or how long ago, counted from when the transaction begins to read:

    SET dormouse.as_of = '2026-01-01 12:00:00+00'        SET dormouse.as_of = '-5 minutes'

The text is kept as it was given, for SHOW; it gets its meaning when a transaction begins to read,
in the time zone and DateStyle the session has then.
"""

from typing import TYPE_CHECKING

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.datetimemath import timestamptz_add
from sqlnode.kv.errors import utc_text
from sqlnode.session.context import EPOCH_MICROS
from sqlnode.session.guc_values import AS_OF, invalid
from sqlnode.types.intervalparse import parse_interval
from sqlnode.types.timestamps import timestamptz_of
from sqlnode.types.zones import zone

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.session.context import SessionContext


def as_of_ns(text: str, context: "SessionContext") -> int:
    """The time a setting stands for, in nanoseconds since 1970, at least 1. Raises SqlError 22023
    where it is none, or lies in the future."""
    now = context.clock_micros()
    try:
        if text.startswith("-") and text != "-infinity":
            micros = timestamptz_add(now, parse_interval(text), zone(context.time_zone))
        else:
            micros = timestamptz_of(text, context)
    except SqlError as error:
        raise invalid(AS_OF, text) from error
    if micros > now:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f'{AS_OF} is in the future: "{text}"')
    return max((micros + EPOCH_MICROS) * 1000, 1)


def check_schema(catalog: "Catalog", time_ns: int) -> None:
    """Raises SqlError 0A000 where the schema has changed since the time that is read: rows of then
    are not told apart by the tables and columns of now."""
    if catalog.version > time_ns:
        raise SqlError(
            sqlstate.FEATURE_NOT_SUPPORTED,
            f"{AS_OF} is before the last change of the schema",
            detail=f"The schema was changed at {utc_text(catalog.version)}.",
            hint=f"Set {AS_OF} to a later time.",
        )
