"""Who is told of changes to the tenants' pods: every watcher at its own pace, up to a bound."""

import asyncio
from collections.abc import AsyncIterator

from autoscaler.fleet import Fleet, Phase
from autoscaler.metrics import WATCHERS_CUT
from dormouse.base.ids import TenantId
from proto.autoscaler_pb2 import MOVE, SERVE, PodAddress, Pods, PodsChange

QUEUE_MAX = 4096
WATCHERS_MAX = 64


class WatchRefused(Exception):
    """There are WATCHERS_MAX watchers, or this one did not keep up and has been cut off."""


def pods_of(fleet: Fleet, tenant: TenantId, *, draining: bool) -> Pods:
    """The tenant's pods that take sessions, and with `draining` those that no longer do."""
    phases = [Phase.RUNNING, Phase.ASKING, *([Phase.DRAINING] if draining else [])]
    return Pods(
        tenant_id=tenant,
        pods=[
            PodAddress(
                pod_id=pod.pod_id or 0,
                sql_address=pod.sql_address,
                sessions=pod.sessions,
                wish=MOVE if pod.phase is Phase.DRAINING else SERVE,
            )
            for pod in fleet.of(tenant, *phases)
            if pod.sql_address
        ],
    )


class Watchers:
    """Fans changes out. Nothing here ever waits for a watcher."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._queues: set[asyncio.Queue[PodsChange | None]] = set()
        self._told: dict[TenantId, frozenset[tuple[int, bool]]] = {}

    def __repr__(self) -> str:
        return f"<Watchers n={len(self._queues)} backlog={[q.qsize() for q in self._queues]}>"

    def refresh(self, tenants: set[TenantId]) -> None:
        """Tell of those tenants whose set of pods has changed (not: how busy they are)."""
        for tenant in tenants:
            pods = pods_of(self._fleet, tenant, draining=True)
            shape = frozenset((pod.pod_id, pod.draining) for pod in pods.pods)
            if shape != self._told.get(tenant, frozenset()):
                self._told[tenant] = shape
                if not shape:
                    del self._told[tenant]
                self._publish(PodsChange(pods=pods))

    def _publish(self, change: PodsChange) -> None:
        for queue in list(self._queues):
            if queue.qsize() >= QUEUE_MAX:
                WATCHERS_CUT.inc()
                self._queues.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(change)

    async def watch(self) -> AsyncIterator[PodsChange]:
        """The picture, `complete`, then every change. Raises WatchRefused."""
        if len(self._queues) >= WATCHERS_MAX:
            raise WatchRefused(f"{WATCHERS_MAX} watchers already")
        queue: asyncio.Queue[PodsChange | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            for tenant in list(self._told):
                # Read at the time of sending: never older than a change that is queued behind it.
                yield PodsChange(pods=pods_of(self._fleet, tenant, draining=True))
            yield PodsChange(complete=True)
            while True:
                change = await queue.get()
                if change is None:
                    raise WatchRefused("did not keep up")
                yield change
        finally:
            self._queues.discard(queue)
