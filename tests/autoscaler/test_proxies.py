"""Numbers of proxies, and what they say they hold."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.proxies import (
    NUMBER_MAX,
    QUARANTINE_SECONDS,
    REPORTED_TENANTS_MAX,
    Held,
    ProxiesRefused,
    Proxy,
    ProxyTable,
)
from dormouse.base.ids import TenantId

A, B = TenantId(1), TenantId(2)


class Joined:
    """A proxy at a table, and what it was told."""

    def __init__(
        self, table: ProxyTable, *, address: str = "", number: int = 0, now: float = 0.0
    ) -> None:
        self.told = self.cuts = 0
        self.proxy: Proxy = table.join(address, number, now, told=self._told, cut=self._cut)
        self.number = self.proxy.number

    def _told(self) -> None:
        self.told += 1

    def _cut(self) -> None:
        self.cuts += 1


def table(seed: int = 1) -> ProxyTable:
    return ProxyTable(random.Random(seed))


def test_proxies_have_different_numbers_and_are_told_of_one_another() -> None:
    proxies = table()
    first = Joined(proxies, address="a:1")
    second = Joined(proxies, address="b:1")
    assert first.number != second.number
    assert 0 < min(first.number, second.number) <= NUMBER_MAX
    assert (first.told, second.told) == (1, 0)
    seen = proxies.seen_by(first.proxy)
    assert seen.your_number == first.number
    assert [(each.number, each.peer_address) for each in seen.others] == [(second.number, "b:1")]
    proxies.leave(second.proxy, 1.0)
    assert first.told == 2
    assert list(proxies.seen_by(first.proxy).others) == []


def test_a_proxy_gets_its_number_back_and_nobody_else_does_for_a_while() -> None:
    proxies = table()
    first = Joined(proxies)
    proxies.leave(first.proxy, 10.0)
    others = [Joined(proxies, now=11.0) for _ in range(NUMBER_MAX - 1)]
    assert first.number not in {other.number for other in others}
    again = Joined(proxies, number=first.number, now=12.0)
    assert again.number == first.number
    with pytest.raises(ProxiesRefused, match="1023 proxies"):
        Joined(proxies, now=13.0)


def test_a_rested_number_is_free_again_and_without_one_the_longest_unused_is() -> None:
    proxies = table()
    joined = [Joined(proxies) for _ in range(NUMBER_MAX)]
    proxies.leave(joined[5].proxy, 10.0)
    proxies.leave(joined[7].proxy, 20.0)
    assert Joined(proxies, now=21.0).number == joined[5].number
    assert Joined(proxies, now=21.0 + QUARANTINE_SECONDS).number == joined[7].number


@pytest.mark.parametrize("number", [0, -1, NUMBER_MAX + 1, 1 << 30])
def test_a_number_that_is_none_is_not_given(number: int) -> None:
    assert 0 < Joined(table(), number=number).number <= NUMBER_MAX


def test_a_number_in_use_stays_with_its_user() -> None:
    proxies = table()
    first = Joined(proxies, address="a:1")
    thief = Joined(proxies, address="b:1", number=first.number)
    nowhere = Joined(proxies, number=first.number)
    assert len({first.number, thief.number, nowhere.number}) == 3
    assert first.cuts == 0


def test_a_proxy_that_comes_again_before_it_was_missed_replaces_itself() -> None:
    proxies = table()
    ghost = Joined(proxies, address="a:1")
    proxies.reported(ghost.number, {A: Held(1, 1)})
    again = Joined(proxies, address="a:1", number=ghost.number)
    assert again.number == ghost.number
    assert ghost.cuts == 1
    assert proxies.held(A) == Held()
    proxies.leave(ghost.proxy, 1.0)  # its stream ends late
    assert len(proxies) == 1


def test_reports_are_added_up_replaced_and_dropped_with_their_proxy() -> None:
    proxies = table()
    one, two = Joined(proxies), Joined(proxies)
    assert proxies.reported(one.number, {A: Held(2, 1), B: Held(0, 5)}) == {A}
    assert proxies.reported(two.number, {A: Held(1, 0)}) == {A}
    assert proxies.held(A) == Held(3, 1)
    assert proxies.parked == 6
    assert proxies.reported(one.number, {A: Held(2, 2)}) == set()
    assert (proxies.held(A), proxies.held(B)) == (Held(3, 2), Held())
    assert proxies.parked_tenants() == [A]
    proxies.leave(one.proxy, 1.0)
    assert (proxies.held(A), proxies.parked) == (Held(1, 0), 0)


def test_strangers_and_giants_do_not_report() -> None:
    proxies = table()
    with pytest.raises(ProxiesRefused, match="no proxy 7"):
        proxies.reported(7, {})
    joined = Joined(proxies)
    giant = {TenantId(number): Held(1, 0) for number in range(REPORTED_TENANTS_MAX + 1)}
    with pytest.raises(ProxiesRefused, match="tenants"):
        proxies.reported(joined.number, giant)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.dictionaries(
                st.integers(1, 4), st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4
            ),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_the_sums_are_what_adding_everything_up_gives(
    steps: list[tuple[int, dict[int, tuple[int, int]], bool]],
) -> None:
    proxies = table()
    joined: dict[int, Joined] = {}
    for who, report, leaves in steps:
        if who not in joined:
            joined[who] = Joined(proxies)
        held = {TenantId(tenant): Held(*each) for tenant, each in report.items()}
        proxies.reported(joined[who].number, held)
        if leaves:
            proxies.leave(joined.pop(who).proxy, 0.0)
    for tenant in map(TenantId, range(1, 5)):
        shares = [each.proxy.held.get(tenant, Held()) for each in joined.values()]
        expected = Held(sum(s.sessions for s in shares), sum(s.parked for s in shares))
        assert proxies.held(tenant) == expected
    assert proxies.parked == sum(
        held.parked for each in joined.values() for held in each.proxy.held.values()
    )
