"""Another certificate for every pod that lives: the authority is being rotated.

    control ── RenewPods ──▶ each pod that is a tenant's ──▶ RenewPod (control) ──▶ Renew (pod)

A stamp under way may carry what was issued before, so it is waited for and its pod renewed with the
others. What could not be told is counted as left, and so are pods that have not said yet whose they
are: control asks again until nothing is left.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio

from autoscaler import metrics
from autoscaler.controller import Controller
from autoscaler.owners import Owners
from autoscaler.pods import OWNED, Phase, Pod
from dormouse.base.ids import TenantId
from proto.control_pb2 import RenewPodRequest

if TYPE_CHECKING:
    from proto.control_pb2_grpc import ControlAsyncStub

AT_ONCE = 8
CALL_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renewed:
    """How many pods have what is issued now, and how many may not."""

    renewed: int
    left: int


class Renewer:
    """Renews the controller's pods."""

    def __init__(self, controller: Controller, control: "ControlAsyncStub", owners: Owners) -> None:
        self._controller = controller
        self._control = control
        self._owners = owners

    async def renew_all(self) -> Renewed:
        """Renew every pod that has been somebody's since before this call."""
        fleet = self._controller.fleet
        if not fleet.connected:
            return Renewed(0, 1)
        await self._owners.until_stamped()
        turn = asyncio.Semaphore(AT_ONCE)
        pods = list(fleet.in_phase(*(OWNED - {Phase.STAMPING})))
        results = await asyncio.gather(*(self._renew(pod, turn) for pod in pods))
        unknown = fleet.count(Phase.PROBING)
        done = Renewed(sum(results), len(results) - sum(results) + unknown)
        _log.info("pods renewed", extra={"renewed": done.renewed, "left": done.left})
        return done

    async def _renew(self, pod: Pod, turn: asyncio.Semaphore) -> bool:
        async with turn:
            tenant = pod.tenant
            if tenant is None:
                return False
            try:
                await self._renew_one(pod, tenant)
            except grpc.aio.AioRpcError as error:
                if self._controller.fleet.pods.get(pod.key) is not pod:
                    return True  # it has ended meanwhile, and its certificate with it
                extra = {"tenant": tenant, "pod": pod.key, "code": error.code().name}
                _log.warning("a pod could not be renewed", extra=extra)
                metrics.RENEWALS.labels("failed").inc()
                return False
        metrics.RENEWALS.labels("renewed").inc()
        return True

    async def _renew_one(self, pod: Pod, tenant: TenantId) -> None:
        """Raises grpc.aio.AioRpcError."""
        request = RenewPodRequest(
            tenant_id=tenant, public_key=pod.public_key, pod_id=pod.pod_id or 0
        )
        issued = await self._control.RenewPod(request, timeout=CALL_SECONDS)
        await self._controller.pods.renew(
            pod, tenant, issued.certificate, issued.authority, CALL_SECONDS
        )
