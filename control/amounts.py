"""What is counted of a tenant's use, as one vector that is added and compared by component."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import add, attrgetter
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Amounts:
    """Sums of whatever period; the names are those of proto/control.proto, UsageReport."""

    sql_cpu_micros: int = 0
    read_batches: int = 0
    read_requests: int = 0
    read_bytes: int = 0
    write_batches: int = 0
    write_requests: int = 0
    write_bytes: int = 0
    egress_bytes: int = 0
    pod_millis: int = 0
    system_cpu_micros: int = 0
    system_read_batches: int = 0
    system_read_requests: int = 0
    system_read_bytes: int = 0
    system_write_batches: int = 0
    system_write_requests: int = 0
    system_write_bytes: int = 0

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Self:
        """From the columns `AMOUNT_NAMES` in that order."""
        return cls(*row)

    @property
    def row(self) -> tuple[int, ...]:
        """The columns `AMOUNT_NAMES` in that order."""
        return _row(self)

    def since(self, before: Self) -> Self:
        """What was added since `before`; nothing where something became less."""
        pairs = zip(self.row, before.row, strict=True)
        return type(self)(*(max(new - old, 0) for new, old in pairs))

    def highest(self, other: Self) -> Self:
        """The larger of the two in every component."""
        return type(self)(*map(max, self.row, other.row))

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(add, self.row, other.row))

    def __bool__(self) -> bool:
        return any(self.row)


AMOUNT_NAMES = tuple(field.name for field in fields(Amounts))
"""Columns of the ledger's tables, and fields of a report."""

_row: Callable[[Amounts], tuple[int, ...]] = attrgetter(*AMOUNT_NAMES)
