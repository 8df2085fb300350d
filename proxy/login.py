"""The pod's side of a login, without I/O: passed on message by message until ReadyForQuery.

Two messages are looked at. BackendKeyData gets the proxy's own secret, so that a cancel request
finds its way and the pod's real secret stays inside. An ErrorResponse as the very first message may
mean that the pod is draining or not ready: then the client is told nothing and another pod tried.
"""

import struct
from collections.abc import Callable

from pgwire import backend, notices
from pgwire.errors import ProtocolViolation
from pgwire.framing import Frame, FrameDecoder

LOGIN_MESSAGE_BYTES_MAX = 64 << 10
_REFUSALS = frozenset({"57P01", "57P03"})
"""admin_shutdown and cannot_connect_now."""
_PID = struct.Struct(">I")

NewSecret = Callable[[int, bytes], bytes]
"""Takes the pod's pid and secret, returns the secret to tell the client instead."""


class PodRefused(Exception):
    """The pod takes no sessions (any more); the argument is its SQLSTATE."""


class Login:
    """Feed it what the pod sends; it says what to send to the client, until `ready`."""

    def __init__(self, new_secret: NewSecret) -> None:
        self.ready = False
        self.failed = False
        """The pod has answered with an error and will hang up."""
        self.answered = False
        """The pod has taken the session, whatever becomes of the login."""
        self._new_secret = new_secret
        self._decoder = FrameDecoder(body_bytes_max=LOGIN_MESSAGE_BYTES_MAX, small=frozenset())

    def feed(self, data: bytes) -> bytes:
        """The bytes for the client. Raises PodRefused, and ProtocolViolation from a broken pod."""
        self._decoder.feed(data)
        out = []
        while not self.ready and (frame := self._decoder.next()) is not None:
            out.append(self._pass_on(frame))
        if self.ready:
            out.append(self._decoder.rest())
        return b"".join(out)

    def _pass_on(self, frame: Frame) -> bytes:
        kind, body = chr(frame.kind), frame.body
        if kind == "E":
            self._note_error(body)
        elif kind == "K":
            if len(body) < 8:
                raise ProtocolViolation("short BackendKeyData")
            (pid,) = _PID.unpack_from(body)
            return backend.backend_key_data(pid, self._new_secret(pid, body[4:]))
        elif kind == "Z":
            self.ready = True
        self.answered = True
        return backend.message(frame.kind.to_bytes(1, "big"), body)

    def _note_error(self, body: bytes) -> None:
        sqlstate = notices.parse_fields(body).get("C", "")
        if not self.answered and sqlstate in _REFUSALS:
            raise PodRefused(sqlstate)
        self.failed = True
