"""Request units: what a tenant's use weighs, by cause, in whole millionths of a unit.

    1 unit  =  3 ms of SQL CPU
            =  2 read batches      =  8 read requests     =  64 KiB read
            =  1 write batch       =  1 write request     =  1 KiB written
            =  1 KiB to clients

Rounding: each cause is rounded once, from the sums of the whole period that is asked for, to the
nearest millionth of a unit, halves up. The total is the sum of the causes, so they always add up.
Days are rounded by themselves: thirty of them may differ from their month by some millionths.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

MICRO = 1_000_000
_MIB = 1 << 20


class Counted(Protocol):
    """What is weighed; the names are those of proto/control.proto, UsageReport."""

    @property
    def sql_cpu_micros(self) -> int:
        """Microseconds of SQL CPU."""
        ...

    @property
    def read_batches(self) -> int:
        """Operations that read."""
        ...

    @property
    def read_requests(self) -> int:
        """Keys and ranges in them."""
        ...

    @property
    def read_bytes(self) -> int:
        """Keys and values that came back."""
        ...

    @property
    def write_batches(self) -> int:
        """Operations that write."""
        ...

    @property
    def write_requests(self) -> int:
        """Keys in them."""
        ...

    @property
    def write_bytes(self) -> int:
        """Keys and values that were written."""
        ...

    @property
    def egress_bytes(self) -> int:
        """Bytes to clients."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Millionths of a unit; those of bytes are for a MiB."""

    sql_cpu_3ms: int = 1_000_000
    read_batch: int = 500_000
    read_request: int = 125_000
    read_mib: int = 16_000_000
    write_batch: int = 1_000_000
    write_request: int = 1_000_000
    write_mib: int = 1_024_000_000
    egress_mib: int = 1_024_000_000


WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Units:
    """Millionths of a unit by cause."""

    sql_cpu: int = 0
    reads: int = 0
    writes: int = 0
    egress: int = 0

    @property
    def total(self) -> int:
        """Of all causes."""
        return self.sql_cpu + self.reads + self.writes + self.egress


def rounded(number: Fraction) -> int:
    """To the nearest whole number, halves up."""
    return (2 * number.numerator + number.denominator) // (2 * number.denominator)


def units_of(counted: Counted, weights: Weights = WEIGHTS) -> Units:
    """What the tenant's part of `counted` weighs."""
    return Units(
        sql_cpu=rounded(Fraction(counted.sql_cpu_micros * weights.sql_cpu_3ms, 3000)),
        reads=rounded(
            counted.read_batches * weights.read_batch
            + counted.read_requests * weights.read_request
            + Fraction(counted.read_bytes * weights.read_mib, _MIB)
        ),
        writes=rounded(
            counted.write_batches * weights.write_batch
            + counted.write_requests * weights.write_request
            + Fraction(counted.write_bytes * weights.write_mib, _MIB)
        ),
        egress=rounded(Fraction(counted.egress_bytes * weights.egress_mib, _MIB)),
    )
