"""CPU use of one pod over the last minutes: what scaling decisions look at."""

from collections import deque
from itertools import pairwise

WINDOW_SECONDS = 300.0
SAMPLES_MAX = 360
"""One a second for the window, and slack for a clock that ticks early."""


class CpuSamples:
    """A ring of (time, CPU used since birth); the oldest fall out."""

    def __init__(self) -> None:
        self._ring: deque[tuple[float, int]] = deque(maxlen=SAMPLES_MAX)

    def __repr__(self) -> str:
        return f"<CpuSamples n={len(self._ring)} average={self.average_cores():.2f}>"

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, at: float, cpu_micros: int) -> None:
        """`cpu_micros` had been used at `at` (seconds); a late or shrinking one is left out."""
        if self._ring and (at <= self._ring[-1][0] or cpu_micros < self._ring[-1][1]):
            return
        self._ring.append((at, cpu_micros))
        while self._ring[0][0] < at - WINDOW_SECONDS:
            self._ring.popleft()

    def average_cores(self) -> float:
        """Cores used, on average, over the window; 0 before the second sample."""
        if len(self._ring) < 2:
            return 0.0
        return _cores(self._ring[0], self._ring[-1])

    def peak_cores(self) -> float:
        """The busiest interval between two samples of the window."""
        return max((_cores(*pair) for pair in pairwise(self._ring)), default=0.0)


def _cores(first: tuple[float, int], last: tuple[float, int]) -> float:
    return (last[1] - first[1]) / 1e6 / (last[0] - first[0])
