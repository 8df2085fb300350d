"""How many warm pods to keep: as many as would have been enough, and as many as are to be expected.

```
 claims     │ ││││        │   │        │ ││││││
 queue      ▁ ▂▃▅▆▅▃▂▁    ▁   ▁        ▁ ▂▃▅▆█▇▅▃▂▁     replacements under way, one at a time
 recent     ▁▁▂▃▅▆▆▆▆▅▅▅▄▄▄▃▃▃▃▂▂▂     ▁▁▂▃▅▆███▇▇▆     the highest it was, fading in minutes
 hourly     ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▅▆▆▆▆▆▆▆▁▁▁▁▁▁     the same minute, an hour ago
```

*Enough.* Every claim starts a fork, and forks come one after the other. The number under way is
then a queue, and its length is the number of pods that a pool without a miss would have had to hold
at that moment. The largest such number is kept twice: once fading within minutes, for bursts that
go on, and once for each minute of the hour, fading within a day, for those that come by the clock.
People's cron jobs run on the hour, at the quarter and every five minutes, and tenants that sleep in
between all wake at once; the pool is full again a minute before. The hour may begin at any moment.

*Expected.* Wakes that know nothing of each other come as a Poisson process. At the rate of the last
minutes the pool must cover, with probability COVER, those that come while it is refilled. This
sees what a quiet hour has not shown yet.

The pool is the larger of the two, between its bounds. Memory is some sixty numbers.
"""

import math

COVER = 0.99
"""The probability that the wakes of one refill find a pod."""
RATE_SECONDS = 120.0
"""Over how long the rate is averaged: a claim counts for e times less after so long."""
RECENT_SECONDS = 600.0
"""After so long half of a burst is remembered..."""
HOURLY_SECONDS = 12 * 3600.0
"""...and after so long half of it in its minute of the hour."""
MINUTE_SECONDS = 60.0
MINUTES = 60
BURST_MAX = 64
"""A burst larger than this is remembered as one of this size: no pool would be kept for it."""
FORK_SECONDS = 0.25
"""How long a fork takes until one has been seen."""
_FORK_WEIGHT = 0.2


class WakeRate:
    """What is known of the claims of warm pods."""

    __slots__ = ("_hourly", "_queue", "_queue_at", "_rate", "_rate_at", "_recent", "fork_seconds")

    def __init__(self, fork_seconds: float = FORK_SECONDS) -> None:
        self.fork_seconds = fork_seconds
        """How long a replacement takes, from being asked for to being warm."""
        self._queue = 0.0
        self._queue_at = 0.0
        self._rate = 0.0
        self._rate_at = 0.0
        self._recent = _Fading(RECENT_SECONDS)
        self._hourly = [_Fading(HOURLY_SECONDS) for _ in range(MINUTES)]

    def __repr__(self) -> str:
        fork = f"fork={self.fork_seconds:.2f} s"
        return f"<WakeRate {self._rate:.3f}/s queue={self._queue:.1f} {fork}>"

    def note(self, now: float) -> None:
        """A warm pod was claimed, or would have been if there were one."""
        self._queue = max(self._queue - (now - self._queue_at) / self.fork_seconds, 0.0) + 1.0
        self._queue_at = now
        burst = min(self._queue, BURST_MAX)
        self._recent.note(now, burst)
        self._hourly[_minute(now)].note(now, burst)
        self._rate, self._rate_at = self.per_second(now) + 1.0 / RATE_SECONDS, now

    def forked(self, seconds: float) -> None:
        """A replacement took so long."""
        self.fork_seconds += _FORK_WEIGHT * (max(seconds, 0.001) - self.fork_seconds)

    def per_second(self, now: float) -> float:
        """Claims per second over the last minutes."""
        return self._rate * math.exp((self._rate_at - now) / RATE_SECONDS)

    def enough(self, now: float) -> float:
        """Pods that would have been enough for all claims of late, and for those of this minute and
        the next one in the hours before; what is long ago counts less."""
        this, following = self._hourly[_minute(now)], self._hourly[_minute(now + MINUTE_SECONDS)]
        return max(self._recent.at(now), this.at(now), following.at(now))


class _Fading:
    """The largest number noted, halved by every `half_life` seconds that have passed since."""

    __slots__ = ("_at", "_half_life", "_value")

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._value = 0.0
        self._at = 0.0

    def note(self, now: float, value: float) -> None:
        self._value, self._at = max(self.at(now), value), now

    def at(self, now: float) -> float:
        return float(self._value * 2.0 ** ((self._at - now) / self._half_life))


def _minute(now: float) -> int:
    return int(now // MINUTE_SECONDS) % MINUTES


def warm_wanted(rate: WakeRate, *, now: float, low: int, high: int) -> int:
    """How many warm pods to have at `now`, between `low` and `high`."""
    seen = math.ceil(rate.enough(now) - 0.5)
    expected = _covering(rate.per_second(now) * rate.fork_seconds, high)
    return min(max(low, seen, expected), high)


def _covering(per_fork: float, most: int) -> int:
    """The smallest pool that COVERs the claims of its own refill, `per_fork` of them being expected
    during one fork; `most` where none does."""
    if per_fork >= 1.0:
        return most  # forks cannot keep up: the queue has no bound
    for pods in range(most):
        if _poisson_at_most(pods, per_fork * (pods + 1)) >= COVER:
            return pods
    return most


def _poisson_at_most(count: int, expected: float) -> float:
    """P(X <= count) for X ~ Poisson(expected)."""
    term = total = math.exp(-expected)
    for number in range(1, count + 1):
        term *= expected / number
        total += term
    return total
