"""The gRPC face of the autoscaler: proxies wake and watch; control and operators suspend.

A suspend ends the pods that the tenant has at the time, a pod about to be its own included. It does
not keep the tenant from being woken by a connection that comes meanwhile: that is control's to
forbid, by refusing to issue.
"""

from __future__ import annotations  # the gRPC types are generic for the type checker only

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from autoscaler import metrics
from autoscaler.controller import Controller
from autoscaler.fleet import OWNED, Phase, Pod
from autoscaler.pictures import awake_tenants, picture
from autoscaler.waker import WakeFailed, Waker
from autoscaler.watchers import WatchRefused, pods_of
from dormouse.base.ids import TenantId
from dormouse.base.rpc import Access
from dormouse.base.tls import Role
from proto.autoscaler_pb2 import (
    ASLEEP,
    DescribeTenantsReply,
    DescribeTenantsRequest,
    Pods,
    PodsChange,
    SuspendReply,
    SuspendRequest,
    WakeRequest,
    WatchPodsRequest,
)
from proto.autoscaler_pb2_grpc import AutoscalerServicer

PROTOCOL_VERSION = 1
DRAIN_CALL_SECONDS = 3.0
SUSPEND_SECONDS = 20.0

_PROXY = Access(roles=frozenset({Role.PROXY}))
_PLANE = Access(roles=frozenset({Role.CONTROL, Role.OPERATOR}))
_SERVICE = "/dormouse.autoscaler.v1.Autoscaler"
ACCESS = {
    f"{_SERVICE}/Wake": _PROXY,
    f"{_SERVICE}/WatchPods": _PROXY,
    f"{_SERVICE}/Suspend": _PLANE,
    f"{_SERVICE}/DescribeTenants": _PLANE,
}

_log = logging.getLogger(__name__)
Context = grpc.aio.ServicerContext


class AutoscalerService(AutoscalerServicer):
    """See `proto/autoscaler.proto`."""

    def __init__(self, controller: Controller, waker: Waker) -> None:
        self._controller = controller
        self._waker = waker

    async def Wake(self, request: WakeRequest, context: Context[Any, Any]) -> Pods:  # noqa: N802
        """See the proto."""
        await _check_version(request.protocol_version, context)
        tenant = TenantId(request.tenant_id)
        failure = await self._waker.wake(tenant)
        if isinstance(failure, WakeFailed):
            await context.abort(failure.code, failure.reason)
        return pods_of(self._controller.fleet, tenant, draining=False)

    async def WatchPods(  # noqa: N802
        self, request: WatchPodsRequest, context: Context[Any, Any]
    ) -> AsyncIterator[PodsChange]:
        """See the proto."""
        await _check_version(request.protocol_version, context)
        try:
            async for change in self._controller.watchers.watch():
                yield change
        except WatchRefused as refusal:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refusal))

    async def Suspend(  # noqa: N802
        self, request: SuspendRequest, context: Context[Any, Any]
    ) -> SuspendReply:
        """See the proto."""
        tenant = TenantId(request.tenant_id)
        try:
            async with asyncio.timeout(SUSPEND_SECONDS):
                await self._waker.settle(tenant)
                pods = self._controller.fleet.of(tenant, *OWNED, Phase.KILLED)
                await asyncio.gather(*(self._end(pod) for pod in pods))
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "a pod is still there")
        if pods:
            metrics.SUSPENDS.labels("asked").inc()
            _log.info("tenant suspended", extra={"tenant": tenant, "pods": len(pods)})
        return SuspendReply(pods_ended=len(pods))

    async def _end(self, pod: Pod) -> None:
        controller = self._controller
        if pod.phase in (Phase.RUNNING, Phase.ASKING):
            now = controller.clock.monotonic()
            controller.fleet.pod_drained(pod, now, now)
            controller.step(pod.tenant)
            try:
                await controller.pods.drain(pod, DRAIN_CALL_SECONDS, if_idle=False, deadline_ms=0)
            except grpc.aio.AioRpcError as error:
                # Ended before it could answer, or hung: the drain's grace ends in a kill.
                _log.info("drain not answered", extra={"pod": pod.key, "code": error.code().name})
        await controller.until_ended(pod)

    async def DescribeTenants(  # noqa: N802
        self, request: DescribeTenantsRequest, context: Context[Any, Any]
    ) -> DescribeTenantsReply:
        """See the proto."""
        fleet = self._controller.fleet
        named = [TenantId(tenant) for tenant in request.tenant_ids] or awake_tenants(fleet)
        now = self._controller.clock.monotonic()
        pictures = [picture(fleet, tenant, now) for tenant in named]
        return DescribeTenantsReply(tenants=[each for each in pictures if each.state != ASLEEP])


async def _check_version(version: int, context: Context[Any, Any]) -> None:
    if version != PROTOCOL_VERSION:
        await context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"protocol version {version} is not spoken here, {PROTOCOL_VERSION} is",
        )
