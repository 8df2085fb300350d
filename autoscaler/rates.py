"""How fast a counter grows: what a pod's CPU time and its request units are turned into."""

import math

SMOOTHING_SECONDS = 3.0
"""A change shows by 63 % after so long."""


class Rate:
    """Growth of a counter per second, between the last two readings and smoothed."""

    __slots__ = ("_at", "_value", "latest", "smooth")

    def __init__(self) -> None:
        self._at: float | None = None
        self._value = 0.0
        self.latest = 0.0
        """Between the last two readings; 0 before the second."""
        self.smooth = 0.0

    def __repr__(self) -> str:
        return f"<Rate {self.smooth:.3f}/s>"

    def add(self, at: float, value: float) -> None:
        """The counter stood at `value` at `at` (seconds). A reading that is late is left out; one
        that is smaller than the last begins anew."""
        if self._at is not None and at <= self._at:
            return
        if self._at is not None and value >= self._value:
            seconds = at - self._at
            self.latest = (value - self._value) / seconds
            self.smooth += (self.latest - self.smooth) * -math.expm1(-seconds / SMOOTHING_SECONDS)
        self._at, self._value = at, value
