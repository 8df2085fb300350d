"""Every codec gives back what it was given, as text and in binary."""

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlnode.types.array import Array
from sqlnode.types.base import Value
from sqlnode.types.calendar import (
    DATE_END,
    DATE_MIN,
    MICROS_PER_DAY,
    TIMESTAMP_END,
    TIMESTAMP_MIN,
    date_of,
    days_of,
)
from sqlnode.types.floats import round_float4
from sqlnode.types.interval import Interval
from sqlnode.types.registry import by_name
from sqlnode.types.times import TimeTz
from tests.support.sqlcontext import StubContext

_I32 = st.integers(-(2**31), 2**31 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_NUMERIC = st.decimals(allow_nan=False, allow_infinity=False, places=6) | st.integers().map(Decimal)
_FLOAT4 = st.floats(width=32).map(round_float4)
STRATEGIES: dict[str, st.SearchStrategy[Value]] = {
    "bool": st.booleans(),
    "int2": st.integers(-(2**15), 2**15 - 1),
    "int4": _I32,
    "int8": st.integers(-(2**63), 2**63 - 1),
    "oid": st.integers(0, 2**32 - 1),
    "text": _TEXT,
    "bytea": st.binary(),
    "float8": st.floats(allow_nan=False),
    "float4": _FLOAT4.filter(lambda value: value == value),
    "numeric": _NUMERIC,
    "date": st.integers(DATE_MIN, DATE_END - 1),
    "time": st.integers(0, MICROS_PER_DAY),
    "timetz": st.builds(TimeTz, st.integers(0, MICROS_PER_DAY - 1), st.integers(-57599, 57599)),
    "timestamp": st.integers(TIMESTAMP_MIN, TIMESTAMP_END - 1),
    "timestamptz": st.integers(TIMESTAMP_MIN + MICROS_PER_DAY, TIMESTAMP_END - MICROS_PER_DAY),
    "uuid": st.uuids(),
    "interval": st.builds(Interval, _I32, _I32, st.integers(-(2**63), 2**63 - 1)),
    "_int4": st.lists(st.none() | _I32).map(Array.of),
    "_text": st.lists(st.none() | _TEXT).map(Array.of),
}


@pytest.mark.parametrize("name", STRATEGIES)
@given(data=st.data())
def test_binary_round_trip(name: str, data: st.DataObject) -> None:
    value = data.draw(STRATEGIES[name])
    sql_type = by_name(name)
    assert sql_type is not None
    assert sql_type.binary_in(sql_type.binary_out(value), -1) == value


@pytest.mark.parametrize("name", STRATEGIES)
@given(data=st.data())
def test_text_round_trip(name: str, data: st.DataObject) -> None:
    value = data.draw(STRATEGIES[name])
    sql_type = by_name(name)
    assert sql_type is not None
    context = StubContext(time_zone="UTC")
    assert sql_type.text_in(sql_type.text_out(value, context), -1, context) == value


@given(st.dates())
def test_calendar_agrees_with_datetime(day: datetime.date) -> None:
    days = (day - datetime.date(2000, 1, 1)).days
    assert days_of(day.year, day.month, day.day) == days
    assert date_of(days) == (day.year, day.month, day.day)
