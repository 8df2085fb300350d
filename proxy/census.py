"""How many sessions each tenant has here, with a pod and parked; for the report and the metrics."""

import asyncio
from collections import Counter
from collections.abc import Iterator

from dormouse.base.ids import TenantId
from proxy import metrics


class Census:
    """See the module."""

    def __init__(self) -> None:
        self._sessions: Counter[TenantId] = Counter()
        self._parked: Counter[TenantId] = Counter()
        self.changed = asyncio.Event()
        """Set with every change; for the one who reports to clear."""

    def __repr__(self) -> str:
        return f"<Census sessions={self._sessions.total()} parked={self._parked.total()}>"

    def __iter__(self) -> Iterator[tuple[TenantId, int, int]]:
        """Tenant, sessions that are not parked, parked ones."""
        for tenant, sessions in self._sessions.items():
            parked = self._parked[tenant]
            yield tenant, sessions - parked, parked

    def opened(self, tenant: TenantId) -> None:
        """A session has logged in."""
        self._add(self._sessions, tenant, 1)
        metrics.SESSIONS.inc()

    def closed(self, tenant: TenantId) -> None:
        """A session has ended."""
        self._add(self._sessions, tenant, -1)
        metrics.SESSIONS.dec()

    def parked(self, tenant: TenantId) -> None:
        """One of its sessions has no pod any more."""
        self._add(self._parked, tenant, 1)
        metrics.PARKED.inc()

    def unparked(self, tenant: TenantId) -> None:
        """One of its parked sessions goes on, or has ended."""
        self._add(self._parked, tenant, -1)
        metrics.PARKED.dec()

    def _add(self, counts: Counter[TenantId], tenant: TenantId, change: int) -> None:
        counts[tenant] += change
        if not counts[tenant]:
            del counts[tenant]
        self.changed.set()
