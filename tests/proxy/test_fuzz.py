"""Whatever strangers send: an answer of ours or the end of the connection, and nothing worse."""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base.errors import DormouseError
from pgwire.errors import ProtocolViolation
from pgwire.framing import FrameDecoder
from pgwire.startup import (
    GSSENC_REQUEST,
    SSL_REQUEST,
    STARTUP_BYTES_MAX,
    CancelRequest,
    StartupDecoder,
    StartupMessage,
    parse_packet,
)
from proxy.config import ProxyLimits
from proxy.peers import _read_request
from proxy.preamble import ClientGone, Opening, open_connection, read_proxy_header
from proxy.proxyprotocol import SIGNATURE, BadHeader
from proxy.routing import route
from tests.proxy.client import connected, open_socket
from tests.proxy.doubles import Setup, proxied

STARTUP = StartupMessage(
    {"user": "ann.demo-17", "database": "demo-17.shop", "options": r"--tenant=demo-17 -c a=\ b"},
    2,
    {"_pq_.x": "1"},
).build()
CANCEL = CancelRequest(5 << 20 | 77, b"abcd").build()
HEADERS = (
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 5432\r\n",
    b"PROXY UNKNOWN\r\n",
    SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 12) + bytes(12),
    SIGNATURE + struct.pack("!BBH", 0x20, 0x00, 0),
)
PACKETS = (STARTUP, CANCEL, SSL_REQUEST, GSSENC_REQUEST, GSSENC_REQUEST + SSL_REQUEST)


def _mutate(valid: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """Replace pieces: `count` bytes at a place, by others."""
    for at, count, replacement in changes:
        place = at % (len(valid) + 1)
        valid = valid[:place] + replacement + valid[place + count :]
    return valid


def mutated(valid: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    change = st.tuples(st.integers(0, 200), st.integers(0, 4), st.binary(max_size=4))
    return st.builds(_mutate, st.sampled_from(valid), st.lists(change, max_size=4)) | st.binary(
        max_size=64
    )


def run_with_socket(data: bytes, read: Callable[[socket.socket], Coroutine[Any, Any, Any]]) -> Any:
    """What `read` makes of a connection on which `data` comes, and then the end."""

    async def main() -> Any:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(10):
                return await read(ours), ours.recv(1 << 16)

    return asyncio.run(main())


@given(mutated(PACKETS))
def test_openings(data: bytes) -> None:
    try:
        opening, rest = run_with_socket(data, open_connection)
    except (DormouseError, ClientGone):
        return
    if opening is Opening.DIRECT:
        assert rest == data  # all of it is for the handshake
    elif opening is Opening.REQUESTED:
        assert data.endswith(SSL_REQUEST + rest)
    else:
        assert isinstance(opening, CancelRequest)
        assert opening.build() == data[: len(data) - len(rest)][-len(opening.build()) :]


@given(mutated(HEADERS), st.binary(max_size=16))
def test_headers_take_their_own_bytes_only(data: bytes, behind: bytes) -> None:
    try:
        _, rest = run_with_socket(data + behind, read_proxy_header)
    except (BadHeader, ClientGone, BlockingIOError):
        return
    assert (data + behind).endswith(rest)


@given(mutated((STARTUP, CANCEL)), st.lists(st.integers(0, 200), max_size=4))
def test_startup_packets_in_pieces_of_any_size(data: bytes, cuts: list[int]) -> None:
    def read(edges: list[int]) -> object:
        decoder = StartupDecoder()
        try:
            for low, high in zip([0, *edges], [*edges, len(data)], strict=True):
                decoder.feed(data[low:high])
                assert decoder.buffered <= len(data)
                if (packet := decoder.next()) is not None:
                    return packet
        except DormouseError as error:
            return error.message
        return None

    edges = sorted(min(cut, len(data)) for cut in cuts)
    assert read(edges) == read([])


@given(st.integers(0, 2**32 - 1))
def test_a_length_is_refused_before_anything_is_made_of_it(length: int) -> None:
    decoder = StartupDecoder()
    decoder.feed(length.to_bytes(4, "big"))
    if 8 <= length <= STARTUP_BYTES_MAX:
        assert decoder.next() is None
    else:
        with pytest.raises(ProtocolViolation):
            decoder.next()


@given(mutated((STARTUP[4:],)), st.none() | st.text(max_size=20))
def test_what_parses_is_routed_or_refused_and_can_be_built_again(
    packet: bytes, sni: str | None
) -> None:
    try:
        startup = parse_packet(packet)
    except DormouseError:
        return
    if not isinstance(startup, StartupMessage):
        return
    try:
        routed = route(startup, sni)
    except DormouseError:
        return
    assert parse_packet(routed.startup.build()[4:]) == routed.startup


@given(mutated((CANCEL,)))
def test_peers_take_cancel_requests_and_nothing_else(data: bytes) -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        try:
            request = await _read_request(reader)
        except (ProtocolViolation, asyncio.IncompleteReadError):
            return
        assert data.startswith(request.build())

    asyncio.run(main())


# The whole proxy


_TALK = st.lists(mutated((*PACKETS, *HEADERS)), min_size=1, max_size=4)


def test_a_proxy_outlives_all_of_it(tmp_path: Path) -> None:
    talks: list[list[bytes]] = []

    @settings(max_examples=60, database=None)
    @given(_TALK)
    def collect(talk: list[bytes]) -> None:
        talks.append(talk)

    collect()

    async def main() -> None:
        # Long enough for sixty handshakes at once on a busy machine.
        limits = ProxyLimits(startup_timeout=3.0, login_timeout=3.0)
        async with asyncio.timeout(120), proxied(tmp_path, limits) as setup:
            await asyncio.gather(*(_plain(setup, talk) for talk in talks))
            await asyncio.gather(*(_inside_tls(setup, talk) for talk in talks))
            async with connected(setup) as client:
                await client.log_in()
                assert await client.query()

    uvloop.run(main())


async def _inside_tls(setup: Setup, talk: list[bytes]) -> None:
    async with connected(setup) as client:
        client.writer.writelines(talk)
        _answered_in_frames(await _read(client.reader))


async def _plain(setup: Setup, talk: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection(sock=await open_socket(setup.port))
    try:
        writer.writelines(talk)
        await _read(reader)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def _answered_in_frames(data: bytes) -> None:
    """Inside TLS the proxy and the pod speak the protocol, whatever they were told."""
    frames = FrameDecoder()
    frames.feed(data)
    while frames.next() is not None:
        pass
    assert frames.rest() == b""
