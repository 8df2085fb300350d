"""When a role that died starts again: a pure decision."""

from dataclasses import dataclass

FIRST_SECONDS = 0.1
MAX_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
"""Whoever answered for so long starts again without delay."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Deaths in a row."""

    deaths: int = 0

    def died(self, answered_seconds: float) -> "Backoff":
        """After one more death of a role that had answered for so long."""
        return Backoff(1 if answered_seconds >= HEALTHY_SECONDS else self.deaths + 1)

    @property
    def delay_seconds(self) -> float:
        """The pause before the next start: none after the first death, then doubling."""
        if self.deaths <= 1:
            return 0.0
        return float(min(FIRST_SECONDS * 2 ** min(self.deaths - 2, 32), MAX_SECONDS))
