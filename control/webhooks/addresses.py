"""Which addresses a webhook may go to. Pure.

A webhook's URL is a stranger's, and this process stands in the operator's network: without a check,
`https://metadata.internal/` would be fetched with the network's trust (server-side request
forgery). So a delivery goes to public addresses only, whatever a name resolves to at that moment
(control/webhooks/transport.py connects to the very address that was checked), and an IPv4 address
inside an IPv6 one counts as itself. An operator may allow networks of their own.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_REFUSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the inside of Azure, on a public number
        "169.254.0.0/16",  # link-local, where clouds keep their metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/3",  # unspecified, loopback, mapped, translated: none of it is global unicast
        "4000::/2",
        "8000::/1",  # unique local, link-local, multicast among others
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
"""The IANA special-purpose registries, and all of IPv6 outside of 2000::/3."""


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Where deliveries may go."""

    allowed: tuple[Network, ...] = ()
    """Besides the public addresses."""

    @classmethod
    def of(cls, networks: Iterable[str]) -> Self:
        """With these networks allowed (CIDR). Raises ValueError for what is none."""
        return cls(tuple(ipaddress.ip_network(text) for text in networks))

    def allows(self, address: Address) -> bool:
        """Whether a delivery may go there."""
        inner = _unwrapped(address)
        if any(each in network for each in (address, inner) for network in self.allowed):
            return True
        return not any(inner in network for network in _REFUSED)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that packets for this one end up at, where it is only dressed up."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address
