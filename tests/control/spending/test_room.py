"""What a limit leaves: a limit in money is never passed by the units it is said to buy."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.amounts import Amounts
from control.months import UTC_CALENDAR, month_number
from control.prices import PriceBook, Version
from control.rollups import Used
from control.spending.limits import Limit, Policy, Scope, in_words
from control.spending.room import DUST, position_of, stand_of
from control.usage import Month
from dormouse.base.units import MICRO

_NUMBER = month_number(date(2026, 3, 1))
_START = UTC_CALENDAR.border(_NUMBER)
_ROUNDING_MICROS = 5
"""Lines of a bill, each rounded to a millionth."""


def _month(own: Used, others: Used) -> Month:
    return Month(_NUMBER, UTC_CALENDAR, 1, {_START: own}, -1, {_START: own + others}, 1)


def _version(**prices: Any) -> Version:
    return Version(effective_from=date(1970, 1, 1), **prices)


def _spent(micro_units: int, egress_share: int) -> Used:
    """Units of which a part, in percent, went to clients; the rest to CPU."""
    egress = micro_units * egress_share // 100
    amounts = Amounts(
        egress_bytes=(egress << 20) // (1024 * MICRO),
        sql_cpu_micros=(micro_units - egress) * 3000 // MICRO,
    )
    return Used(amounts)


_AMOUNTS = st.integers(0, 10**6).map(lambda units: units * MICRO)
_SHARES = st.integers(0, 100)


@given(
    price=st.integers(0, 10**6),
    egress=st.integers(0, 10**9),
    free=st.integers(0, 10**6),
    own=_AMOUNTS,
    others=_AMOUNTS,
    cents=st.integers(0, 1000),
    shares=st.tuples(_SHARES, _SHARES),
)
def test_the_units_that_are_left_cost_no_more_than_what_is_left(
    price: int,
    egress: int,
    free: int,
    own: int,
    others: int,
    cents: int,
    shares: tuple[int, int],
) -> None:
    version = _version(per_million_units=price, per_thousand_egress_gib=egress, free_units=free)
    book = PriceBook(versions=(version,))
    before, beside = _spent(own, shares[0]), _spent(others, 0)
    stand = stand_of(position_of(_month(before, beside), book, _START), Limit(monthly_cents=cents))
    assert stand is not None
    room = min(stand.room, 10**15)
    if room <= 0:
        return
    for share in (0, 100, shares[1]):
        after = _month(before + _spent(room, share), beside)
        assert after.cost(book).total <= cents * 10_000 + _ROUNDING_MICROS


@given(price=st.integers(1000, 10**6), free=st.integers(0, 1000), cents=st.integers(1, 1000))
def test_an_organisation_may_use_all_that_its_limit_buys(price: int, free: int, cents: int) -> None:
    book = PriceBook(versions=(_version(per_million_units=price, free_units=free),))
    month = replace(_month(Used(), Used()), account=-1)
    stand = stand_of(position_of(month, book, _START), Limit(monthly_cents=cents))
    assert stand is not None
    more = Used(Amounts(write_batches=stand.room // MICRO + 2 * MICRO // price))
    assert _month(more, Used()).cost(book).total > cents * 10_000


def test_a_cent_beyond_the_allowance() -> None:
    """50,000 units at $0.20 a million, after 1,000 that are free."""
    book = PriceBook(versions=(_version(free_units=1000),))
    stand = stand_of(position_of(_month(Used(), Used()), book, _START), Limit(monthly_cents=1))
    assert stand is not None
    assert (stand.room, stand.by_money) == (51_000 * MICRO, True)


def test_time_that_pods_are_there_reaches_a_limit_in_money() -> None:
    book = PriceBook(versions=(_version(basis="pod_seconds", per_thousand_pod_seconds=11_000),))
    limit = Limit(monthly_cents=1)
    for seconds, is_reached in ((900, False), (910, True)):
        month = _month(Used(Amounts(pod_millis=seconds * 1000)), Used())
        stand = stand_of(position_of(month, book, _START), limit)
        assert stand is not None
        assert stand.is_reached == is_reached


@pytest.mark.parametrize(
    ("used", "percent", "permille"),
    [(0, 0, 0), (499, 0, 499), (500, 50, 500), (899, 75, 899), (999, 90, 999), (1000, 100, 1000)],
)
def test_percentages_are_rounded_down(used: int, percent: int, permille: int) -> None:
    month = _month(Used(Amounts(write_batches=used)), Used())
    stand = stand_of(position_of(month, PriceBook(), _START), Limit(monthly_units=1000))
    assert stand is not None
    assert (stand.percent, stand.permille) == (percent, permille)
    assert stand.is_reached == (stand.room < DUST)


def test_of_two_amounts_the_one_that_is_reached_first_counts() -> None:
    book = PriceBook(versions=(_version(free_units=0),))
    month = _month(Used(Amounts(write_batches=100)), Used())
    position = position_of(month, book, _START)
    both = stand_of(position, Limit(monthly_units=100, monthly_cents=1000))
    assert both is not None
    assert (both.is_reached, both.by_money, both.is_held) == (True, False, True)
    told = stand_of(position, Limit(monthly_units=100, policy=Policy.NOTIFY))
    assert told is not None
    assert (told.percent, told.is_held) == (100, False)
    assert stand_of(position, Limit()) is None


def test_limits_in_words() -> None:
    tenant, organisation = Scope.TENANT, Scope.ORGANISATION
    assert in_words(units=50_000, scope=tenant, currency="EUR") == "50000 request units a month"
    assert in_words(cents=5, scope=tenant, currency="USD") == "$0.05 a month"
    words = in_words(cents=2000, scope=organisation, currency="EUR")
    assert words == "the organisation's 20.00 EUR a month"
