"""What a change of settings may say, and what it makes of them."""

import ipaddress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control.networks import NETWORKS_MAX, canonical_networks
from control.settings import (
    SETTING_NAMES,
    InvalidSettings,
    Settings,
    change_settings,
    differences,
)

_DEFAULT = Settings(connections_max=100)


def _change(settings: Settings = _DEFAULT, /, **change: Any) -> Settings:
    return change_settings(settings, change, connections_default=100)


def _errors(settings: Settings = _DEFAULT, /, **change: Any) -> dict[str, str]:
    with pytest.raises(InvalidSettings) as refused:
        _change(settings, **change)
    return refused.value.errors


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("idle_timeout_seconds", (60, 604_800), (0, 59, 604_801, -1)),
        ("pods_min", (0, 64), (-1, 65)),
        ("pods_max", (1, 64), (-1, 65)),
        ("connections_max", (1, 10_000), (0, 10_001, -1)),
    ],
)
def test_numbers_have_bounds(name: str, good: tuple[int, ...], bad: tuple[int, ...]) -> None:
    for value in good:
        change: dict[str, Any] = {name: value}
        assert getattr(_change(**change), name) == value
    for value in bad:
        change = {name: value}
        assert list(_errors(**change)) == [name]


def test_never_and_back() -> None:
    awake = _change(_change(idle_timeout_seconds=600), idle_timeout_seconds="never")
    assert (awake.never_sleeps, awake.idle_timeout_seconds) == (True, 0)
    again = _change(awake, idle_timeout_seconds=90)
    assert (again.never_sleeps, again.idle_timeout_seconds) == (False, 90)
    assert _change(awake, idle_timeout_seconds=None) == _DEFAULT


def test_null_is_the_default_everywhere() -> None:
    changed = _change(
        idle_timeout_seconds="never",
        pods_min=2,
        pods_max=3,
        allowed_networks=["10.0.0.1"],
        connections_max=7,
        storage_max_bytes=1 << 20,
        recovery_window_seconds=0,
    )
    assert set(differences(_DEFAULT, changed)) == set(SETTING_NAMES) - {"idle_timeout_seconds"}
    names = set(SETTING_NAMES) - {"never_sleeps"}
    assert _change(changed, **dict.fromkeys(names)) == _DEFAULT


def test_the_least_is_not_above_the_most() -> None:
    assert list(_errors(pods_min=3, pods_max=2)) == ["pods_min"]
    assert list(_errors(_change(pods_min=3), pods_max=2)) == ["pods_max"]
    assert list(_errors(_change(pods_max=2), pods_min=3)) == ["pods_min"]
    # What the installation's own maximum is, is not known here: the autoscaler's word.
    assert _change(pods_min=64, pods_max=0).pods_min == 64


def test_every_wrong_setting_is_named_and_none_holds() -> None:
    errors = _errors(idle_timeout_seconds=1, pods_max=99, connections_max=5)
    assert set(errors) == {"idle_timeout_seconds", "pods_max"}


def test_an_old_value_beyond_a_bound_does_not_stand_in_the_way() -> None:
    old = Settings(connections_max=50_000)
    assert _change(old, pods_max=2).connections_max == 50_000


def test_differences_are_old_and_new() -> None:
    changed = _change(pods_max=2, allowed_networks=["10.0.0.1"])
    assert differences(_DEFAULT, changed) == {
        "pods_max": (0, 2),
        "allowed_networks": ((), ("10.0.0.1/32",)),
    }
    assert differences(changed, changed) == {}


def test_networks_have_one_form() -> None:
    given = ["2001:DB8:0::/32", "10.1.2.3", "10.0.0.0/255.0.0.0", "::1", "10.0.0.0/8", "9.0.0.0/8"]
    assert canonical_networks(given) == (
        "9.0.0.0/8",
        "10.0.0.0/8",
        "10.1.2.3/32",
        "::1/128",
        "2001:db8::/32",
    )
    assert canonical_networks(["::ffff:10.0.0.0/104", "::ffff:1.2.3.4"]) == (
        "1.2.3.4/32",
        "10.0.0.0/8",
    )


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0", "10.0.0.0/33", "::/129", "a.example", "1", "fe80::1%eth0", " ::1", "9" * 99],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address or a network"):
        canonical_networks([text])


def test_host_bits_are_refused_with_both_ways_out() -> None:
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8 .* or 10\.0\.0\.5/32 "):
        canonical_networks(["10.0.0.5/8"])
    with pytest.raises(ValueError, match=r"write 2001:db8::/32 .* or 2001:db8::1/128 "):
        canonical_networks(["2001:db8::1/32"])


def test_there_is_a_bound_of_different_networks() -> None:
    texts = [f"10.0.0.{number}" for number in range(NETWORKS_MAX)]
    assert len(canonical_networks(texts * 2)) == NETWORKS_MAX
    with pytest.raises(ValueError, match="at most 64"):
        canonical_networks([*texts, "::1"])


_ADDRESSES = st.ip_addresses()
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NETWORKS = st.builds(
    lambda address, bits: ipaddress.ip_network(
        (address, bits % (address.max_prefixlen + 1)), False
    ),
    _ADDRESSES | st.ip_addresses(network=_MAPPED),
    st.integers(0, 128),
)


def _admits(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> bool:
    """Whether an address is in a network; one of IPv4 also by its form in IPv6, where a network
    has no other addresses than such."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return address.version == 4 and ipaddress.ip_address(f"::ffff:{address}") in network
    return address in network


@given(st.lists(_NETWORKS, max_size=10), _ADDRESSES)
@example([_MAPPED], ipaddress.ip_address("10.0.0.1"))
def test_the_one_form_admits_the_same_addresses(
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    canonical = canonical_networks(map(str, networks))
    assert canonical_networks(canonical) == canonical
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return
    admitted = any(address in ipaddress.ip_network(text) for text in canonical)
    assert admitted == any(_admits(network, address) for network in networks)
