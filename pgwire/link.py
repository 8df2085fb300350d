"""What a proxy and a pod say to each other inside a session, beside PostgreSQL's own protocol.

A proxy opens a session with a *link*: an option in the startup message that carries the cancel key
the client is to be given and a secret that clients never see. From then on frames of type `M` may
stand between the messages of either direction:

    proxy ──▶ pod    give away   secret:16  purpose:u8       this session, to move or to park
                     resume      sealed…                     first thing after the startup message
    pod ──▶ proxy    checkpoint  'c' sealed…   before a ReadyForQuery (idle) after which the session
                                               could be taken up elsewhere; replaces the one before
                     held        'h' reason…   likewise, where it could not be: there is none now
                     given away  'g' sealed…   the answer: the pod has let go and hangs up
                     refused     'r' reason…   the answer: nothing has changed

`sealed` is the session's state under a key that the tenant's pods alone have; to a proxy it is
opaque. The give-away is in-band, so that everything the client sent before it is answered before
it, and what the client sends after it has not been seen by the pod. A pod answers it at once where
it finds it, whatever the state of the session; only between transactions can it agree.

A resumed session is answered like a login: AuthenticationOk, parameters, BackendKeyData, a
checkpoint, ReadyForQuery; or a FATAL error.
"""

import hmac
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import Self

from pgwire.backend import message
from pgwire.errors import ProtocolViolation

LINK_OPTION = "_pq_.dormouse_link"
RESUME_OPTION = "_pq_.dormouse_resume"
"""Set to `on` where a `resume` frame follows the startup message."""
PRIVATE_OPTIONS = frozenset({LINK_OPTION, RESUME_OPTION})
"""A proxy refuses these from its clients."""

KIND = ord("M")
CANCEL_SECRET_BYTES = 4
LINK_SECRET_BYTES = 16
SEALED_BYTES_MAX = 4 << 20
"""No session's state is longer; a session with more stays where it is."""
REASON_BYTES_MAX = 1000


class Purpose(Enum):
    """What a session is given away for: how long its state can be taken up depends on it."""

    MOVE = b"m"
    PARK = b"p"


@dataclass(frozen=True, slots=True)
class Link:
    """The startup option: who the session is to its client, and to its proxy."""

    pid: int
    """1 to 2**31 - 1; the pod takes it as its backend pid, unless it is taken."""
    cancel_secret: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Link(pid={self.pid})"

    @classmethod
    def new(cls, pid: int) -> Self:
        """A link with new secrets."""
        return cls(
            pid, secrets.token_bytes(CANCEL_SECRET_BYTES), secrets.token_bytes(LINK_SECRET_BYTES)
        )

    @classmethod
    def parse(cls, value: str) -> Self:
        """The option's value. Raises ProtocolViolation."""
        try:
            pid, cancel_secret, secret = value.split(".")
            link = cls(int(pid), bytes.fromhex(cancel_secret), bytes.fromhex(secret))
        except ValueError:
            raise ProtocolViolation("invalid link") from None
        sizes = len(link.cancel_secret), len(link.secret)
        if sizes != (CANCEL_SECRET_BYTES, LINK_SECRET_BYTES) or not 0 < link.pid < 2**31:
            raise ProtocolViolation("invalid link")
        return link

    def option(self) -> str:
        """The option's value."""
        return f"{self.pid}.{self.cancel_secret.hex()}.{self.secret.hex()}"

    def give_away(self, purpose: Purpose) -> bytes:
        """The frame that asks for the session."""
        return message(b"M", self.secret + purpose.value)

    def purpose_of(self, body: bytes) -> Purpose:
        """What a `give away` frame asks for. Raises ProtocolViolation without the secret."""
        if hmac.compare_digest(body[:LINK_SECRET_BYTES], self.secret):
            for purpose in Purpose:
                if body[LINK_SECRET_BYTES:] == purpose.value:
                    return purpose
        raise ProtocolViolation("invalid frontend message type 77")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The session could be taken up from this state."""

    sealed: bytes

    def __repr__(self) -> str:
        return f"Checkpoint({len(self.sealed)} bytes)"

    def build(self) -> bytes:
        """The frame."""
        return message(b"M", b"c" + self.sealed)


@dataclass(frozen=True, slots=True)
class Held:
    """The session cannot be taken up elsewhere now."""

    reason: str

    def build(self) -> bytes:
        """The frame."""
        return message(b"M", b"h" + _reason(self.reason))


@dataclass(frozen=True, slots=True)
class GivenAway:
    """The session is no longer the pod's."""

    sealed: bytes

    def __repr__(self) -> str:
        return f"GivenAway({len(self.sealed)} bytes)"

    def build(self) -> bytes:
        """The frame."""
        return message(b"M", b"g" + self.sealed)


@dataclass(frozen=True, slots=True)
class Refused:
    """The session stays where it is."""

    reason: str

    def build(self) -> bytes:
        """The frame."""
        return message(b"M", b"r" + _reason(self.reason))


PodFrame = Checkpoint | Held | GivenAway | Refused


def parse_pod_frame(body: bytes) -> PodFrame:
    """The body of a frame that came from a pod. Raises ProtocolViolation."""
    rest = body[1:]
    match body[:1]:
        case b"c":
            return Checkpoint(rest)
        case b"h":
            return Held(rest.decode(errors="replace"))
        case b"g":
            return GivenAway(rest)
        case b"r":
            return Refused(rest.decode(errors="replace"))
    raise ProtocolViolation("unknown link frame")


def resume(sealed: bytes) -> bytes:
    """The frame that follows a startup message with RESUME_OPTION."""
    return message(b"M", sealed)


def _reason(text: str) -> bytes:
    return text.encode()[:REASON_BYTES_MAX]
