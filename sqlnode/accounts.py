"""What a tenant has used of a pod since its stamp (proto/pod.proto, Usage).

All amounts are sums since the stamp and only grow, and so does the number of each answer. Whoever
hears a later answer can forget the earlier ones: that is what makes metering indifferent to loss,
repetition and order (control/ledger.py).

CPU is the whole process's, for it serves nobody else, and no statement is timed for it. What the
process spends while nobody uses it is the system's: pings, reports, answers to the autoscaler.

    ├────────┼────────┼────────┼────────┤    a look at the counters: a report or a Status
      used     used     unused   used        used: a statement ran, or bytes went to a client, or
                        └ system's           storage carried out a request, since the last look
"""

import time
from collections.abc import Callable
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
    ) -> None:
        """`cpu_ns`: the CPU time of this process so far."""
        self._counters = counters
        self._clock = clock
        self._cpu_ns = cpu_ns
        self._since = clock.monotonic()
        self._looked_cpu_ns = cpu_ns()
        self._used_cpu_ns = 0
        self._system_cpu_ns = 0
        self._seen = self._signs()
        self._sequence = 0

    def __repr__(self) -> str:
        return f"<Accounts sequence={self._sequence} signs={self._seen}>"

    def usage(self) -> Usage:
        """The sums now, under a number of their own."""
        self._share_cpu()
        self._sequence += 1
        kv, system = self._counters.kv, self._counters.system_kv
        return Usage(
            sql_cpu_micros=self._used_cpu_ns // 1000,
            read_batches=kv.read_batches,
            read_requests=kv.read_requests,
            read_bytes=kv.read_bytes,
            write_batches=kv.write_batches,
            write_requests=kv.write_requests,
            write_bytes=kv.write_bytes,
            egress_bytes=self._counters.egress_bytes,
            pod_millis=int((self._clock.monotonic() - self._since) * 1000),
            system_cpu_micros=self._system_cpu_ns // 1000,
            system_read_batches=system.read_batches,
            system_read_requests=system.read_requests,
            system_read_bytes=system.read_bytes,
            system_write_batches=system.write_batches,
            system_write_requests=system.write_requests,
            system_write_bytes=system.write_bytes,
            sequence=self._sequence,
            at_unix_ms=self._clock.wall_ns() // 1_000_000,
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
        else:
            self._system_cpu_ns += spent
        self._looked_cpu_ns, self._seen = now, signs
