"""What a tenant has used of a pod since its stamp (proto/pod.proto, Usage).

All amounts are sums since the stamp and only grow, and so does the number of each answer. Whoever
hears a later answer can forget the earlier ones: that is what makes metering indifferent to loss,
repetition and order (control/ledger.py).

CPU is the whole process's, for it serves nobody else, and no statement is timed for it. What the
process spends while nobody uses it is the system's: pings, reports, answers to the autoscaler.

    ├────────┼────────┼────────┼────────┤    a look at the counters: a report or a Status
      used     used     unused   used        used: a statement ran, or bytes went to a client, or
                        └ system's           storage carried out a request, since the last look

While its spend limit is reached a tenant does not pay for what it may still do: from `bill(False)`
to `bill(True)` every amount is the system's. An answer of storage counts when it comes, so each
unit is on one side of that border. The bytes to clients and the pod's time have no such side: they
are left out.

    tenant's  ───────────┐ . . . . . . ┌──────────────   what is shown of it stands still
    system's             └─────────────┘
                    bill(False)   bill(True)
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from operator import add, sub
from typing import Protocol

from dormouse.base.clock import Clock
from proto.pod_pb2 import Usage
from sqlnode.kv.usage import KvUsage
from sqlnode.server import SqlServer
from sqlnode.session.tenant import Tenant


class Counters(Protocol):
    """What a pod counts at the places where it happens."""

    @property
    def kv(self) -> KvUsage:
        """What the tenant asked of storage."""
        ...

    @property
    def system_kv(self) -> KvUsage:
        """What the system asked of it for itself."""
        ...

    @property
    def egress_bytes(self) -> int:
        """Bytes to clients."""
        ...

    @property
    def is_active(self) -> bool:
        """Whether a statement is running now."""
        ...


class PodCounters:
    """Those of a stamped pod."""

    def __init__(self, tenant: Tenant, server: SqlServer) -> None:
        self._tenant = tenant
        self._server = server

    @property
    def kv(self) -> KvUsage:
        """See `Counters.kv`."""
        return self._tenant.kv.usage

    @property
    def system_kv(self) -> KvUsage:
        """See `Counters.system_kv`."""
        return self._tenant.kv.system_usage

    @property
    def egress_bytes(self) -> int:
        """See `Counters.egress_bytes`."""
        return self._server.sent_bytes

    @property
    def is_active(self) -> bool:
        """See `Counters.is_active`."""
        return self._tenant.active > 0


class Accounts:
    """Adds up a pod's counters; made when the stamp is over."""

    def __init__(
        self,
        counters: Counters,
        clock: Clock,
        *,
        cpu_ns: Callable[[], int] = time.process_time_ns,
        share: Callable[[int], None] | None = None,
    ) -> None:
        """`cpu_ns`: the CPU time of this process so far; `share` is called with each part of it
        that the tenant has used."""
        self._counters = counters
        self._clock = clock
        self._cpu_ns = cpu_ns
        self._share = share
        self._since = clock.monotonic()
        self._looked_cpu_ns = cpu_ns()
        self._used_cpu_ns = 0
        self._system_cpu_ns = 0
        self._seen = self._signs()
        self._sequence = 0
        self._apart: Sequence[int] = (0,) * len(self._sums())
        """What was not billed, up to the last time that it was not."""
        self._apart_from: Sequence[int] | None = None
        """The sums when billing ended, while it has."""

    def __repr__(self) -> str:
        return f"<Accounts sequence={self._sequence} signs={self._seen}>"

    def usage(self) -> Usage:
        """The sums now, under a number of their own."""
        self._sequence += 1
        return self._usage(billed_only=True)

    def used(self) -> Usage:
        """The sums now with what is not billed among the tenant's, and not among the system's."""
        return self._usage(billed_only=False)

    def _usage(self, *, billed_only: bool) -> Usage:
        self._share_cpu()
        sums = self._sums()
        apart = self._apart_at(sums) if billed_only else (0,) * len(sums)
        cpu_ns, reads, keys_read, bytes_read, writes, keys, written, egress, lived_ms = map(
            sub, sums, apart
        )
        system = [*map(add, apart[1:7], astuple(self._counters.system_kv))]
        return Usage(
            sql_cpu_micros=cpu_ns // 1000,
            read_batches=reads,
            read_requests=keys_read,
            read_bytes=bytes_read,
            write_batches=writes,
            write_requests=keys,
            write_bytes=written,
            egress_bytes=egress,
            pod_millis=lived_ms,
            system_cpu_micros=(self._system_cpu_ns + apart[0]) // 1000,
            system_read_batches=system[0],
            system_read_requests=system[1],
            system_read_bytes=system[2],
            system_write_batches=system[3],
            system_write_requests=system[4],
            system_write_bytes=system[5],
            sequence=self._sequence,
            at_unix_ms=self._clock.wall_ns() // 1_000_000,
        )

    def bill(self, billed: bool) -> None:
        """Whether the tenant pays for what is used from now on; it does at first."""
        self._share_cpu()
        sums = self._sums()
        if not billed and self._apart_from is None:
            self._apart_from = sums
        elif billed:
            self._apart, self._apart_from = self._apart_at(sums), None

    def cpu_and_egress(self) -> tuple[int, int]:
        """Nanoseconds of CPU and bytes to clients, billed or not, up to now. The CPU since the last
        look is taken for the tenant's."""
        cpu_ns = self._used_cpu_ns + self._cpu_ns() - self._looked_cpu_ns
        return cpu_ns, self._counters.egress_bytes

    def _sums(self) -> Sequence[int]:
        """What the tenant has used, billed or not: CPU, storage's six, bytes to clients, time."""
        lived_ms = int((self._clock.monotonic() - self._since) * 1000)
        kv = astuple(self._counters.kv)
        return (self._used_cpu_ns, *kv, self._counters.egress_bytes, lived_ms)

    def _apart_at(self, sums: Sequence[int]) -> Sequence[int]:
        """What was not billed, when the sums are these."""
        if self._apart_from is None:
            return self._apart
        return tuple(
            before + now - then
            for before, now, then in zip(self._apart, sums, self._apart_from, strict=True)
        )

    @property
    def signs(self) -> tuple[int, int, int]:
        """Changes whenever the tenant has used anything; costs next to nothing."""
        return self._signs()

    def _signs(self) -> tuple[int, int, int]:
        kv = self._counters.kv
        return self._counters.egress_bytes, kv.read_batches, kv.write_batches

    def _share_cpu(self) -> None:
        """Give the CPU time since the last look to whom it belongs."""
        now, signs = self._cpu_ns(), self._signs()
        spent = now - self._looked_cpu_ns
        if signs != self._seen or self._counters.is_active:
            self._used_cpu_ns += spent
            if self._share is not None:
                self._share(spent)
        else:
            self._system_cpu_ns += spent
        self._looked_cpu_ns, self._seen = now, signs
