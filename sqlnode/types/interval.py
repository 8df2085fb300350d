"""The interval value: months, days and microseconds, kept apart as PostgreSQL keeps them."""

from dataclasses import dataclass

from sqlnode.types.calendar import MICROS_PER_DAY

DAYS_PER_MONTH = 30
"""What comparisons and fractions take a month for."""
MONTHS_PER_YEAR = 12


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """A span of time. Compares as if months had 30 days and days 24 hours, so that `1 mon` equals
    `30 days` though they print and add differently."""

    months: int = 0
    days: int = 0
    micros: int = 0

    def span(self) -> int:
        """Its length in microseconds for comparisons."""
        return (self.months * DAYS_PER_MONTH + self.days) * MICROS_PER_DAY + self.micros

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interval) and self.span() == other.span()

    def __hash__(self) -> int:
        return hash(self.span())

    def __lt__(self, other: "Interval") -> bool:
        return self.span() < other.span()

    def __le__(self, other: "Interval") -> bool:
        return self.span() <= other.span()

    def __gt__(self, other: "Interval") -> bool:
        return self.span() > other.span()

    def __ge__(self, other: "Interval") -> bool:
        return self.span() >= other.span()
