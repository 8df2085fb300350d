"""Counting peers that never get as far as a call.

gRPC turns a peer without a certificate of the installation away inside the TLS handshake, before
any code of ours runs and without a word to it. Two things can be seen from here: that a handshake
begins, and that a call arrives. Clients of ours connect in order to call, so a handshake of which
no call came within a few seconds is a refusal, and is counted as one.

    begun ──▶ unclaimed ──── a new peer calls ──▶ forgotten
                   └──────── nobody within `patience_seconds` ──▶ refused{reason="handshake"}

Which handshake a call belongs to is not known, and need not be: only the numbers matter.
"""

from collections import OrderedDict, deque

import grpc

from dormouse.base.clock import Clock
from dormouse.base.renewal import LiveCredentials
from storage.metrics import HANDSHAKES, REFUSED

_UNCLAIMED_MAX = 100_000
_PEERS_MAX = 100_000


class Handshakes:
    """Handshakes that wait for their first call."""

    def __init__(self, clock: Clock, *, patience_seconds: float) -> None:
        self._clock = clock
        self._patience_seconds = patience_seconds
        # Appended to on gRPC's threads: beyond its bound the oldest fall out uncounted.
        self._unclaimed: deque[float] = deque(maxlen=_UNCLAIMED_MAX)
        self._peers: OrderedDict[str, float] = OrderedDict()

    def begun(self) -> None:
        """A handshake begins; may be called on any thread."""
        HANDSHAKES.inc()
        self._unclaimed.append(self._clock.monotonic())

    def called(self, peer: str) -> None:
        """A call arrived from `peer` (address and port)."""
        known = self._peers.pop(peer, None)
        self._peers[peer] = self._clock.monotonic()
        if known is None and self._unclaimed:
            self._unclaimed.popleft()
        if len(self._peers) > _PEERS_MAX:
            self._peers.popitem(last=False)

    def expire(self) -> int:
        """Count the handshakes nobody called after as refused; how many these were."""
        before = self._clock.monotonic() - self._patience_seconds
        refused = 0
        while self._unclaimed and self._unclaimed[0] < before:
            self._unclaimed.popleft()
            refused += 1
        REFUSED.labels("handshake").inc(refused)
        return refused

    def credentials(self, credentials: LiveCredentials) -> grpc.ServerCredentials:
        """What a server presents, with every handshake reported to `begun`."""
        return credentials.for_grpc_server(self.begun)
