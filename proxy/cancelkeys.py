"""Cancel keys: what a client shows to have its statement cancelled, at whichever proxy it arrives.

    backend pid = proxy number:10 bits  random:20 bits        secret: 32 random bits

A session's key is made here, before it has a pod, and its pods take it for their own: it stays the
same wherever the session moves. The number in front tells any proxy whose session it is, so that a
request takes one hop at most. As many entries as sessions: each is removed with its own.
"""

import hmac
import random
from dataclasses import dataclass
from typing import Protocol

from dormouse.base.ids import TenantId
from pgwire.link import Link
from pgwire.startup import CancelRequest

NUMBER_SHIFT = 20
_RANDOM_MAX = (1 << NUMBER_SHIFT) - 1


@dataclass(frozen=True, slots=True)
class Target:
    """A session in a pod."""

    tenant: TenantId
    address: str
    request: CancelRequest
    """As the pod knows it."""


class Cancellable(Protocol):
    """A session, as far as its key is concerned."""

    def cancel_target(self) -> Target | None:
        """Where its statements run now; None: nowhere."""
        ...


class CancelKeys:
    """The keys of all sessions of this proxy."""

    def __init__(self) -> None:
        self._sessions: dict[int, tuple[bytes, Cancellable]] = {}
        self._random = random.SystemRandom()

    def __repr__(self) -> str:
        return f"<CancelKeys n={len(self._sessions)}>"

    def issue(self, session: Cancellable, number: int) -> Link:
        """The link of a new session of proxy `number` (0: it has none yet), with a pid of its own.

        Raises RuntimeError if there are as many sessions as pids.
        """
        if len(self._sessions) >= _RANDOM_MAX // 2:
            raise RuntimeError("too many sessions")
        link = Link.new(self._free_pid(number << NUMBER_SHIFT))
        self._sessions[link.pid] = link.cancel_secret, session
        return link

    def find(self, shown: CancelRequest) -> Target | None:
        """Where the request has to go; None: there is no such key here, or nothing to cancel."""
        secret, session = self._sessions.get(shown.pid, (b"", None))
        if session is None or not hmac.compare_digest(secret, shown.secret):
            return None
        return session.cancel_target()

    def owner_of(self, shown: CancelRequest) -> int:
        """The number of the proxy whose session this would be."""
        return shown.pid >> NUMBER_SHIFT

    def revoke(self, link: Link) -> None:
        """The session has ended."""
        self._sessions.pop(link.pid, None)

    def _free_pid(self, first: int) -> int:
        while (pid := first + self._random.randint(1, _RANDOM_MAX)) in self._sessions:
            pass  # at most every second one is taken
        return pid
