"""Clients' addresses and the networks they are matched against. Pure.

An IPv4 client of a socket that serves both families shows as `::ffff:192.0.2.1`; here it is always
192.0.2.1, or a rule for it would not match.
"""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self

Address = IPv4Address | IPv6Address

NEIGHBOURS_BITS = 64
"""What a site gets of IPv6 at the least: all addresses in it may be one attacker's."""


def parse_address(text: str) -> Address:
    """The address that a socket names. Raises ValueError."""
    return unmapped(ip_address(text.partition("%")[0]))  # the zone means something here only


def unmapped(address: Address) -> Address:
    """The IPv4 address where it is one in disguise."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def neighbourhood(address: Address) -> str:
    """Whom to count as one: the address, or the /64 of IPv6."""
    if isinstance(address, IPv4Address):
        return str(address)
    high = int(address) >> (128 - NEIGHBOURS_BITS) << (128 - NEIGHBOURS_BITS)
    return f"{IPv6Address(high)}/{NEIGHBOURS_BITS}"


class Networks:
    """Some networks; an address is in one of them or not."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._networks = tuple(networks)

    def __repr__(self) -> str:
        return f"Networks({', '.join(map(str, self._networks))})"

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """From CIDR notation. Raises ValueError."""
        return cls(ip_network(text) for text in texts)

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self._networks)
