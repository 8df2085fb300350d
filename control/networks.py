"""The networks that a tenant's clients may come from: IPv4 and IPv6 in CIDR notation.

Kept in one form, so that equal lists are equal texts and whoever matches addresses against them
need not think: no host bits, no duplicates, sorted, IPv4 never dressed up as IPv6.
"""

import ipaddress
from collections.abc import Iterable

NETWORKS_MAX = 64
_TEXT_MAX = 64
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def canonical_networks(texts: Iterable[str]) -> tuple[str, ...]:
    """The networks in their one form; an address stands for itself alone.

    Raises ValueError, with a sentence for the person who wrote them.
    """
    found = {_parse(text) for text in texts}
    if len(found) > NETWORKS_MAX:
        raise ValueError(f"at most {NETWORKS_MAX} networks; these are {len(found)}")
    return tuple(str(network) for network in sorted(found, key=_order))


def _order(network: _Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _parse(text: str) -> _Network:
    # A zone (`fe80::1%eth0`) means something on one machine only.
    if len(text) > _TEXT_MAX or "%" in text:
        raise _no_network(text)
    try:
        return _unmapped(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise _no_network(text) from None
    address, prefix_bits = text.partition("/")[0], network.max_prefixlen
    raise ValueError(
        f"{text} has bits set to the right of its mask: write {network} for the network, "
        f"or {address}/{prefix_bits} for that address alone"
    )


def _unmapped(network: _Network) -> _Network:
    """A proxy sees the client of a mapped address as the IPv4 address that it is."""
    if isinstance(network, ipaddress.IPv4Network) or not network.subnet_of(_MAPPED):
        return network
    packed = network.network_address.packed[-4:]
    return ipaddress.IPv4Network((packed, network.prefixlen - _MAPPED.prefixlen))


def _no_network(text: str) -> ValueError:
    return ValueError(
        f"{text[:_TEXT_MAX]!r} is not an address or a network such as 192.0.2.0/24 or 2001:db8::/32"
    )
