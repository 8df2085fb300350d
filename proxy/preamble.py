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
from proxy.errors import needs_tls

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
    if await _peek(client) == _TLS_HANDSHAKE:
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


async def _peek(client: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    readable = loop.create_future()

    def on_readable() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(client, on_readable)
    try:
        await readable
    finally:
        loop.remove_reader(client)
    first = client.recv(1, socket.MSG_PEEK)
    if not first:
        raise ClientGone
    return first


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
