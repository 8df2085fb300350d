"""What a pod has used, in millionths of a request unit, cheap enough to be asked per statement.

It weighs the counters that the reports are made of (sqlnode/accounts.py), so it is what control
will book. What storage carried out is read each time; CPU and the bytes to clients, which cost more
to read, every LOOK_SECONDS at the most: so they may be missing what came in that time.
"""

from typing import TYPE_CHECKING

from dormouse.base.clock import Clock
from dormouse.base.units import WEIGHTS

if TYPE_CHECKING:
    from sqlnode.accounts import Accounts
    from sqlnode.kv.usage import KvUsage

LOOK_SECONDS = 0.01

_MIB_BITS = 20
_READ_BATCH, _READ_REQUEST, _READ_MIB = (
    WEIGHTS.read_batch,
    WEIGHTS.read_request,
    WEIGHTS.read_mib,
)
_WRITE_BATCH, _WRITE_REQUEST, _WRITE_MIB = (
    WEIGHTS.write_batch,
    WEIGHTS.write_request,
    WEIGHTS.write_mib,
)
_CPU_UNIT_NS = 3_000_000


def of_writes(keys: int, size: int) -> int:
    """What a commit of so many keys weighs, with `size` bytes of them and their values."""
    if not keys:
        return 0
    return _WRITE_BATCH + keys * _WRITE_REQUEST + (size * _WRITE_MIB >> _MIB_BITS)


class Scale:
    """Reads a stamped pod's accounts."""

    def __init__(self, accounts: "Accounts", kv: "KvUsage", clock: Clock) -> None:
        self._accounts = accounts
        self._kv = kv
        self._clock = clock
        self._rest = 0
        self._look_at = clock.monotonic()
        self._apart = 0
        """Used while nothing was billed."""
        self._unbilled_from: int | None = None
        """What was used when billing ended, while it has."""

    def __repr__(self) -> str:
        return f"<Scale {self.used() / 1e6:.1f} units>"

    def used(self) -> int:
        """All that the tenant has used since the stamp."""
        if self._clock.monotonic() >= self._look_at:
            self.look()
        kv = self._kv
        return (
            self._rest
            + kv.read_batches * _READ_BATCH
            + kv.read_requests * _READ_REQUEST
            + (kv.read_bytes * _READ_MIB >> _MIB_BITS)
            + kv.write_batches * _WRITE_BATCH
            + kv.write_requests * _WRITE_REQUEST
            + (kv.write_bytes * _WRITE_MIB >> _MIB_BITS)
        )

    def billed(self) -> int:
        """Of that, what it pays for."""
        used = self.used() if self._unbilled_from is None else self._unbilled_from
        return used - self._apart

    def look(self) -> None:
        """Read everything now."""
        self._look_at = self._clock.monotonic() + LOOK_SECONDS
        cpu_ns, egress = self._accounts.cpu_and_egress()
        self._rest = cpu_ns * WEIGHTS.sql_cpu_3ms // _CPU_UNIT_NS + (
            egress * WEIGHTS.egress_mib >> _MIB_BITS
        )

    def bill(self, billed: bool) -> None:
        """Whether the tenant pays for what is used from now on."""
        if billed == (self._unbilled_from is None):
            return
        self._accounts.bill(billed)
        self.look()
        if self._unbilled_from is None:
            self._unbilled_from = self.used()
        else:
            self._apart += self.used() - self._unbilled_from
            self._unbilled_from = None
