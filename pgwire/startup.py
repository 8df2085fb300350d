"""The packets before the protocol proper: they have no type byte, and come from strangers.

    packet = length:u32  code:u32  …

A code is a version (major:u16 minor:u16) or one of three requests with the impossible major 1234.
After an SSLRequest that is answered `S` nothing may be left in the buffer: bytes that came in the
clear must never count as bytes that came through TLS. `StartupDecoder.buffered` tells.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgwire.errors import ProtocolViolation
from pgwire.reader import BodyReader

STARTUP_BYTES_MAX = 10_000
"""As PostgreSQL's MAX_STARTUP_PACKET_LENGTH."""
CANCEL_SECRET_BYTES_MAX = 256
PROTOCOL_3_0 = 3 << 16

_SSL = 1234 << 16 | 5679
_GSSENC = 1234 << 16 | 5680
_CANCEL = 1234 << 16 | 5678
_HEADER = struct.Struct(">II")
_U32 = struct.Struct(">I")

SSL_REQUEST = _HEADER.pack(8, _SSL)
GSSENC_REQUEST = _HEADER.pack(8, _GSSENC)


@dataclass(frozen=True, slots=True)
class SslRequest:
    """The client wants TLS; the answer is one byte, S or N."""


@dataclass(frozen=True, slots=True)
class GssEncRequest:
    """The client wants GSSAPI encryption; the answer is N."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """The client wants the running statement of another connection cancelled. No answer."""

    pid: int
    secret: bytes

    def build(self) -> bytes:
        """The packet."""
        length = _HEADER.size + 4 + len(self.secret)
        return _HEADER.pack(length, _CANCEL) + _U32.pack(self.pid & 0xFFFFFFFF) + self.secret


@dataclass(frozen=True, slots=True)
class StartupMessage:
    """A client introduces itself. `parameters` keeps their order; `user` is always there."""

    parameters: Mapping[str, str]
    minor: int = 0
    protocol_options: Mapping[str, str] = field(default_factory=dict)
    """The `_pq_.` options asked for: protocol extensions. Clients have none that we know."""

    def build(self) -> bytes:
        """The packet."""
        pairs = b"".join(
            f"{name}\0{value}\0".encode()
            for part in (self.parameters, self.protocol_options)
            for name, value in part.items()
        )
        body = _U32.pack(PROTOCOL_3_0 + self.minor) + pairs + b"\0"
        return _U32.pack(len(body) + 4) + body


StartupPacket = SslRequest | GssEncRequest | CancelRequest | StartupMessage


class StartupDecoder:
    """Startup packets out of a stream; what follows the last one is `rest()`."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet consumed."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._buffer += data

    def next(self) -> StartupPacket | None:
        """The next packet, None until it is whole. Raises ProtocolViolation."""
        if len(self._buffer) < 4:
            return None
        (length,) = _U32.unpack_from(self._buffer)
        if not 8 <= length <= STARTUP_BYTES_MAX:
            raise ProtocolViolation("invalid length of startup packet")
        if len(self._buffer) < length:
            return None
        packet = bytes(self._buffer[4:length])
        del self._buffer[:length]
        return parse_packet(packet)

    def rest(self) -> bytes:
        """Bytes after the last packet, which leaves the decoder empty."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


def parse_packet(packet: bytes) -> StartupPacket:
    """A packet without its length. Raises ProtocolViolation."""
    reader = BodyReader(packet)
    code = reader.i32() & 0xFFFFFFFF
    if code == _SSL:
        reader.end()
        return SslRequest()
    if code == _GSSENC:
        reader.end()
        return GssEncRequest()
    if code == _CANCEL:
        return _parse_cancel(reader)
    major, minor = code >> 16, code & 0xFFFF
    if major != 3:
        raise ProtocolViolation(
            f"unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0",
            sqlstate="0A000",
        )
    return _parse_parameters(reader, minor)


def _parse_cancel(reader: BodyReader) -> CancelRequest:
    pid = reader.i32() & 0xFFFFFFFF
    secret = reader.take(len(reader.body) - reader.at)
    if not 4 <= len(secret) <= CANCEL_SECRET_BYTES_MAX:
        raise ProtocolViolation("invalid length of cancel request packet")
    return CancelRequest(pid, secret)


def _parse_parameters(reader: BodyReader, minor: int) -> StartupMessage:
    parameters: dict[str, str] = {}
    options: dict[str, str] = {}
    while name := reader.text():
        value = reader.text()
        if name.startswith("_pq_."):
            options[name] = value
        else:
            parameters[name] = value
    if reader.at != len(reader.body):
        raise ProtocolViolation("invalid startup packet layout: expected terminator as last byte")
    if not parameters.get("user"):
        raise ProtocolViolation(
            "no PostgreSQL user name specified in startup packet", sqlstate="28000"
        )
    return StartupMessage(parameters, minor, options)


def parse_options(options: str) -> dict[str, str]:
    """The settings in a startup `options` value: `-c name=value`, `-cname=value`, `--name=value`.

    A backslash escapes a blank, as in PostgreSQL's pg_split_opts; dashes in a `--` name stand for
    underscores. Raises ProtocolViolation (22023) on anything else.
    """
    words = _split(options)
    settings: dict[str, str] = {}
    at = 0
    while at < len(words):
        word = words[at]
        if word == "-c" and at + 1 < len(words):
            at += 1
            assignment = words[at]
        elif (word.startswith("-c") and len(word) > 2) or (word.startswith("--") and len(word) > 2):
            assignment = word[2:]
        else:
            raise ProtocolViolation(
                f"invalid command-line argument for server process: {word}", sqlstate="42601"
            )
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ProtocolViolation(f"-c {name} requires a value", sqlstate="42601")
        settings[name.replace("-", "_")] = value
        at += 1
    return settings


def _split(options: str) -> list[str]:
    words: list[str] = []
    word: list[str] | None = None
    characters = iter(options)
    for character in characters:
        if character.isspace():
            if word is not None:
                words.append("".join(word))
                word = None
            continue
        if word is None:
            word = []
        word.append(next(characters, "") if character == "\\" else character)
    if word is not None:
        words.append("".join(word))
    return words
