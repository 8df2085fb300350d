"""One tenant's account with the node: what it was served, and when it may be served again.

Two sums of the same seconds. `served` orders those that wait: the least served is next, on a scale
that all shares have in common (start-time fair queueing), with a head start for who is modest.
`paid_until` holds one tenant back, for itself: a second of the node is paid for with 1 / PART
seconds of time.

    served  ██      ██      ██      a slice at a time
    paid    ──────▶ ──────▶ ──────▶ not again before that, while somebody modest is about

Who asks now and then has credit, and never meets the second one, not even after a commit for which
the disk took long: it is modest. Who was held back lately has next to none: it always has more to
ask. Who has had more than its part lately, held back or not, is greedy.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from proto import kv_pb2 as kv

Handle = Callable[[kv.Request], None]

PART = 1 / 3
"""Of the node's time, that one tenant may have while another is about that asks for less."""
CREDIT_SECONDS = 0.04
"""How much of what it did not use a tenant may make up for: 20 ms of the node at once."""
HELD_CREDIT_SECONDS = 0.004
"""Likewise, of one that is held back: timers come late by as much as a millisecond."""
HELD_SECONDS = 0.1
"""How long a tenant that was held back, or had more than its part, counts as one that asks for all
it can get."""
HEAD_START_SECONDS = 0.02
"""By how much more than others it may have been served and is next all the same, while it is
modest: its last commit is not to make its next read wait for theirs. No more than that, for many
who are modest can fill a node too."""
PAUSE_SECONDS_MAX = 0.02
"""Nobody waits longer for what it has had."""
DEBT_SECONDS = 0.1
WINDOW_SECONDS = 0.02
SMOOTHING = 0.2
FACTOR_MAX = 8.0


class Share:
    """Made with the tenant's live state. Times are in seconds, of a clock that goes forward."""

    __slots__ = (
        "copying",
        "held_at",
        "over_at",
        "paid_until",
        "queue",
        "reading",
        "reads",
        "served",
        "writing",
    )

    def __init__(self) -> None:
        self.served = 0.0
        """Seconds, on the scale of all shares."""
        self.paid_until = 0.0
        """Not to be served before, while somebody modest is about."""
        self.held_at = -HELD_SECONDS
        """When it had to wait for that last."""
        self.over_at = -HELD_SECONDS
        """When it had had more than its part last."""
        self.queue: deque[tuple[Handle, kv.Request]] = deque()
        self.reads: deque[asyncio.Future[None]] = deque()
        self.reading = 0
        """Reads of the engine that go on."""
        self.writing = 0
        """Bytes on their way to the disk."""
        self.copying = 0
        """Bytes that are on the disk, and on their way to their place there just now."""

    def __repr__(self) -> str:
        return (
            f"<Share served={self.served:.3f} queue={len(self.queue)} reads={len(self.reads)}"
            f" reading={self.reading} writing={self.writing}>"
        )

    def join(self, base: float) -> None:
        """Begin to wait: where those stand that are served just now, or a little ahead."""
        self.served = min(max(self.served, base), base + DEBT_SECONDS)

    def charge(self, seconds: float, now: float) -> None:
        """So much of the node's time was spent on it, up to now."""
        self.served += seconds
        held = now - self.held_at < HELD_SECONDS
        credit = HELD_CREDIT_SECONDS if held else CREDIT_SECONDS
        paid = max(self.paid_until, now - seconds - credit) + seconds / PART
        self.paid_until = min(paid, now + PAUSE_SECONDS_MAX)
        if self.paid_until > now:
            self.over_at = now

    def place(self, now: float) -> float:
        """Where it stands among those that wait, seconds: the least is next."""
        return self.served - HEAD_START_SECONDS if self.modest(now) else self.served

    def modest(self, now: float) -> bool:
        """Whether it asks for no more than its part."""
        return now - self.over_at >= HELD_SECONDS


class Work:
    """What the event loop works in all, as a multiple of what tenants were charged.

    Much of what a request costs is outside of its slice: gRPC parses its frame and sends its reply.
    So what is charged is scaled until it covers what the thread's own clock says.
    """

    __slots__ = ("_began", "_charged", "_factor", "_worked", "_worked_before")

    def __init__(self, worked: Callable[[], float]) -> None:
        self._worked = worked
        self._worked_before = 0.0
        self._began = 0.0
        self._charged = 0.0
        self._factor = 1.0

    def cost(self, seconds: float, now: float) -> float:
        """What to charge for so many seconds of a slice, a read or a write that end now."""
        self._charged += seconds
        if now - self._began >= WINDOW_SECONDS:
            worked = self._worked()
            # A longer window was not contended all the time.
            if now - self._began < 2 * WINDOW_SECONDS:
                found = (worked - self._worked_before) / max(self._charged, 1e-6)
                self._factor += SMOOTHING * (min(max(found, 1.0), FACTOR_MAX) - self._factor)
            self._began, self._worked_before, self._charged = now, worked, 0.0
        return seconds * self._factor
