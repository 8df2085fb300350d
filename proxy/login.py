"""The pod's side of a login, without I/O: passed on message by message until ReadyForQuery.

Three messages are looked at. BackendKeyData should be the key that the link asked for; a pod where
that pid was taken answers another one, which is kept for cancel requests to it, and the client is
told the link's all the same. An ErrorResponse as the very first message may mean that the pod is
draining or not ready: then the client is told nothing and another pod tried. Frames of the link are
taken out.

A session that is resumed is logged in likewise, only that its client sees nothing of it.
"""

import struct

from pgwire import backend, notices
from pgwire.errors import ProtocolViolation
from pgwire.framing import Frame, FrameDecoder
from pgwire.link import KIND, SEALED_BYTES_MAX, Link, PodFrame, parse_pod_frame
from pgwire.startup import CancelRequest

MESSAGE_BYTES_MAX = SEALED_BYTES_MAX + 1024
_REFUSALS = frozenset({"57P01", "57P03"})
"""admin_shutdown and cannot_connect_now."""
_ERROR, _KEY, _NOTICE, _READY = b"EKNZ"
_PID = struct.Struct(">I")


class PodRefused(Exception):
    """The pod takes no sessions (any more); the argument is its SQLSTATE."""


class ResumeRefused(Exception):
    """No pod will take the session up; `answer` is the FATAL error for its client."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(notices.parse(answer[5:], "latin-1").sqlstate)
        self.answer = answer


class Login:
    """Feed it what the pod sends; it says what to send to the client, until `ready`."""

    def __init__(self, link: Link, *, resumes: bool = False) -> None:
        self.ready = False
        self.failed = False
        """The pod has answered with an error and will hang up."""
        self.sqlstate = ""
        """Of that error."""
        self.answered = False
        """The pod has taken the session, whatever becomes of the login."""
        self.key = CancelRequest(link.pid, link.cancel_secret)
        """The session's key as the pod knows it."""
        self.taken: list[PodFrame] = []
        """Frames that came before ReadyForQuery."""
        self._shown = self.key
        self._resumes = resumes
        self._kept = b"" if resumes else backend.READY_IDLE
        self._decoder = FrameDecoder(body_bytes_max=MESSAGE_BYTES_MAX, small=frozenset())

    def feed(self, data: bytes) -> bytes:
        """The bytes for the client. Raises PodRefused, ResumeRefused, and ProtocolViolation from a
        broken pod."""
        self._decoder.feed(data)
        out = []
        while not self.ready and (frame := self._decoder.next()) is not None:
            out.append(self._pass_on(frame))
        return b"".join(out)

    def rest(self) -> bytes:
        """Once `ready`: ReadyForQuery and what came behind it; that, of a session that is resumed,
        behind the notices that came with the login."""
        return self._kept + self._decoder.rest()

    def _pass_on(self, frame: Frame) -> bytes:
        kind, body = frame
        if kind == _ERROR:
            self._note_error(body)
        elif kind == KIND:
            self.taken.append(parse_pod_frame(body))
            return b""
        elif kind == _READY:
            self.ready = True
            return b""
        self.answered = True
        if kind == _KEY:
            if len(body) < 8:
                raise ProtocolViolation("short BackendKeyData")
            (pid,) = _PID.unpack_from(body)
            self.key = CancelRequest(pid, body[4:])
            body = _PID.pack(self._shown.pid) + self._shown.secret
        passed = backend.message(kind.to_bytes(1, "big"), body)
        if not self._resumes:
            return passed
        if kind == _NOTICE:
            self._kept += passed
        return b""

    def _note_error(self, body: bytes) -> None:
        sqlstate = notices.parse_fields(body, "latin-1").get("C", "")
        if sqlstate in _REFUSALS and (self._resumes or not self.answered):
            raise PodRefused(sqlstate)
        if self._resumes:
            raise ResumeRefused(backend.message(b"E", body))
        self.failed = True
        self.sqlstate = sqlstate
