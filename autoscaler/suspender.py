"""Suspends: a tenant is put to sleep at once, its sessions parked where they can be.

    asked ──▶ PARK is wished ──sessions gone, or grace over──▶ drain (57P01 for the rest) ──▶ ended

A suspend ends the pods that the tenant has at the time, a pod about to be its own included. It does
not keep the tenant from being woken by a connection that comes meanwhile: that is control's to
forbid, by refusing to issue.
"""

import asyncio
import logging
import sys
from collections.abc import Callable

from autoscaler import metrics
from autoscaler.controller import Controller
from autoscaler.pods import OWNED, SERVING, Cause, Phase, Pod
from autoscaler.tenants import Parking
from autoscaler.waker import Waker
from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn

GRACE_SECONDS = 2.0
"""How long sessions are given to be parked."""
COME_BACK_SECONDS = 3.0
"""How long proxies may take to watch again after a restart of this process."""
CROWD_SECONDS = 15.0
"""How long sessions are given in all, as long as there are fewer at every other look."""
LOOK_SECONDS = 0.1

_log = logging.getLogger(__name__)


class Suspender:
    """Puts tenants to sleep. Whoever suspends one tenant at a time shares one suspend."""

    def __init__(
        self, controller: Controller, waker: Waker, proxies_watch: Callable[[], bool]
    ) -> None:
        """`proxies_watch`: whether there is anybody to park sessions."""
        self._controller = controller
        self._waker = waker
        self._proxies_watch = proxies_watch
        self._suspends: dict[TenantId, asyncio.Task[int]] = {}

    def __repr__(self) -> str:
        return f"<Suspender suspending={list(self._suspends)}>"

    async def suspend(self, tenant: TenantId, *, why: str, grace: float = GRACE_SECONDS) -> int:
        """Return when no pod of the tenant is left; how many there were."""
        task = self._suspends.get(tenant)
        if task is None:
            task = spawn(self._suspend(tenant, why, grace), name=f"suspend-{tenant}")
            self._suspends[tenant] = task
            task.add_done_callback(lambda _: self._suspends.pop(tenant, None))
        return await asyncio.shield(task)

    async def _suspend(self, tenant: TenantId, why: str, grace: float) -> int:
        controller = self._controller
        await self._waker.settle(tenant)
        pods = controller.fleet.of(tenant, *OWNED, Phase.KILLED)
        if not pods:
            return 0
        inputs = {"pods": str(len(pods)), "sessions": str(sum(pod.sessions for pod in pods))}
        controller.history.note(tenant, Cause.SUSPEND.value, why, inputs)
        self._wish(tenant, Parking.SUSPEND)
        try:
            await self._let_park(tenant, grace)
            await asyncio.gather(*(self._end(pod) for pod in pods))
        finally:
            self._wish(tenant, Parking.NO)
        metrics.SUSPENDS.labels("asked").inc()
        _log.info("tenant suspended", extra={"tenant": tenant, "pods": len(pods)})
        return len(pods)

    def _wish(self, tenant: TenantId, parking: Parking) -> None:
        controller = self._controller
        if (record := controller.fleet.tenants.get(tenant)) is not None:
            controller.fleet.tenant_parking(record, parking, controller.clock.monotonic())
            controller.step(tenant)

    async def _let_park(self, tenant: TenantId, grace: float) -> None:
        controller = self._controller
        begun = controller.clock.monotonic()
        until, fewest = begun + grace, sys.maxsize
        while (now := controller.clock.monotonic()) < until:
            if not self._proxies_watch():  # sessions have a proxy: it will be back
                until = min(now, begun + COME_BACK_SECONDS) + grace
            pods = controller.fleet.of(tenant, *SERVING)
            left = sum(pod.sessions for pod in pods)
            if left < fewest:  # it goes on: a crowd takes its time
                fewest, until = left, min(now + grace, begun + CROWD_SECONDS)
            # What a pod said before it was asked to sleep knows nothing of those who came since.
            if all(pod.answered_at > begun and not pod.sessions for pod in pods):
                return
            for pod in pods:
                controller.poller.poll(pod)
            await asyncio.sleep(LOOK_SECONDS)

    async def _end(self, pod: Pod) -> None:
        controller = self._controller
        if pod.phase in (*SERVING, Phase.DRAINING, Phase.RETURNING):
            told = controller.drain(pod, Cause.SUSPEND, 0.0)
            controller.step(pod.tenant)
            await told
        await controller.until_ended(pod)
