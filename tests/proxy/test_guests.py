"""Who is counted where, and until when."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.ids import TenantId
from proxy.config import ProxyLimits
from proxy.errors import TooManyConnections
from proxy.guests import Guest, Guests
from proxy.tenants import KnownTenant

ADDRESS = IPv4Address("192.0.2.1")


def tenant(connections_max: int = 0) -> KnownTenant:
    return KnownTenant(TenantId(17), "demo", connections_max)


def enter(guests: Guests) -> Guest:
    guest = guests.enter()
    assert guest is not None
    return guest


def test_beyond_the_limit_a_few_are_heard_out_and_then_nobody() -> None:
    guests = Guests(ProxyLimits(connections_max=2, polite_max=1))
    first, second, third = (enter(guests) for _ in range(3))
    assert [each.polite for each in (first, second, third)] == [False, False, True]
    assert guests.enter() is None
    guests.leave(first)
    guests.leave(first)
    assert len(guests) == 2
    assert enter(guests).polite


def test_handshakes_of_one_address_are_bounded_and_sessions_are_none() -> None:
    guests = Guests(ProxyLimits(handshakes_per_address_max=2))
    one, two, three = (enter(guests) for _ in range(3))
    assert guests.come_from(one, ADDRESS)
    assert guests.come_from(two, ADDRESS)
    assert not guests.come_from(three, ADDRESS)
    guests.leave(three)  # was never one
    assert not guests.come_from(enter(guests), ADDRESS)
    assert guests.come_from(enter(guests), IPv4Address("192.0.2.2"))
    guests.settle(one)
    assert guests.come_from(enter(guests), ADDRESS)


def test_a_64_of_ipv6_is_one_address() -> None:
    guests = Guests(ProxyLimits(handshakes_per_address_max=1))
    assert guests.come_from(enter(guests), IPv6Address("2001:db8::1"))
    assert not guests.come_from(enter(guests), IPv6Address("2001:db8::2"))
    assert guests.come_from(enter(guests), IPv6Address("2001:db8:0:1::1"))


def test_a_tenant_has_as_many_as_it_may() -> None:
    guests = Guests(ProxyLimits())
    first = enter(guests)
    guests.ask_for(first, tenant(1))
    with pytest.raises(TooManyConnections) as caught:
        guests.ask_for(enter(guests), tenant(1))
    assert caught.value.message == 'too many connections for database "demo"'
    assert caught.value.sqlstate == "53300"
    assert guests.of(TenantId(17)) == [first]
    guests.leave(first)
    assert guests.tenants() == []
    guests.ask_for(enter(guests), tenant(1))
    for _ in range(10):
        guests.ask_for(enter(guests), tenant(0))
    assert len(guests.of(TenantId(17))) == 11


@given(st.lists(st.tuples(st.sampled_from(["enter", "ask", "settle", "leave"]), st.integers(0, 5))))
def test_nothing_is_left_when_all_have_left(steps: list[tuple[str, int]]) -> None:
    guests = Guests(ProxyLimits(connections_max=5, polite_max=2, handshakes_per_address_max=3))
    inside: list[Guest] = []
    for step, which in steps:
        if step == "enter" and (guest := guests.enter()) is not None:
            inside.append(guest)
            if not guests.come_from(guest, IPv4Address(which)):
                guests.leave(inside.pop())
        elif which < len(inside):
            guest = inside[which]
            if step == "ask" and guest.tenant is None:
                guests.ask_for(guest, KnownTenant(TenantId(1 + which % 2), "demo"))
            elif step == "settle":
                guests.settle(guest)
            elif step == "leave":
                guests.leave(inside.pop(which))
        assert len(guests) == len(inside)
    for guest in inside:
        guests.leave(guest)
    assert repr(guests) == "<Guests n=0 handshakes=0 tenants=0>"
