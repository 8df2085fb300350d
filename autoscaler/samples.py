"""CPU use of one pod over the last seconds: what a tenant's load is made of."""

from collections import deque

RECENT_SECONDS = 5.0
SAMPLES_MAX = 16
"""One a second for the recent past, and slack for a clock that ticks early."""


class CpuSamples:
    """A ring of (time, CPU used since birth); the oldest fall out."""

    __slots__ = ("_ring",)

    def __init__(self) -> None:
        self._ring: deque[tuple[float, int]] = deque(maxlen=SAMPLES_MAX)

    def __repr__(self) -> str:
        return f"<CpuSamples n={len(self._ring)} cores={self.cores:.2f}>"

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, at: float, cpu_micros: int) -> None:
        """`cpu_micros` had been used at `at` (seconds); a late or shrinking one is left out."""
        ring = self._ring
        if ring and (at <= ring[-1][0] or cpu_micros < ring[-1][1]):
            return
        ring.append((at, cpu_micros))
        while len(ring) > 2 and ring[0][0] < at - RECENT_SECONDS:
            ring.popleft()

    @property
    def cores(self) -> float:
        """Cores used between the last two samples; 0 before the second."""
        return _cores(self._ring[-2], self._ring[-1]) if len(self._ring) > 1 else 0.0

    @property
    def recent_cores(self) -> float:
        """Cores used, on average, over the last `RECENT_SECONDS`; 0 before the second sample."""
        return _cores(self._ring[0], self._ring[-1]) if len(self._ring) > 1 else 0.0


def _cores(first: tuple[float, int], last: tuple[float, int]) -> float:
    return (last[1] - first[1]) / 1e6 / (last[0] - first[0])
