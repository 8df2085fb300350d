"""The warm pool of a whole installation over a day: who takes a pod, who has to wait for one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from autoscaler.pool import WakeRate, warm_wanted

FORK_SECONDS = 0.1
"""Between one replacement and the next."""
_LOOK_SECONDS = 60.0
"""How often the pool is looked at while nobody takes a pod; what is too much is given up then."""

Size = Callable[[WakeRate, float], int]
"""How many warm pods there are to be, at a time."""


def fixed(pods: int) -> Size:
    """Always so many."""
    return lambda _rate, _now: pods


def following(low: int, high: int) -> Size:
    """As `autoscaler.pool` says, between bounds."""
    return lambda rate, now: warm_wanted(rate, now=now, low=low, high=high)


@dataclass(slots=True)
class PoolDay:
    """What came of it."""

    claims: int = 0
    misses: int = 0
    waits: list[float] = field(default_factory=list)
    """Seconds until a pod was there, of those that missed."""
    pod_seconds: float = 0.0
    sizes: list[tuple[float, int]] = field(default_factory=list)
    """(time, pods wanted) whenever that changed."""


def play(claims: Iterable[float], size: Size, end: float) -> PoolDay:
    """`claims` in order of time; forks come one after the other."""
    pool = _Pool(size)
    for at in claims:
        pool.advance(at)
        pool.claim(at)
    pool.advance(end)
    return pool.day


class _Pool:
    def __init__(self, size: Size) -> None:
        self.day = PoolDay()
        self._size = size
        self._rate = WakeRate(FORK_SECONDS)
        self._now = 0.0
        self._warm = size(self._rate, 0.0)
        self._waiting: list[float] = []
        self._fork_ready: float | None = None

    def advance(self, until: float) -> None:
        """Let forks finish and the size change."""
        while self._now < until:
            ready = until if self._fork_ready is None else self._fork_ready
            self._go_to(min(until, ready, self._now + _LOOK_SECONDS))
            if self._fork_ready is not None and self._fork_ready <= self._now:
                self._fork_ready = None
                self._arrive()
            self._look()

    def claim(self, now: float) -> None:
        """Somebody takes a warm pod, or waits for the next."""
        self._rate.note(now)
        self.day.claims += 1
        if self._warm:
            self._warm -= 1
        else:
            self.day.misses += 1
            self._waiting.append(now)
        self._look()

    def _go_to(self, at: float) -> None:
        self.day.pod_seconds += self._warm * (at - self._now)
        self._now = at

    def _arrive(self) -> None:
        if self._waiting:
            self.day.waits.append(self._now - self._waiting.pop(0))
        else:
            self._warm += 1

    def _look(self) -> None:
        wanted = self._size(self._rate, self._now)
        if not self.day.sizes or self.day.sizes[-1][1] != wanted:
            self.day.sizes.append((self._now, wanted))
        self._warm = min(self._warm, wanted)
        if self._fork_ready is None and (self._waiting or self._warm < wanted):
            self._fork_ready = self._now + FORK_SECONDS
