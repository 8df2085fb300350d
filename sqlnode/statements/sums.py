"""What statements and roles have used of a pod: sums that only grow."""

from dataclasses import dataclass, field

from dormouse.base.units import WEIGHTS, units_of
from sqlnode.kv.usage import KvUsage
from sqlnode.statements.identity import Identity

_MIB = 1 << 20
_CPU_NS_OF_WEIGHT = 3_000_000


@dataclass(slots=True, eq=False)
class Sums:
    """Amounts as `dormouse.base.units.Counted` has them."""

    read_batches: int = 0
    read_requests: int = 0
    read_bytes: int = 0
    write_batches: int = 0
    write_requests: int = 0
    write_bytes: int = 0
    egress_bytes: int = 0
    cpu_ns: int = 0
    """Its share of the pod's CPU time."""
    loop_ns: int = 0
    """Time it had the event loop to itself, for which it has no share of the CPU time yet."""

    @property
    def sql_cpu_micros(self) -> int:
        """See `Counted`."""
        return self.cpu_ns // 1000

    @property
    def micro_units(self) -> int:
        """Millionths of a request unit, as a bill has them."""
        return units_of(self).total

    @property
    def roughly(self) -> int:
        """The same to a few millionths, for putting in order: costs half a microsecond."""
        weights = WEIGHTS
        return (
            self.cpu_ns * weights.sql_cpu_3ms // _CPU_NS_OF_WEIGHT
            + self.read_batches * weights.read_batch
            + self.read_requests * weights.read_request
            + self.write_batches * weights.write_batch
            + self.write_requests * weights.write_request
            + self.read_bytes * weights.read_mib // _MIB
            + self.write_bytes * weights.write_mib // _MIB
            + self.egress_bytes * weights.egress_mib // _MIB
        )

    def take(self, kv: KvUsage) -> None:
        """Add what was asked of storage, which begins anew."""
        self.read_batches += kv.read_batches
        self.read_requests += kv.read_requests
        self.read_bytes += kv.read_bytes
        self.write_batches += kv.write_batches
        self.write_requests += kv.write_requests
        self.write_bytes += kv.write_bytes
        kv.clear()

    def add(self, other: "Sums") -> None:
        """Add all of another."""
        self.read_batches += other.read_batches
        self.read_requests += other.read_requests
        self.read_bytes += other.read_bytes
        self.write_batches += other.write_batches
        self.write_requests += other.write_requests
        self.write_bytes += other.write_bytes
        self.egress_bytes += other.egress_bytes
        self.cpu_ns += other.cpu_ns


@dataclass(slots=True, eq=False)
class Entry(Sums):
    """What one statement cost one role."""

    role: str = ""
    identity: Identity = field(default_factory=lambda: Identity(1, ""))
    number: int = 0
    """No two entries of a pod have the same: one that was dropped comes back as another."""
    calls: int = 0
    rows: int = 0
    elapsed_ns: int = 0
    elapsed_ns_min: int = 0
    elapsed_ns_max: int = 0
    elapsed_ns_squares: int = 0
    told_calls: int = 0
    told: int = 0
    """`calls` and `roughly` as control knows them."""
    gone: bool = False
    """No longer among those that are kept."""

    def called(self, rows: int, elapsed_ns: int) -> None:
        """It ran to its end."""
        if not self.calls or elapsed_ns < self.elapsed_ns_min:
            self.elapsed_ns_min = elapsed_ns
        if elapsed_ns > self.elapsed_ns_max:
            self.elapsed_ns_max = elapsed_ns
        self.calls += 1
        self.rows += rows
        self.elapsed_ns += elapsed_ns
        self.elapsed_ns_squares += elapsed_ns * elapsed_ns

    @property
    def elapsed_ns_mean(self) -> float:
        """Of a call."""
        return self.elapsed_ns / self.calls if self.calls else 0.0

    @property
    def elapsed_ns_deviation(self) -> float:
        """Standard deviation of the population, as pg_stat_statements has it."""
        if not self.calls:
            return 0.0
        squares = self.calls * self.elapsed_ns_squares - self.elapsed_ns * self.elapsed_ns
        return float(max(squares, 0) ** 0.5 / self.calls)
