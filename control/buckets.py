"""Token buckets, one for each who asks: at most `rate` a second in the long run, `burst` at once.
Pure: whoever asks says what time it is.

The table is bounded. At its bound the one that was not asked for longest is forgotten, which gives
it a full bucket again; that helps only somebody with more addresses than the table has places.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

BUCKETS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much of something one may have."""

    rate: float
    """In a second, in the long run."""

    burst: float
    """At once."""


class Buckets:
    """The buckets of everybody who asked lately."""

    def __init__(self, allowance: Allowance, *, size_max: int = BUCKETS_MAX) -> None:
        self._allowance = allowance
        self._size_max = size_max
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def wait(self, who: Hashable, now: float) -> float:
        """Seconds until `who` may have one; 0: now. Takes nothing."""
        missing = 1.0 - self._level(who, now)
        return missing / self._allowance.rate if missing > 0 else 0.0

    def take(self, who: Hashable, now: float) -> float:
        """Take one and answer 0.0; or, where there is none, the seconds until there is."""
        if seconds := self.wait(who, now):
            return seconds
        level = self._level(who, now)
        self._levels[who] = (level - 1.0, now)
        self._levels.move_to_end(who)
        if len(self._levels) > self._size_max:
            self._levels.popitem(last=False)
        return 0.0

    def _level(self, who: Hashable, now: float) -> float:
        level, at = self._levels.get(who, (self._allowance.burst, now))
        return min(self._allowance.burst, level + max(now - at, 0.0) * self._allowance.rate)
