"""Sliding windows over time: the sum and the largest of what came in the last seconds.

Both cost O(1) amortised per entry, however long the window is. Amounts of the sum are integers, so
that adding and taking away the same amounts for months neither drifts nor goes below zero.
"""

from array import array
from collections import deque


class SlidingSum:
    """The sum of the amounts of the last `seconds`, in a ring of at most `entries_max` of them.

    Where more come, the oldest fall out early. Sixteen bytes an entry: every tenant that is awake
    has one of these.
    """

    __slots__ = ("_amounts", "_count", "_head", "_seconds", "_times", "total")

    def __init__(self, seconds: float, entries_max: int) -> None:
        self._seconds = seconds
        self._times = array("d", bytes(8 * entries_max))
        self._amounts = array("q", bytes(8 * entries_max))
        self._head = 0
        self._count = 0
        self.total = 0

    def __repr__(self) -> str:
        return f"<SlidingSum {self.total} of {self._count} in {self._seconds:g} s>"

    def __len__(self) -> int:
        return self._count

    def add(self, at: float, amount: int) -> None:
        """`amount` came at `at`, which is not before that of the last call."""
        if self._count == len(self._times):
            self._drop_oldest()
        index = (self._head + self._count) % len(self._times)
        self._times[index], self._amounts[index] = at, amount
        self._count += 1
        self.total += amount
        self.expire(at)

    def expire(self, now: float) -> None:
        """Forget what is older than the window, seen from `now`."""
        while self._count and self._times[self._head] <= now - self._seconds:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self.total -= self._amounts[self._head]
        self._head = (self._head + 1) % len(self._times)
        self._count -= 1


class SlidingMax:
    """The largest value of the last `seconds`.

    ```
    came     5 3 4 1 2      a later value that is as large makes an earlier one pointless:
    kept     5   4   2      what is kept falls, its head is the largest, and one step a value
    ```
    """

    __slots__ = ("_falling", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._falling: deque[tuple[float, float]] = deque()

    def __repr__(self) -> str:
        return f"<SlidingMax {self.largest:g} in {self._seconds:g} s>"

    def __len__(self) -> int:
        return len(self._falling)

    @property
    def largest(self) -> float:
        """0.0 where nothing is left."""
        return self._falling[0][1] if self._falling else 0.0

    def add(self, at: float, value: float) -> None:
        """`value` came at `at`, which is not before that of the last call."""
        falling = self._falling
        while falling and falling[-1][1] <= value:
            falling.pop()
        falling.append((at, value))
        self.expire(at)

    def expire(self, now: float) -> None:
        """Forget what is older than the window, seen from `now`."""
        falling = self._falling
        while falling and falling[0][0] <= now - self._seconds:
            falling.popleft()
