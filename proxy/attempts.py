"""Login attempts in turn: the throttle decides, and those it cannot decide about yet stand in line.

The line of a key is first come, first served. Whoever ends an attempt calls the next one, and so
does whoever was called and does not make one; so nobody waits while there is room.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dormouse.base.clock import Clock
from proxy.errors import throttled
from proxy.throttle import Key, Outcome, Throttle


@dataclass(slots=True)
class Attempt:
    """One attempt; whoever makes it notes how it went."""

    outcome: Outcome = Outcome.NEITHER


class Attempts:
    """All attempts of the proxy's clients. The lines are as long as handshakes may be many."""

    def __init__(self, clock: Clock, throttle: Throttle | None = None) -> None:
        self._clock = clock
        self._throttle = throttle or Throttle()
        self._lines: dict[Key, deque[asyncio.Future[None]]] = {}

    def __repr__(self) -> str:
        waiting = sum(map(len, self._lines.values()))
        return f"<Attempts waiting={waiting} {self._throttle}>"

    @asynccontextmanager
    async def attempt(self, key: Key) -> AsyncIterator[Attempt]:
        """Inside the block a password may be tried, once it is this one's turn.

        Raises Rejected where it is too early after those that failed.
        """
        await self._take_turn(key)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            self._throttle.end(key, attempt.outcome, self._clock.monotonic())
            self._call_next(key)

    async def _take_turn(self, key: Key) -> None:
        if key in self._lines:
            await self._stand_in_line(key, first=False)
        while (wait := self._throttle.begin(key, self._clock.monotonic())) is None:
            await self._stand_in_line(key, first=True)  # for it has been called, if not just come
        if wait > 0:
            self._call_next(key)
            raise throttled(wait)

    async def _stand_in_line(self, key: Key, *, first: bool) -> None:
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._lines.setdefault(key, deque())
        (line.appendleft if first else line.append)(called)
        try:
            await called
        except asyncio.CancelledError:
            if not called.cancelled():
                self._call_next(key)  # it was called, and does not come
            raise

    def _call_next(self, key: Key) -> None:
        line = self._lines.get(key)
        while line:
            called = line.popleft()
            if not line:
                del self._lines[key]
            if not called.done():  # those that have left the line are still in it
                called.set_result(None)
                return
