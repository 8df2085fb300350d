"""Sessions that wait without a pod, and how much of their state the proxy holds.

What is held is the last checkpoint of every session, and all of those that are parked. Both have
one bound for a session, one for all sessions of a tenant and one for all of the proxy. At the bound
a checkpoint is not kept (the session ends with its pod, if that dies), and a session not parked: it
keeps its tenant awake.
"""

from collections import Counter
from typing import TYPE_CHECKING

from dormouse.base.ids import TenantId
from proxy import metrics
from proxy.config import ProxyLimits

if TYPE_CHECKING:
    pass


class SealedStore:
    """Counts the bytes of the states that sessions hold."""

    def __init__(self, limits: ProxyLimits) -> None:
        self._limits = limits
        self._total = 0
        self._tenants: Counter[TenantId] = Counter()

    def __repr__(self) -> str:
        return f"<SealedStore bytes={self._total} tenants={len(self._tenants)}>"

    def take(self, tenant: TenantId, size: int) -> bool:
        """Make room for a state; False if there is none."""
        limits = self._limits
        if (
            size > limits.sealed_session_bytes_max
            or self._total + size > limits.sealed_bytes_max
            or self._tenants[tenant] + size > limits.sealed_tenant_bytes_max
        ):
            metrics.SEALED_REFUSED.inc()
            return False
        self._total += size
        self._tenants[tenant] += size
        metrics.SEALED_BYTES.inc(size)
        return True

    def give_back(self, tenant: TenantId, size: int) -> None:
        """A state is not held any more."""
        self._total -= size
        self._tenants[tenant] -= size
        if not self._tenants[tenant]:
            del self._tenants[tenant]
        metrics.SEALED_BYTES.dec(size)
