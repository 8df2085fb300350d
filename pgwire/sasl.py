"""The bodies of `p` messages during a SASL exchange."""

import struct
from dataclasses import dataclass

from pgwire.frontend import message
from pgwire.reader import BodyReader

_I32 = struct.Struct(">i")

AUTHENTICATION_BYTES_MAX = 65_535
"""Bound of a message before the peer has authenticated (PG_MAX_AUTH_TOKEN_LENGTH)."""


@dataclass(frozen=True, slots=True)
class InitialResponse:
    """The mechanism a client chose, and its first message, if it sent one along."""

    mechanism: str
    data: bytes | None


def parse_initial(body: bytes) -> InitialResponse:
    """The first `p` body. Raises ProtocolViolation."""
    reader = BodyReader(body)
    mechanism, length = reader.text(), reader.i32()
    data = None if length == -1 else reader.take(length)
    reader.end()
    return InitialResponse(mechanism, data)


def build_initial(mechanism: str, data: bytes) -> bytes:
    """SASLInitialResponse as a message."""
    return message(b"p", mechanism.encode() + b"\0" + _I32.pack(len(data)) + data)


def build_response(data: bytes) -> bytes:
    """SASLResponse as a message."""
    return message(b"p", data)
