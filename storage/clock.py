"""The shard's hybrid logical clock: ticks that only compare, close to the wall clock.

A tick is a nanosecond of wall time, or one more than the tick before where the wall clock stands
still or jumps back. Only commits get ticks, and every commit writes its tick into the same durable
batch as its data. So the last commit time found at start-up is exactly the highest tick anybody
has seen, and starting above it keeps the clock monotonic across restarts without reserving ahead.
"""

from dormouse.base.clock import Clock

TICKS_PER_SECOND = 1_000_000_000


class HybridClock:
    """Gives commit times, each above all before it."""

    def __init__(self, clock: Clock, *, last: int) -> None:
        self._clock = clock
        self.last = last
        """The highest tick given."""

    def next(self) -> int:
        """The next commit time."""
        self.last = max(self.last + 1, self._clock.wall_ns())
        return self.last

    def ago(self, seconds: float) -> int:
        """The tick that was now `seconds` ago."""
        return max(0, self._clock.wall_ns() - int(seconds * TICKS_PER_SECOND))
