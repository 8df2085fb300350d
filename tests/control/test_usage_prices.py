"""Every coefficient and every price, to the last millionth."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.amounts import Amounts
from control.months import UTC_CALENDAR
from control.prices import (
    KIB_SECONDS_PER_GIB_HOUR,
    Cost,
    Free,
    Measured,
    Piece,
    PriceBook,
    Version,
    charge,
    cost_of_month,
    read_book,
)
from control.rollups import Used
from control.units import system_units
from dormouse.base.config import ConfigError
from dormouse.base.units import MICRO, Units, units_of

_MIB, _GIB = 1 << 20, 1 << 30
_DAY = date(2026, 1, 1)
_LATER_FIRST = json.dumps(
    {
        "currency": "USD",
        "versions": [{"effective_from": "2026-01-02"}, {"effective_from": "2026-01-01"}],
    }
)


@pytest.mark.parametrize(
    ("amounts", "cause", "units"),
    [
        (Amounts(sql_cpu_micros=3000), "sql_cpu", "1"),
        (Amounts(sql_cpu_micros=1_000_000), "sql_cpu", "333.333333"),
        (Amounts(read_batches=1), "reads", "0.5"),
        (Amounts(read_requests=1), "reads", "0.125"),
        (Amounts(read_bytes=_MIB), "reads", "16"),
        (Amounts(read_bytes=64 << 10), "reads", "1"),
        (Amounts(write_batches=1), "writes", "1"),
        (Amounts(write_requests=1), "writes", "1"),
        (Amounts(write_bytes=_MIB), "writes", "1024"),
        (Amounts(write_bytes=1024), "writes", "1"),
        (Amounts(egress_bytes=_MIB), "egress", "1024"),
        (Amounts(egress_bytes=1024), "egress", "1"),
    ],
)
def test_each_coefficient(amounts: Amounts, cause: str, units: str) -> None:
    whole, _, digits = units.partition(".")
    micro = int(whole) * MICRO + int(digits.ljust(6, "0"))
    assert units_of(amounts) == Units(**{cause: micro})


@pytest.mark.parametrize(
    ("amounts", "micro"),
    [
        (Amounts(sql_cpu_micros=1), 333),  # 333.33
        (Amounts(sql_cpu_micros=2), 667),  # 666.67
        (Amounts(read_bytes=1), 15),  # 15.26
        (Amounts(read_bytes=2), 31),  # 30.52
        (Amounts(read_bytes=1 << 9), 7813),  # 7812.5: halves go up
        (Amounts(write_bytes=1), 977),  # 976.56
        (Amounts(egress_bytes=3), 2930),  # 2929.69
        (Amounts(read_bytes=1 << 9, read_requests=1), 132_813),  # one rounding for the cause
    ],
)
def test_rounding(amounts: Amounts, micro: int) -> None:
    assert units_of(amounts).total == micro


def test_time_and_the_systems_own_work_weigh_nothing() -> None:
    own = Amounts(
        pod_millis=10**9,
        system_cpu_micros=3000,
        system_read_batches=2,
        system_read_requests=8,
        system_read_bytes=64 << 10,
        system_write_batches=1,
        system_write_requests=1,
        system_write_bytes=1024,
    )
    assert units_of(own) == Units()
    assert system_units(own) == 7 * MICRO


def _version(**changes: Any) -> Version:
    return Version(effective_from=_DAY, **changes)


@pytest.mark.parametrize(
    ("used", "cost"),
    [
        (Measured(micro_units=MICRO * MICRO), Cost(request_units=200_000)),
        (Measured(micro_units=5 * MICRO), Cost(request_units=1)),
        (Measured(micro_units=2_500_000), Cost(request_units=1)),  # 0.5: halves go up
        (Measured(micro_units=2_499_999), Cost()),
        (
            Measured(storage_kib_seconds=1000 * KIB_SECONDS_PER_GIB_HOUR),
            Cost(storage=684_932),
        ),
        (Measured(storage_kib_seconds=730 * KIB_SECONDS_PER_GIB_HOUR), Cost(storage=500_000)),
        (Measured(storage_kib_seconds=KIB_SECONDS_PER_GIB_HOUR), Cost(storage=685)),  # 684.932
        (Measured(storage_kib_seconds=KIB_SECONDS_PER_GIB_HOUR // 2), Cost(storage=342)),
        (Measured(storage_kib_seconds=1), Cost()),
        (Measured(egress_bytes=_GIB), Cost(egress=90)),
        (Measured(egress_bytes=_GIB // 180), Cost()),  # a little less than a half
        (Measured(egress_bytes=_GIB // 180 + 1), Cost(egress=1)),
        (Measured(pod_millis=10**9), Cost()),
    ],
)
def test_each_price(used: Measured, cost: Cost) -> None:
    assert charge(_version(per_thousand_egress_gib=90_000), used, Free()) == cost


def test_pods_by_time() -> None:
    version = _version(basis="pod_seconds", per_thousand_pod_seconds=11_000, monthly_fee=5_000_000)
    used = Measured(micro_units=10**15, pod_millis=3_600_000)
    assert charge(version, used, Free()) == Cost(pod_time=39_600)
    assert charge(version, used, Free(pod_millis=3_599_955)) == Cost(pod_time=0)  # 0.495
    halves = _version(basis="pod_seconds", per_thousand_pod_seconds=5_000)
    for millis, cost in ((99, 0), (100, 1), (299, 1), (300, 2)):  # 0.5 and 1.5: halves go up
        assert charge(halves, Measured(pod_millis=millis), Free()) == Cost(pod_time=cost)
    month = cost_of_month([Piece(version, used, used)], tenants=3)
    assert month == Cost(pod_time=39_600, fee=15_000_000)


def test_the_allowance_is_the_organisations() -> None:
    version = _version(free_units=100, free_gib_hours=1)
    everyone = Measured(micro_units=400 * MICRO, storage_kib_seconds=KIB_SECONDS_PER_GIB_HOUR)
    own = Measured(micro_units=100 * MICRO, storage_kib_seconds=KIB_SECONDS_PER_GIB_HOUR // 2)
    cost = cost_of_month([Piece(version, own, everyone)])
    assert cost == Cost(request_units=15)  # 75 units at 0.2; all of the storage is free
    little = Measured(micro_units=99 * MICRO)
    assert cost_of_month([Piece(version, little, little)]) == Cost()


def test_a_month_under_two_versions() -> None:
    old = _version(free_units=10, per_million_units=1_000_000)
    new = Version(effective_from=date(2026, 1, 11), per_million_units=3_000_000, free_units=99)
    first, second = Measured(micro_units=4 * MICRO), Measured(micro_units=20 * MICRO)
    cost = cost_of_month([Piece(old, first, first), Piece(new, second, second)])
    assert cost == Cost(request_units=14 * 3)  # 4 free before, 6 after
    assert cost_of_month([]) == Cost()


@given(
    st.lists(st.tuples(st.integers(0, 10**15), st.integers(0, 10**15)), min_size=1, max_size=20),
    st.integers(0, 10**9),
)
def test_no_allowance_is_given_twice(uses: list[tuple[int, int]], free_units: int) -> None:
    free = Free.of_month(_version(free_units=free_units))
    each = [Measured(micro_units=units, storage_kib_seconds=kib) for units, kib in uses]
    everyone = Measured(
        micro_units=sum(units for units, _ in uses), storage_kib_seconds=sum(k for _, k in uses)
    )
    parts = [free.part(own, everyone) for own in each]
    given_units = sum(part.micro_units for part in parts)
    assert given_units <= max(free.micro_units, 0) or given_units == everyone.micro_units
    assert given_units <= everyone.micro_units
    # Nothing is lost but the rounding down.
    assert given_units >= min(free.micro_units, everyone.micro_units) - len(uses)


def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_a_book_is_read_and_cut(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    versions = [
        {"effective_from": "2026-01-01", "per_million_units": 1},
        {"effective_from": "2026-02-10", "per_million_units": 2},
    ]
    file.write_text(json.dumps({"currency": "JPY", "versions": versions}))
    book = read_book(file)
    assert book.currency == "JPY"
    start, border, end = _second("2026-02-01"), _second("2026-02-10"), _second("2026-03-01")
    prices = [(v.per_million_units, *rest) for v, *rest in book.cut(start, end, UTC_CALENDAR)]
    assert prices == [(1, start, border), (2, border, end)]
    assert [v.per_million_units for v, *_ in book.cut(0, 5, UTC_CALENDAR)] == [1]
    assert [v.per_million_units for v, *_ in book.cut(end, end + 5, UTC_CALENDAR)] == [2]


@pytest.mark.parametrize(
    "document",
    [
        "{",
        '{"currency": "USD", "versions": []}',
        '{"currency": "dollars", "versions": [{"effective_from": "2026-01-01"}]}',
        '{"currency": "USD", "versions": [{"effective_from": "2026-01-01", "per_million": 1}]}',
        '{"currency": "USD", "versions": [{"effective_from": "2026-01-01", "free_units": -1}]}',
        '{"currency": "USD", "versions": [{"effective_from": "2026-01-01", "free_units": 1.5}]}',
        _LATER_FIRST,
    ],
)
def test_a_book_that_is_none_is_refused(tmp_path: Path, document: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(document)
    with pytest.raises(ConfigError, match="price_book"):
        read_book(file)
    assert read_book(None) == PriceBook()
    assert Measured.of(Used(Amounts(read_batches=1), 5)).micro_units == 500_000
