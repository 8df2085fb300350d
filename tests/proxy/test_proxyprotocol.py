"""PROXY headers of both versions: whole, in pieces, and everything that is none."""

import struct
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.addresses import Address
from proxy.proxyprotocol import SIGNATURE, V1_BYTES_MAX, V2_BYTES_MAX, BadHeader, HeaderDecoder


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    announced = len(body) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, announced) + body


SOURCE4, TARGET4 = IPv4Address("203.0.113.7"), IPv4Address("192.0.2.1")
SOURCE6, TARGET6 = IPv6Address("2001:db8::7"), IPv6Address("2001:db8::1")
PORTS = struct.pack("!HH", 56324, 5432)
TCP4 = SOURCE4.packed + TARGET4.packed + PORTS
TCP6 = SOURCE6.packed + TARGET6.packed + PORTS
TLV = b"\x02\x00\x03abc"

VALID: list[tuple[bytes, Address | None]] = [
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 5432\r\n", SOURCE4),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n", IPv4Address("255.255.255.255")),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 5432\r\n", SOURCE6),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n", SOURCE4),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff what ever\xff\r\n", None),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x11, TCP4), None),
    (v2(0x20, 0xFF, b"whatever"), None),
    (v2(0x21, 0x00, TLV), None),
    (v2(0x21, 0x11, TCP4), SOURCE4),
    (v2(0x21, 0x11, TCP4 + TLV * 100), SOURCE4),
    (v2(0x21, 0x21, TCP6), SOURCE6),
    (v2(0x21, 0x21, TCP6 + bytes(V2_BYTES_MAX - len(TCP6))), SOURCE6),
    (v2(0x21, 0x21, b"\0" * 10 + b"\xff\xff" + SOURCE4.packed + TARGET6.packed + PORTS), SOURCE4),
]


@pytest.mark.parametrize(("header", "client"), VALID)
def test_a_header_tells_the_client_and_takes_no_byte_more(
    header: bytes, client: Address | None
) -> None:
    for behind in (b"", b"\x16\x03\x01", b"\r\n", header):
        decoder = HeaderDecoder()
        assert decoder.feed(header + behind) == len(header)
        assert (decoder.done, decoder.client) == (True, client)
        assert decoder.feed(b"more") == 0


@pytest.mark.parametrize(("header", "client"), VALID)
def test_byte_by_byte(header: bytes, client: Address | None) -> None:
    decoder = HeaderDecoder()
    for at in range(len(header)):
        assert not decoder.done
        assert decoder.feed(header[at : at + 1]) == 1
    assert (decoder.done, decoder.client) == (True, client)


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"PROXX",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"PROXY  UNKNOWN\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY unknown\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNIX a b 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 5432\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 5432 \r\n",
        b"PROXY TCP4  203.0.113.7 192.0.2.1 56324 5432\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 56324\r\n",
        b"PROXY TCP4 203.0.113.007 192.0.2.1 56324 5432\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2 56324 5432\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 056324 5432\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 5432\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 5432\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 5432\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 1 \r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP4 \xff03.0.113.7 192.0.2.1 1 2\r\n",
        b"PROXY UNKNOWN " + b"x" * V1_BYTES_MAX,
        SIGNATURE[:5] + b"x",
        v2(0x11, 0x11, TCP4),
        v2(0x22, 0x11, TCP4),
        v2(0x2F, 0x11, TCP4),
        v2(0x21, 0x12, TCP4),
        v2(0x21, 0x31, bytes(216)),
        v2(0x21, 0x41, TCP4),
        v2(0x21, 0x11, TCP4[:-1]),
        v2(0x21, 0x21, TCP4),
        v2(0x21, 0x11, TCP4, V2_BYTES_MAX + 1),
        v2(0x20, 0x00, b"", 0xFFFF),
    ],
)
def test_what_is_no_header_is_an_error_and_early(header: bytes) -> None:
    with pytest.raises(BadHeader):
        HeaderDecoder().feed(header)
    assert isinstance(read(header, list(range(len(header)))), str)


_MUTATED = st.tuples(
    st.sampled_from([header for header, _ in VALID]),
    st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=2)), max_size=3),
).map(lambda drawn: _mutate(*drawn))


def _mutate(header: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    for at, replacement in changes:
        header = header[:at] + replacement + header[at + 1 :]
    return header


def read(data: bytes, cuts: list[int]) -> tuple[int, bool, Address | None] | str:
    decoder = HeaderDecoder()
    taken = 0
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    try:
        for low, high in pairwise(edges):
            taken += decoder.feed(data[low:high])
            assert len(decoder._buffer) <= V1_BYTES_MAX + 1
    except BadHeader as error:
        return str(error)
    return taken, decoder.done, decoder.client


@example(b"PROXY ", [])
@given(_MUTATED | st.binary(max_size=80), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_are_a_header_or_an_error_however_they_are_cut(
    data: bytes, cuts: list[int]
) -> None:
    assert read(data, cuts) == read(data, [])
