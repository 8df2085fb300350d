"""Who is told of changes to the tenants' pods: every watcher at its own pace, up to a bound."""

import asyncio
from collections.abc import AsyncIterator

from autoscaler.fleet import Fleet
from autoscaler.metrics import WATCHERS_CUT
from autoscaler.pods import SERVING, Phase, Pod
from autoscaler.tenants import Parking
from dormouse.base.ids import TenantId
from proto.autoscaler_pb2 import MOVE, PARK, SERVE, PodAddress, Pods, PodsChange, PodWish

QUEUE_MAX = 4096
WATCHERS_MAX = 64
CPU_STEP_PERMILLE = 50
"""A load that has changed by less is not worth telling."""

_Shape = frozenset[tuple[int, int]]


class WatchRefused(Exception):
    """There are WATCHERS_MAX watchers, or this one did not keep up and has been cut off."""


def pods_of(fleet: Fleet, tenant: TenantId, *, draining: bool) -> Pods:
    """The tenant's pods that take sessions, and with `draining` those that no longer do."""
    record = fleet.tenants.get(tenant)
    if record is None:
        return Pods(tenant_id=tenant)
    phases = [*SERVING, *([Phase.DRAINING, Phase.RETURNING] if draining else [])]
    return Pods(
        tenant_id=tenant,
        pods=[
            PodAddress(
                pod_id=pod.pod_id or 0,
                sql_address=pod.sql_address,
                sessions=pod.sessions,
                wish=_wish(pod, record.parking),
                cpu_permille=pod.cpu_permille,
            )
            for pod in record.in_phase(*phases)
            if pod.sql_address
        ],
    )


def _wish(pod: Pod, parking: Parking) -> "PodWish.ValueType":
    if pod.phase not in SERVING:
        return MOVE
    return SERVE if parking is Parking.NO else PARK


class Watcher:
    """One that is told. Nothing it is told ever makes the teller wait."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[PodsChange | None] = asyncio.Queue()
        self._is_cut = False

    def __repr__(self) -> str:
        return f"<Watcher backlog={self._queue.qsize()}{' cut' if self._is_cut else ''}>"

    def tell(self, change: PodsChange) -> None:
        """Hand it a change; a watcher with QUEUE_MAX of them unread is cut off."""
        if self._is_cut:
            return
        if self._queue.qsize() >= QUEUE_MAX:
            WATCHERS_CUT.inc()
            self.cut()
        else:
            self._queue.put_nowait(change)

    def cut(self) -> None:
        """End its stream."""
        if not self._is_cut:
            self._is_cut = True
            self._queue.put_nowait(None)

    async def next(self) -> PodsChange:
        """What it is told next. Raises WatchRefused when it was cut."""
        change = await self._queue.get()
        if change is None:
            raise WatchRefused("did not keep up, or watches elsewhere")
        return change


class Watchers:
    """Fans changes out."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._watchers: set[Watcher] = set()
        self._told: dict[TenantId, _Shape] = {}
        self._loads: dict[TenantId, list[tuple[int, int, int]]] = {}

    def __repr__(self) -> str:
        return f"<Watchers {list(self._watchers)}>"

    def refresh(self, tenants: set[TenantId]) -> None:
        """Tell of those tenants whose pods, or what is wished of them, have changed (not: how busy
        they are)."""
        for tenant in tenants:
            pods = pods_of(self._fleet, tenant, draining=True)
            shape = frozenset((pod.pod_id, pod.wish) for pod in pods.pods)
            if shape != self._told.get(tenant, frozenset()):
                self._told[tenant] = shape
                if not shape:
                    del self._told[tenant]
                self._publish(PodsChange(pods=pods))

    def refresh_loads(self) -> None:
        """Tell of tenants with several pods whose loads have changed."""
        before, self._loads = self._loads, {}
        for tenant, shape in self._told.items():
            if len(shape) > 1:
                pods = pods_of(self._fleet, tenant, draining=True)
                loads = [
                    (pod.pod_id, pod.sessions, pod.cpu_permille // CPU_STEP_PERMILLE)
                    for pod in pods.pods
                ]
                self._loads[tenant] = loads
                if loads != before.get(tenant):
                    self._publish(PodsChange(pods=pods))

    def _publish(self, change: PodsChange) -> None:
        for watcher in self._watchers:
            watcher.tell(change)

    def enter(self) -> Watcher:
        """A new watcher. Raises WatchRefused."""
        if len(self._watchers) >= WATCHERS_MAX:
            raise WatchRefused(f"{WATCHERS_MAX} watchers already")
        watcher = Watcher()
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Tell it no more."""
        self._watchers.discard(watcher)

    async def changes(self, watcher: Watcher) -> AsyncIterator[PodsChange]:
        """The picture, `complete`, then every change. Raises WatchRefused."""
        for tenant in list(self._told):
            # Read at the time of sending: never older than a change that is queued behind it.
            yield PodsChange(pods=pods_of(self._fleet, tenant, draining=True))
        yield PodsChange(complete=True)
        while True:
            yield await watcher.next()
