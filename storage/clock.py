r"""The shard's hybrid logical clock: ticks that only compare, close to the wall clock.

A tick is a nanosecond of wall time, or one more than the tick before. Only commits get ticks, and
every commit writes its tick into the same durable batch as its data. So the last commit time found
at start-up is exactly the highest tick anybody has seen, and starting above it keeps the clock
monotonic across restarts without reserving ahead. A time in the past that somebody has read
(`passed`) is a tick as well, though not a durable one: it is not above the clock, and a commit
after a restart could only get it if the wall clock had jumped back.

Wall clocks jump. A leap forward, seen against the machine's monotonic clock, is followed only when
it has stood for a while: one that is taken back leaves no trace. Where the wall clock is behind the
ticks, because it jumped back or was ahead when the last process wrote, ticks go on at half speed:
differences of ticks keep a meaning, and the wall clock catches up.

    ticks                  ┌────── a leap that stood      │ ticks          ______..--- half speed
                           │                              │         __..--´       /
    ___________________....│                              │  ______/       ____ /
    wall   ____/‾‾‾\_______/‾‾‾‾‾                         │ wall   ‾‾‾‾‾\_/ jumped back
               leapt, and back
"""

import logging

from dormouse.base.clock import Clock
from storage.metrics import CLOCK_AHEAD, CLOCK_LEAPS

TICKS_PER_SECOND = 1_000_000_000
_LEAP_TICKS = 10 * TICKS_PER_SECOND
"""The wall clock has leapt if it is so far ahead of where the monotonic clock says it should be."""
_STANDS_SECONDS = 60.0
"""A leap is followed after this."""
_AHEAD_TICKS = TICKS_PER_SECOND
"""Ticks that are further ahead of the wall clock are worth a line in the log."""
_log = logging.getLogger(__name__)


class HybridClock:
    """Gives commit times, each above all before it."""

    def __init__(self, clock: Clock, *, last: int) -> None:
        self._clock = clock
        self.last = last
        """The highest tick given."""
        self._wall, self._since = clock.wall_ns(), clock.monotonic()
        """The wall clock when it was last believed, and when that was."""
        self._now, self._looked = last, self._since
        self._leapt: float | None = None
        self._ahead = False

    def now(self) -> int:
        """The time by this clock: never goes back, and no tick that was given is above it."""
        moment = self._clock.monotonic()
        wall = self._believed(moment)
        slow = self._now + int((moment - self._looked) * TICKS_PER_SECOND) // 2
        self._now, self._looked = max(wall, slow, self.last), moment
        self._note(self._now - wall)
        return self._now

    def next(self) -> int:
        """The next commit time."""
        self.last = max(self.last + 1, self.now())
        return self.last

    def passed(self, tick: int) -> bool:
        """Whether `tick` is in the past; then it stays there: no commit gets it any more."""
        if tick > self.now():
            return False
        self.last = max(self.last, tick)
        return True

    def ago(self, seconds: float) -> int:
        """The tick that was now `seconds` ago."""
        return max(0, self.now() - int(seconds * TICKS_PER_SECOND))

    def _believed(self, moment: float) -> int:
        """The wall clock; while it has leapt, where it would be if it had not."""
        wall = self._clock.wall_ns()
        expected = self._wall + int((moment - self._since) * TICKS_PER_SECOND)
        if wall - expected > _LEAP_TICKS:
            if self._leapt is None:
                self._leapt = moment
                CLOCK_LEAPS.inc()
                seconds = (wall - expected) / TICKS_PER_SECOND
                _log.warning("the wall clock has leapt forward", extra={"seconds": seconds})
            if moment - self._leapt < _STANDS_SECONDS:
                return expected
            _log.warning("the wall clock's leap stands and is followed")
        self._leapt = None
        self._wall, self._since = wall, moment
        return wall

    def _note(self, ahead: int) -> None:
        if ahead or self._ahead:
            CLOCK_AHEAD.set(ahead / TICKS_PER_SECOND)
        if ahead <= _AHEAD_TICKS:
            self._ahead = False
        elif not self._ahead:
            self._ahead = True
            seconds = ahead / TICKS_PER_SECOND
            _log.warning("the wall clock is behind the commits", extra={"seconds": seconds})
