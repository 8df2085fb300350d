"""Time as an argument: nothing in Dormouse reads a clock it was not handed."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for people and certificates, monotonic time for durations."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def wall_ns(self) -> int:
        """See `Clock.wall_ns`."""
        return time.time_ns()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()


class ManualClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000, monotonic: float = 0.0) -> None:
        self._wall_ns = wall_ns
        self._monotonic = monotonic

    def wall_ns(self) -> int:
        """See `Clock.wall_ns`."""
        return self._wall_ns

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both hands."""
        self.leap(seconds)
        self._monotonic += seconds

    def leap(self, seconds: float) -> None:
        """Set the wall clock forward, or back, while no time passes."""
        self._wall_ns += int(seconds * 1_000_000_000)
