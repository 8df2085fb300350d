"""Where a session stands, told from its bytes as they pass: for whoever relays them unread.

    client ──▶ requested(piece)    Q P B E S …    every Q, F and S asks for one ReadyForQuery
    client ◀── answered(piece)     Z T D C …      every Z pays one back; M frames are taken out

Message borders are exact on both sides whatever the pieces are. A session is *quiescent* when both
sides stand between two messages, every request has got its ReadyForQuery, the last said `idle`, and
no extended message has come since: then, and only then, the server has nothing of it under way.

Three things make the count harder than it looks, all around COPY FROM STDIN:

- what a client still sends for a COPY that has failed meanwhile (d, c, f) is passed over by the
  server, so it is no work;
- a Sync behind the Execute of a COPY is passed over as well: when CopyInResponse comes, the Syncs
  that wait for an answer will get none, and the pipeline is open until the next one;
- if simple queries and Syncs wait together at that moment, nobody can tell which of them those are.
  The count is given up then (`lost`): the session is never called quiescent again until `restart`.

Wherever the count can err (a query inside a pipeline that has failed) it errs on the high side.
"""

import struct
from enum import IntEnum

from pgwire.errors import ProtocolViolation
from pgwire.link import KIND, SEALED_BYTES_MAX, PodFrame, parse_pod_frame

_HEADER = struct.Struct(">BI")
_HEADER_BYTES = 5
_FRAME_BYTES_MAX = SEALED_BYTES_MAX + 1024
_IDLE = ord("I")
_READY, _ERROR, _COPY_IN = b"ZEG"
_NOTED = frozenset({_READY, _ERROR, _COPY_IN, KIND})


class _Effect(IntEnum):
    """What a client's message does to the count."""

    OPENS = 0
    """Work that a request has to end."""
    NONE = 1
    QUERY = 2
    SYNC = 3
    GOODBYE = 4


_EFFECTS = bytearray([_Effect.OPENS]) * 256
for _kinds, _effect in (
    (b"dcfHp", _Effect.NONE),
    (b"QF", _Effect.QUERY),
    (b"S", _Effect.SYNC),
    (b"X", _Effect.GOODBYE),
):
    for _kind in _kinds:
        _EFFECTS[_kind] = _effect
_NONE, _QUERY, _SYNC, _GOODBYE = (int(effect) for effect in list(_Effect)[1:])


class Exchange:
    """See the module. A new one stands behind the startup message and waits for the login's Z."""

    __slots__ = (
        "_client_effect",
        "_client_header",
        "_client_left",
        "_frame",
        "_header",
        "_kind",
        "_left",
        "_mixed",
        "_syncs",
        "errored",
        "goodbye",
        "lost",
        "open",
        "owed",
        "readies",
        "status",
        "taken",
    )

    def __init__(self) -> None:
        self.goodbye = False
        """The client has sent Terminate."""
        self.lost = False
        """The count of requests is no longer known."""
        self.owed = 1
        """ReadyForQuery messages still to come, at most."""
        self.open = False
        """Extended messages have passed that no request has ended."""
        self.readies = 0
        """ReadyForQuery messages that have come."""
        self.status = 0
        """The last one's, as a number: I, T or E; 0 before the first."""
        self.errored = False
        """An ErrorResponse came after the last ReadyForQuery."""
        self.taken: list[PodFrame] = []
        """Frames that `answered` took out of the stream; for its caller to take away."""
        self._mixed = False
        self._syncs = False
        self._client_effect = _NONE
        self._client_header = b""
        self._client_left = 0
        self._header = b""
        self._kind = 0
        self._left = 0
        self._frame: list[bytes] | None = None

    def __repr__(self) -> str:
        state = "quiescent" if self.quiescent else f"owed={self.owed} open={self.open}"
        return f"<Exchange {state} status={chr(self.status or 63)}>"

    @property
    def client_between(self) -> bool:
        """Whether the client's stream stands between two messages."""
        return self._client_left == 0 and not self._client_header

    @property
    def server_between(self) -> bool:
        """Whether the server's stream stands between two messages."""
        return self._left == 0 and not self._header and self._frame is None

    @property
    def quiescent(self) -> bool:
        """Whether the server has nothing of the session under way. See the module."""
        return (
            self.owed == 0
            and self.status == _IDLE
            and not (self.open or self.lost or self.errored or self.goodbye)
            and self.client_between
            and self.server_between
        )

    @property
    def idle(self) -> bool:
        """Whether the last ReadyForQuery said so."""
        return self.status == _IDLE and not self.goodbye

    def restart(self) -> None:
        """Another server has taken the session up and has said that it is ready."""
        self.lost = self.open = self.errored = self._mixed = self._syncs = False
        self.owed, self.status = 0, _IDLE
        self._header, self._left, self._frame = b"", 0, None

    # The client's stream

    def requested(self, data: bytes) -> None:
        """The next piece goes to the server."""
        if self._client_header:
            data, self._client_header = self._client_header + data, b""
        at, size = self._client_left, len(data)
        last, unpack, effects = size - _HEADER_BYTES, _HEADER.unpack_from, _EFFECTS
        effect = self._client_effect
        while at <= last:
            kind, length = unpack(data, at)
            effect = effects[kind]
            if not effect:
                self.open = True
            elif effect != _NONE:
                self._ask(effect)
            if length < 4:
                length = self._give_up()
            at += length + 1
        if at < size:
            self._client_header = data[at:]
            self._client_left = 0
        elif at > size:
            self._client_left = at - size
            self._client_effect = effect
        else:
            self._client_left = 0

    def cut(self, data: bytes) -> int:
        """Behind which byte of the client's next piece the last whole request ends; -1: none."""
        header, effects = len(self._client_header), _EFFECTS
        data = self._client_header + data
        at, size, found = self._client_left, len(data), -1
        effect = self._client_effect if at else _NONE
        while at <= size:
            if effect in (_QUERY, _SYNC):
                found = at - header
            if at > size - _HEADER_BYTES:
                break
            kind, length = _HEADER.unpack_from(data, at)
            at += max(length, 4) + 1
            effect = effects[kind]
        return found

    def _ask(self, effect: int) -> None:
        if effect == _GOODBYE:
            self.goodbye = True
            return
        syncs = effect == _SYNC
        if not self.owed:
            self._syncs, self._mixed = syncs, False
        elif self._syncs != syncs:
            self._mixed = True
        self.owed += 1
        self.open = False  # it ends with the ReadyForQuery of this

    def _give_up(self) -> int:
        """No message is that short: the server will say so. No border is found any more."""
        self.lost = True
        return 1 << 62

    # The server's stream

    def answered(self, data: bytes) -> bytes:
        """The next piece from the server; returns the client's part. Raises ProtocolViolation."""
        if self._header:
            header, self._header = self._header, b""
            return self._scan(header + data, 0, 0 if header[0] == KIND else len(header))
        at, size = self._left, len(data)
        if self._frame is not None:
            self._frame.append(data[:at])
            if at > size:
                self._left = at - size
                return b""
            self._take(b"".join(self._frame))
            return self._scan(data, at, at)
        if at > size:
            self._left = at - size
            return data
        if at and self._kind == _READY:
            self._note_ready(data[at - 1])
        return self._scan(data, at, 0)

    def _scan(self, data: bytes, at: int, start: int) -> bytes:
        """From the border at `at`; what lies before `start` is not the client's (any more)."""
        size, unpack, noted = len(data), _HEADER.unpack_from, _NOTED
        last = size - _HEADER_BYTES
        kind = 0
        parts: list[bytes] = []
        while at <= last:
            kind, length = unpack(data, at)
            if length < 4:
                raise ProtocolViolation("invalid message length")
            end = at + length + 1
            if kind in noted:
                if kind == KIND:
                    parts.append(data[start:at])
                    self._begin_frame(data[at + _HEADER_BYTES : end], end - size)
                    start = end
                elif kind != _READY:
                    self._note(kind)
                elif end <= size:
                    self._note_ready(data[end - 1])
            at = end
        if at < size:
            self._header = data[at:]
            self._left = 0
            if data[at] == KIND:
                parts.append(data[start:at])
                start = size
        else:
            self._left = at - size
            self._kind = kind
        if not start and not parts:
            return data
        parts.append(data[start:])
        return b"".join(parts)

    def _begin_frame(self, body: bytes, left: int) -> None:
        if len(body) + max(left, 0) > _FRAME_BYTES_MAX:
            raise ProtocolViolation("link frame is too long")
        if left > 0:
            self._frame = [body]
        else:
            self._take(body)

    def _take(self, body: bytes) -> None:
        self._frame = None
        self.taken.append(parse_pod_frame(body))

    def _note_ready(self, status: int) -> None:
        self.readies += 1
        self.status = status
        self.errored = False
        if self.owed:
            self.owed -= 1

    def _note(self, kind: int) -> None:
        if kind == _ERROR:
            self.errored = True
        elif self.owed and self._mixed:
            self.lost = True
        elif self.owed and self._syncs:  # they stand behind the Execute that began the COPY
            self.owed = 0
            self.open = True
