"""Lines add up to the organisation's use and cost, whatever was used and however it came."""

from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.amounts import AMOUNT_NAMES, Amounts
from control.invoices.lines import CAUSES, Kind, apportion
from control.invoices.money import Payable, exact_text
from control.invoices.sections import Billed, Part, Section, charge_month
from control.months import UTC_CALENDAR, month_number
from control.prices import Cost, Measured, Piece, PriceBook, Version, cost_of_month
from control.rollups import Used
from dormouse.base.units import units_of

_MONTH = month_number(date(2026, 3, 1))
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy."""


def _version(day: date, **changes: Any) -> Version:
    prices = {
        "per_million_units": 777_777_777,
        "per_thousand_gib_hours": 987_654_321,
        "per_thousand_egress_gib": 55_555_555_555,
        "free_units": 3,
        "free_gib_hours": 1,
    }
    return Version(effective_from=day, **(prices | changes))


_BY_UNITS = _version(date(1970, 1, 1))
_BY_TIME = _version(
    date(2026, 3, 11),
    basis="pod_seconds",
    per_thousand_pod_seconds=11_003,
    monthly_fee=5_000_000,
    free_pod_seconds=7,
)
_BOOKS = st.sampled_from(
    [
        PriceBook("USD", (_BY_UNITS,)),
        PriceBook("USD", (_BY_UNITS, _BY_TIME)),
        PriceBook("USD", (_BY_TIME, _version(date(2026, 3, 21)))),
    ]
)
_AMOUNT = st.one_of(st.integers(0, 5), st.integers(0, 10**12))
_USED = st.builds(
    lambda numbers, kib: Used(Amounts(*numbers), kib),
    st.lists(_AMOUNT, min_size=len(AMOUNT_NAMES), max_size=len(AMOUNT_NAMES)),
    st.integers(0, 10**14),
)
_USES = st.dictionaries(st.integers(1, 6), _USED, max_size=6)


def _parts(book: PriceBook, uses: list[dict[int, Used]]) -> list[Part]:
    cuts = book.cut(UTC_CALENDAR.border(_MONTH), UTC_CALENDAR.border(_MONTH + 1), UTC_CALENDAR)
    return [Part(*cut, used) for cut, used in zip(cuts, uses, strict=False)]


def _cost(parts: list[Part]) -> Cost:
    pieces = []
    for part in parts:
        total = Measured.of(sum(part.uses.values(), Used()))
        pieces.append(Piece(part.version, total, total))
    tenants = {t for part in parts for t, used in part.uses.items() if used}
    return cost_of_month(pieces, tenants=len(tenants))


def _amounts(sections: list[Section], *kinds: Kind) -> int:
    return sum(line.amount for s in sections for line in s.lines if line.kind in kinds)


def _check(sections: list[Section], parts: list[Part]) -> None:
    cost = _cost(parts)
    assert sum(section.amount for section in sections) == cost.total
    assert _amounts(sections, Kind.UNITS, *CAUSES) == cost.request_units
    assert _amounts(sections, Kind.STORAGE) == cost.storage
    assert _amounts(sections, Kind.EGRESS) == cost.egress
    assert _amounts(sections, Kind.POD_TIME) == cost.pod_time
    assert _amounts(sections, Kind.FEE) == cost.fee
    for part in parts:
        lines = [line for s in sections if s.start == part.start for line in s.lines]
        total = sum(part.uses.values(), Used())
        if part.version.basis == "request_units":
            units = units_of(total.amounts)
            found = [sum(x.quantity for x in lines if x.kind is kind) for kind in CAUSES]
            assert found == [units.sql_cpu, units.reads, units.writes, units.egress]
        stored = sum(line.quantity for line in lines if line.kind is Kind.STORAGE)
        assert stored == total.storage_kib_seconds
        for line in lines:
            assert line.amount >= 0 or line.tenant_id == 0
            assert line.quantity >= 0


@_PATIENT
@given(_BOOKS, st.lists(_USES, min_size=2, max_size=2))
def test_lines_add_up(book: PriceBook, uses: list[dict[int, Used]]) -> None:
    parts = _parts(book, uses)
    sections = charge_month(_MONTH, parts, Billed())
    _check(sections, parts)
    together = charge_month(
        _MONTH,
        [part.together() for part in parts],
        Billed(),
        {0: len({t for part in parts for t, used in part.uses.items() if used})},
    )
    assert sum(s.amount for s in together) == sum(s.amount for s in sections)


@_PATIENT
@given(_BOOKS, st.lists(st.lists(_USES, min_size=2, max_size=2), min_size=2, max_size=4))
def test_late_use_is_charged_once(book: PriceBook, rounds: list[list[dict[int, Used]]]) -> None:
    charged: list[Section] = []
    known: list[dict[int, Used]] = [{}, {}]
    for uses in rounds:
        for place, late in enumerate(uses):
            for tenant, used in late.items():
                known[place][tenant] = known[place].get(tenant, Used()) + used
        parts = _parts(book, [dict(each) for each in known])
        charged += charge_month(_MONTH, parts, Billed.of(charged))
        _check(charged, parts)
    again = charge_month(_MONTH, _parts(book, known), Billed.of(charged))
    assert not [section for section in again if section.says_something]


@_PATIENT
@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_parts_add_up_and_are_near(total: int, weights: list[int]) -> None:
    if not any(weights):
        weights[0] = 1
    parts = apportion(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) <= sum(weights)


def test_a_part_of_the_allowance_that_late_use_took_is_nobodys() -> None:
    later = _version(date(2026, 3, 11), per_million_units=10**9)
    book = PriceBook("USD", (_version(date(1970, 1, 1), free_units=10), later))
    week = Used(Amounts(write_requests=10))
    first = _parts(book, [{}, {1: week}])
    sections = charge_month(_MONTH, first, Billed())
    assert [section.amount for section in sections] == [0, 0]
    parts = _parts(book, [{2: Used(Amounts(write_requests=4))}, {1: week}])
    late = charge_month(_MONTH, parts, Billed.of(sections))
    assert [(line.tenant_id, line.kind, line.free, line.amount) for line in late[1].lines] == [
        (0, Kind.UNITS, -4_000_000, 4000)
    ]


@pytest.mark.parametrize(
    ("micros", "currency", "percent", "net", "tax", "text"),
    [
        (0, "USD", "0", 0, 0, "0.00"),
        (4_999, "USD", "10", 0, 0, "0.00"),
        (5_000, "USD", "10", 1, 0, "0.01"),
        (45_000, "USD", "10", 5, 1, "0.06"),
        (1_234_567_891, "EUR", "19", 123_457, 23_457, "1,469.14"),
        (999_999_999, "USD", "8.875", 100_000, 8_875, "1,088.75"),
        (1_500_000, "JPY", "10", 2, 0, "2"),
        (12_513_933_451, "JPY", "10", 12_514, 1_251, "13,765"),
        (1_234_500, "KWD", "0", 1_235, 0, "1.235"),
        (-5_000, "USD", "10", -1, 0, "-0.01"),
    ],
)
def test_what_is_payable_is_rounded_once(
    micros: int, currency: str, percent: str, net: int, tax: int, text: str
) -> None:
    payable = Payable.of(micros, currency, percent)
    assert (payable.net, payable.tax, payable.text(payable.total)) == (net, tax, text)


def test_millionths_are_written_out() -> None:
    assert exact_text(-1_234_567_000_001) == "-1,234,567.000001"
    assert exact_text(1_234_500_000, grouped=False) == "1234.500000"
