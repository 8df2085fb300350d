"""Addresses in one form, networks that hold them."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.addresses import Networks, neighbourhood, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_one_form(text: str, expected: str) -> None:
    assert str(parse_address(text)) == expected


def test_an_ipv4_client_is_in_its_network_however_the_socket_names_it() -> None:
    networks = Networks.parse(["192.0.2.0/24", "2001:db8::/32"])
    assert parse_address("::ffff:192.0.2.9") in networks
    assert parse_address("2001:db8:1::1") in networks
    assert parse_address("192.0.3.9") not in networks
    assert parse_address("::1") not in networks
    assert parse_address("::1") not in Networks()
    assert repr(networks) == "Networks(192.0.2.0/24, 2001:db8::/32)"


def test_a_network_with_host_bits_is_an_error() -> None:
    with pytest.raises(ValueError, match="host bits"):
        Networks.parse(["192.0.2.1/24"])


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_neighbours_of_ipv6_share_64_bits(one: int, other: int) -> None:
    same = neighbourhood(IPv6Address(one)) == neighbourhood(IPv6Address(other))
    assert same == (one >> 64 == other >> 64)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_whole_64_is_one_neighbour(high: int, low: int) -> None:
    assert neighbourhood(IPv6Address(high << 64 | low)) == neighbourhood(IPv6Address(high << 64))


def test_ipv4_has_no_neighbours() -> None:
    assert neighbourhood(IPv4Address("192.0.2.1")) == "192.0.2.1"
