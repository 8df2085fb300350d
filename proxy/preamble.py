"""The bytes before TLS, read from the bare socket and not one too many.

    0x16…                direct TLS: nothing is consumed
    GSSENCRequest        N, and on
    SSLRequest           S, and TLS follows
    CancelRequest        taken in the clear, as PostgreSQL does
    StartupMessage       the client does not want TLS: an error, in the clear

Since only whole packets are taken from the socket, whatever a man in the middle may have put behind
an SSLRequest goes to the TLS handshake, which it fails; it never counts as having come through TLS.
"""

import asyncio
import socket
import struct
from enum import Enum

from pgwire.errors import ProtocolViolation
from pgwire.startup import (
    STARTUP_BYTES_MAX,
    CancelRequest,
    GssEncRequest,
    SslRequest,
    StartupMessage,
    parse_packet,
)
from proxy.addresses import Address
from proxy.errors import needs_tls
from proxy.proxyprotocol import PIECE_BYTES, HeaderDecoder

_LENGTH = struct.Struct(">I")
_TLS_HANDSHAKE = b"\x16"
_REQUESTS_MAX = 3


class Opening(Enum):
    """How TLS begins."""

    DIRECT = "direct"
    REQUESTED = "requested"


class ClientGone(Exception):
    """The client hung up; nobody is left to be told anything."""


async def open_connection(client: socket.socket) -> Opening | CancelRequest:
    """Read up to where TLS begins, or a cancel request.

    Raises ClientGone, Rejected (a startup without TLS), ProtocolViolation, OSError.
    """
    if await _peek(client, 1) == _TLS_HANDSHAKE:
        return Opening.DIRECT
    loop = asyncio.get_running_loop()
    for _ in range(_REQUESTS_MAX):
        match await _read_packet(client):
            case CancelRequest() as cancel:
                return cancel
            case SslRequest():
                await loop.sock_sendall(client, b"S")
                return Opening.REQUESTED
            case GssEncRequest():
                await loop.sock_sendall(client, b"N")
            case StartupMessage():
                raise needs_tls()
    raise ProtocolViolation("too many requests before TLS")


async def read_proxy_header(client: socket.socket) -> Address | None:
    """The client that the PROXY header names, if it names one. Takes the header and no more.

    Raises BadHeader, ClientGone, OSError.
    """
    decoder = HeaderDecoder()
    while not decoder.done:
        taken = decoder.feed(await _peek(client, PIECE_BYTES))
        client.recv(taken)
    return decoder.client


async def _peek(client: socket.socket, count: int) -> bytes:
    """Up to `count` bytes that are there, left where they are; waits for the first."""
    loop = asyncio.get_running_loop()
    while True:
        readable = loop.create_future()
        loop.add_reader(client, _settle, readable)
        try:
            await readable
        finally:
            loop.remove_reader(client)
        try:
            data = client.recv(count, socket.MSG_PEEK)
        except BlockingIOError:
            continue  # woken for nothing
        if not data:
            raise ClientGone
        return data


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _read_packet(
    client: socket.socket,
) -> CancelRequest | SslRequest | GssEncRequest | StartupMessage:
    (length,) = _LENGTH.unpack(await _read_exactly(client, _LENGTH.size))
    if not 8 <= length <= STARTUP_BYTES_MAX:
        raise ProtocolViolation("invalid length of startup packet")
    return parse_packet(await _read_exactly(client, length - _LENGTH.size))


async def _read_exactly(client: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        piece = await loop.sock_recv(client, count - len(data))
        if not piece:
            raise ClientGone
        data += piece
    return data
