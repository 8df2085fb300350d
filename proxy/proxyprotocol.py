"""The PROXY protocol's header, version 1 and 2: what a load balancer says about its client. Pure.

    v1   PROXY TCP4 203.0.113.7 192.0.2.1 56324 5432\\r\\n           one line of at most 107 bytes
         PROXY UNKNOWN …\\r\\n
    v2   \\r\\n\\r\\n\\0\\r\\nQUIT\\n  2c:u8  family:u8  length:u16   addresses  TLVs…
                              2: the version; c: 0 LOCAL, 1 PROXY

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

The header comes before anything else, and everything behind it is somebody else's: the decoder says
how many of the bytes it was shown belong to the header. It keeps at most a line or a fixed header
with its addresses; what a length field announces is counted down, never kept. LOCAL (the balancer's
own health check), UNKNOWN and UNSPEC name no client: the socket's address counts.
"""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from proxy.addresses import Address, unmapped

V1_BYTES_MAX = 107
V2_BYTES_MAX = 4096
"""Of addresses and TLVs. TLVs are for certificates' names and the like, and all skipped."""
PIECE_BYTES = 512
"""How much it is worth to show the decoder at a time."""

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1_START = b"PROXY "
_FIXED = struct.Struct("!12sBBH")
_TCP4 = struct.Struct("!4s4sHH")
_TCP6 = struct.Struct("!16s16sHH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _STREAM4, _STREAM6 = 0x00, 0x11, 0x21
_ADDRESSES = {_STREAM4: _TCP4, _STREAM6: _TCP6}


class BadHeader(Exception):
    """No PROXY header; the argument says why, for the log."""


class HeaderDecoder:
    """One header out of the first bytes of a connection."""

    def __init__(self) -> None:
        self.done = False
        self.client: Address | None = None
        """Once `done`: who the client is; None where the header names nobody."""
        self._buffer = bytearray()
        self._skip = 0

    def feed(self, data: bytes) -> int:
        """Take what belongs to the header; returns how many bytes that were. Raises BadHeader.

        All of `data` is taken unless the header ends in it.
        """
        taken = 0
        while not self.done and taken < len(data):
            first = self._buffer[0] if self._buffer else data[taken]
            if first == _V1_START[0]:
                taken = self._take_line(data, taken)
            elif first == SIGNATURE[0]:
                taken = self._take_binary(data, taken)
            else:
                raise BadHeader("no PROXY header")
        return taken

    def _take_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at) + 1 or len(data)
        self._buffer += data[at : min(end, at + V1_BYTES_MAX + 1)]
        if not _V1_START.startswith(self._buffer[: len(_V1_START)]):
            raise BadHeader("no PROXY header")
        if len(self._buffer) > V1_BYTES_MAX:
            raise BadHeader("line too long")
        if self._buffer.endswith(b"\n"):
            self.client = parse_line(bytes(self._buffer))
            self.done = True
        return end

    def _take_binary(self, data: bytes, at: int) -> int:
        if self._skip:
            step = min(self._skip, len(data) - at)
            self._skip -= step
            self.done = not self._skip
            return at + step
        wanted = _FIXED.size if len(self._buffer) < _FIXED.size else self._kept()
        piece = data[at : at + wanted - len(self._buffer)]
        self._buffer += piece
        if not SIGNATURE.startswith(self._buffer[: len(SIGNATURE)]):
            raise BadHeader("no PROXY header")
        if len(self._buffer) >= _FIXED.size and len(self._buffer) == self._kept():
            self._parse_binary()
        return at + len(piece)

    def _fields(self) -> tuple[int, int, int]:
        """Command, family and length, checked."""
        _, command, family, length = _FIXED.unpack_from(self._buffer)
        if command not in (_LOCAL, _PROXY):
            raise BadHeader("unknown version or command")
        if length > V2_BYTES_MAX:
            raise BadHeader("header too long")
        if command == _PROXY and family != _UNSPEC:
            if family not in _ADDRESSES:
                raise BadHeader("not TCP over IPv4 or IPv6")
            if length < _ADDRESSES[family].size:
                raise BadHeader("addresses too short")
        return command, family, length

    def _kept(self) -> int:
        """How long fixed header and addresses are together."""
        command, family, _ = self._fields()
        named = command == _PROXY and family != _UNSPEC
        return _FIXED.size + (_ADDRESSES[family].size if named else 0)

    def _parse_binary(self) -> None:
        _, family, length = self._fields()
        addresses = self._buffer[_FIXED.size :]
        if addresses:
            source = _ADDRESSES[family].unpack(addresses)[0]
            kind = IPv4Address if family == _STREAM4 else IPv6Address
            self.client = unmapped(kind(source))
        self._skip = length - len(addresses)
        self.done = not self._skip


def parse_line(line: bytes) -> Address | None:
    """The client of a whole version 1 line. Raises BadHeader."""
    if not line.endswith(b"\r\n"):
        raise BadHeader("line ends without a carriage return")
    words = line[:-2].split(b" ")
    if words[:2] == [b"PROXY", b"UNKNOWN"]:
        return None
    if len(words) != 6 or words[0] != b"PROXY" or words[1] not in (b"TCP4", b"TCP6"):
        raise BadHeader("malformed line")
    for port in words[4:]:
        _check_port(port)
    family = socket.AF_INET if words[1] == b"TCP4" else socket.AF_INET6
    _address(family, words[3])
    return unmapped(_address(family, words[2]))


def _address(family: socket.AddressFamily, word: bytes) -> Address:
    try:
        if b"%" in word:
            raise ValueError("an address with a zone")
        text = word.decode("ascii")
        return IPv4Address(text) if family is socket.AF_INET else IPv6Address(text)
    except ValueError as error:
        raise BadHeader("malformed address") from error


def _check_port(word: bytes) -> None:
    canonical = word == b"0" or (word.isdigit() and not word.startswith(b"0"))
    if not canonical or len(word) > 5 or int(word) > 0xFFFF:
        raise BadHeader("malformed port")
