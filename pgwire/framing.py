"""Cutting a byte stream into protocol messages, without trusting a length or copying twice.

    message = type:u8  length:u32 (itself and the body, not the type)  body…

`FrameDecoder` hands out whole messages one by one. What was fed and not yet asked for is its queue,
so `buffered` is what an owner bounds by not reading from the socket. For bytes that are passed on
unread there is `pgwire.exchange`.
"""

import struct
from typing import NamedTuple

from pgwire.errors import ProtocolViolation

_HEADER = struct.Struct(">BI")
_HEADER_BYTES = 5

BODY_BYTES_MAX = 1 << 28
"""No message is longer than this, whatever the owner of a decoder allows."""
SMALL_BODY_BYTES_MAX = 10_000
"""Bound of the messages that carry names only (PostgreSQL's PQ_SMALL_MESSAGE_LIMIT)."""

_SMALL_FRONTEND = frozenset(b"CDEHScfX")


class Frame(NamedTuple):
    """A message as it came: `kind` is its type byte as a number."""

    kind: int
    body: bytes


class FrameDecoder:
    """Whole messages out of pieces of any size.

    `body_bytes_max` may be changed at any time (it is small until a peer has authenticated).
    `small` are the types that are bounded by SMALL_BODY_BYTES_MAX besides.
    """

    __slots__ = ("_at", "_data", "_more", "_needed", "_small", "body_bytes_max")

    def __init__(
        self, *, body_bytes_max: int = BODY_BYTES_MAX, small: frozenset[int] = _SMALL_FRONTEND
    ) -> None:
        self.body_bytes_max = body_bytes_max
        self._small = small
        self._data = b""
        self._at = 0
        self._more = bytearray()
        self._needed = _HEADER_BYTES

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet handed out."""
        return len(self._data) - self._at + len(self._more)

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        if self._at == len(self._data) and not self._more:
            self._data = data  # the usual case: whole messages in one piece, kept as it came
            self._at = 0
        else:
            self._more += data

    @property
    def following(self) -> int:
        """The kind of the message that `next` gives next, 0 where nothing of it is here."""
        if self._at < len(self._data):
            return self._data[self._at]
        return self._more[0] if self._more else 0

    def next(self) -> Frame | None:
        """The next whole message, None until more is fed. Raises ProtocolViolation."""
        data, at = self._data, self._at
        if len(data) - at < self._needed:
            if self.buffered < self._needed:
                return None
            data, at = self._join(), 0
        kind, length = _HEADER.unpack_from(data, at)
        end = at + 1 + length
        if end > len(data):
            self._check(kind, length)
            self._needed = length + 1
            if self.buffered < self._needed:
                return None
            data, at = self._join(), 0
            end = length + 1
        elif length < 4 or length > SMALL_BODY_BYTES_MAX:
            self._check(kind, length)
        self._at = end
        self._needed = _HEADER_BYTES
        return Frame(kind, data[at + _HEADER_BYTES : end])

    def run(self, kind: int) -> bytes:
        """The bodies of the whole messages of one kind that come next, end to end; often none.

        For messages whose borders mean nothing (CopyData). A message that `next` would refuse ends
        the run, and so does one of which a part is still in the later pieces.
        """
        data, at, unpack = self._data, self._at, _HEADER.unpack_from
        last = len(data) - _HEADER_BYTES
        limit = 4 + (SMALL_BODY_BYTES_MAX if kind in self._small else self.body_bytes_max)
        bodies = []
        while at <= last:
            found, length = unpack(data, at)
            end = at + 1 + length
            if found != kind or end > len(data) or not 4 <= length <= limit:
                break
            bodies.append(data[at + _HEADER_BYTES : end])
            at = end
        if bodies:
            self._at = at
            self._needed = _HEADER_BYTES
        return b"".join(bodies)

    def rest(self) -> bytes:
        """Everything not yet handed out, which leaves the decoder empty."""
        data = self._join()
        self._data, self._at, self._needed = b"", 0, _HEADER_BYTES
        return data

    def _join(self) -> bytes:
        self._data = self._data[self._at :] + self._more
        self._at = 0
        self._more = bytearray()
        return self._data

    def _check(self, kind: int, length: int) -> None:
        limit = min(self.body_bytes_max, BODY_BYTES_MAX)
        if kind in self._small:
            limit = min(limit, SMALL_BODY_BYTES_MAX)
        if length < 4 or length - 4 > limit:
            raise ProtocolViolation("invalid message length")
