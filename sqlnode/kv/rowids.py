"""Numbers given out from durable counters in blocks: hidden row ids, OIDs.

A block costs one round trip; blocks grow while they are used up, so that one row costs little waste
and a bulk load few trips. What is left of a block when the pod ends is never used: gaps, no
duplicates.
"""

import asyncio
from collections.abc import Awaitable, Callable

BLOCK_MIN = 64
BLOCK_MAX = 65_536


class Numbers:
    """Ascending numbers from one counter; `increment(delta)` answers the value before."""

    def __init__(self, increment: Callable[[int], Awaitable[int]], *, first: int) -> None:
        self._increment = increment
        self._first = first
        self._next = self._end = 0
        self._block = BLOCK_MIN
        self._lock = asyncio.Lock()

    async def take(self, count: int) -> range:
        """The next `count` numbers, in one piece."""
        if self._end - self._next < count:
            async with self._lock:
                if self._end - self._next < count:
                    size = max(count, self._block)
                    self._block = min(self._block * 2, BLOCK_MAX)
                    previous = await self._increment(size)
                    self._next = self._first + previous
                    self._end = self._next + size
        start = self._next
        self._next += count
        return range(start, start + count)
