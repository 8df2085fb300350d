"""Guessing passwords gets slower and slower. Pure; time is an argument.

Counted by client and tenant: failures since the last success. From the FREE_FAILURES-th failure on
the next attempt has to wait, each time twice as long, up to a minute; an attempt that comes earlier
is refused at once, unheard, and costs nobody anything.

    failure       1   2   3     4    5    6  …   10
    wait after    0   0   0.5   1    2    4  …   60 s

An attempt under way may yet fail. So at most AT_ONCE of them run at a time and the others stand in
line: an application that opens its whole pool at once is served in turn, and a guesser that does so
learns of AT_ONCE guesses before he has to wait like anybody else. After a wait exactly one may try.

Failures are forgotten on success, after FORGET_SECONDS without another, and, should the table be
full, those longest ago first. The table of attempts under way is bounded by the connections.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import Enum

from dormouse.base.ids import TenantId

FREE_FAILURES = 3
AT_ONCE = 16
FIRST_WAIT = 0.5
WAIT_MAX = 60.0
FORGET_SECONDS = 900.0
ENTRIES_MAX = 65_536

Key = tuple[str, TenantId]
"""The client's neighbourhood, and the tenant whose password it guesses."""


class Outcome(Enum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The password was wrong."""
    NEITHER = "neither"
    """It never came to that."""


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


def wait_after(failures: int) -> float:
    """Seconds to wait after so many failures."""
    if failures < FREE_FAILURES:
        return 0.0
    doublings = min(failures - FREE_FAILURES, 32)
    return float(min(FIRST_WAIT * 2**doublings, WAIT_MAX))


class Throttle:
    """Failures and attempts under way; every attempt that may begin must be ended."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._failures: OrderedDict[Key, _Failures] = OrderedDict()
        """The longest ago first."""
        self._under_way: Counter[Key] = Counter()

    def __repr__(self) -> str:
        return f"<Throttle failed={len(self._failures)} under_way={self._under_way.total()}>"

    def __len__(self) -> int:
        return len(self._failures)

    def begin(self, key: Key, now: float) -> float | None:
        """0.0: the attempt may go on, and has begun. More: the seconds to wait instead.

        None: nobody can tell before one of those under way has ended; ask again then.
        """
        self._expire(now)
        under_way = self._under_way.get(key, 0)
        failures = self._failures.get(key)
        if failures is not None and failures.count >= FREE_FAILURES:
            wait = failures.last + wait_after(failures.count) - now
            if wait <= 0 and under_way:
                wait = wait_after(failures.count + under_way)
            if wait > 0:
                return wait
        elif under_way >= AT_ONCE:
            return None
        self._under_way[key] += 1
        return 0.0

    def end(self, key: Key, outcome: Outcome, now: float) -> None:
        """An attempt that had begun has ended."""
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
        if outcome is Outcome.SUCCEEDED:
            self._failures.pop(key, None)
        elif outcome is Outcome.FAILED:
            self._fail(key, now)

    def _fail(self, key: Key, now: float) -> None:
        self._expire(now)
        failures = self._failures.pop(key, None) or _Failures(0, now)
        failures.count += 1
        failures.last = now
        self._failures[key] = failures
        if len(self._failures) > self._entries_max:
            self._failures.popitem(last=False)

    def _expire(self, now: float) -> None:
        while self._failures:
            key, oldest = next(iter(self._failures.items()))
            if now - oldest.last < FORGET_SECONDS:
                return
            del self._failures[key]
