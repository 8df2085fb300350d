"""The gRPC face of the autoscaler: proxies wake, watch and report; control and operators look on
and suspend."""

from __future__ import annotations  # the gRPC types are generic for the type checker only

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from autoscaler import metrics
from autoscaler.controller import Controller
from autoscaler.owners import NotTold, Owners
from autoscaler.pictures import awake_tenants, picture
from autoscaler.pods import Phase
from autoscaler.proxies import Held, ProxiesRefused, ProxyTable
from autoscaler.renewer import Renewer
from autoscaler.suspender import Suspender
from autoscaler.waker import WakeFailed, Waker
from autoscaler.watchers import Watcher, WatchRefused, pods_of
from dormouse.base.ids import TenantId
from dormouse.base.rpc import Access
from dormouse.base.tls import Role
from proto.autoscaler_pb2 import (
    ASLEEP,
    Decision,
    DescribeTenantsReply,
    DescribeTenantsRequest,
    EndPodReply,
    EndPodRequest,
    ExplainTenantReply,
    ExplainTenantRequest,
    ListPodsReply,
    ListPodsRequest,
    PodPicture,
    Pods,
    PodsChange,
    RenewPodsReply,
    RenewPodsRequest,
    SessionsAck,
    SessionsReport,
    SetOwnerReply,
    SetOwnerRequest,
    SuspendReply,
    SuspendRequest,
    TenantPicture,
    WakeRequest,
    WarmPool,
    WatchPodsRequest,
)
from proto.autoscaler_pb2_grpc import AutoscalerServicer
from proto.pod_pb2 import Owner

PROTOCOL_VERSION = 1
SUSPEND_SECONDS = 20.0
SET_OWNER_SECONDS = 10.0

_PROXY = Access(roles=frozenset({Role.PROXY}))
_PLANE = Access(roles=frozenset({Role.CONTROL, Role.OPERATOR}))
_SERVICE = "/dormouse.autoscaler.v1.Autoscaler"
ACCESS = {
    f"{_SERVICE}/Wake": Access(roles=frozenset({Role.PROXY, Role.CONTROL})),
    f"{_SERVICE}/WatchPods": _PROXY,
    f"{_SERVICE}/ReportSessions": _PROXY,
    f"{_SERVICE}/Suspend": _PLANE,
    f"{_SERVICE}/SetOwner": Access(roles=frozenset({Role.CONTROL})),
    f"{_SERVICE}/RenewPods": Access(roles=frozenset({Role.CONTROL})),
    f"{_SERVICE}/EndPod": Access(roles=frozenset({Role.CONTROL})),
    f"{_SERVICE}/ListPods": _PLANE,
    f"{_SERVICE}/DescribeTenants": _PLANE,
    f"{_SERVICE}/ExplainTenant": _PLANE,
}

_log = logging.getLogger(__name__)
Context = grpc.aio.ServicerContext


class AutoscalerService(AutoscalerServicer):
    """See `proto/autoscaler.proto`."""

    def __init__(
        self,
        controller: Controller,
        waker: Waker,
        suspender: Suspender,
        proxies: ProxyTable,
        owners: Owners,
        renewer: Renewer,
    ) -> None:
        self._owners = owners
        self._renewer = renewer
        self._controller = controller
        self._waker = waker
        self._suspender = suspender
        self._proxies = proxies

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
        watchers = self._controller.watchers
        try:
            watcher = watchers.enter()
        except WatchRefused as refusal:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refusal))
            raise RuntimeError("abort raises") from refusal
        try:
            async for change in self._watch(watcher, request):
                yield change
        except (WatchRefused, ProxiesRefused) as refusal:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refusal))
        finally:
            watchers.leave(watcher)

    async def _watch(
        self, watcher: Watcher, request: WatchPodsRequest
    ) -> AsyncIterator[PodsChange]:
        clock = self._controller.clock
        proxy = self._proxies.join(
            request.peer_address,
            request.proxy_number,
            clock.monotonic(),
            told=lambda: watcher.tell(PodsChange(proxies=self._proxies.seen_by(proxy))),
            cut=watcher.cut,
        )
        metrics.PROXIES.set(len(self._proxies))
        _log.info("proxy watches", extra={"proxy": proxy.number, "peer": request.peer_address})
        try:
            yield PodsChange(proxies=self._proxies.seen_by(proxy))
            async for change in self._controller.watchers.changes(watcher):
                yield change
        finally:
            self._proxies.leave(proxy, clock.monotonic())
            metrics.PROXIES.set(len(self._proxies))
            metrics.PARKED.set(self._proxies.parked)
            _log.info("proxy gone", extra={"proxy": proxy.number})

    async def ReportSessions(  # noqa: N802
        self, request: SessionsReport, context: Context[Any, Any]
    ) -> SessionsAck:
        """See the proto."""
        await _check_version(request.protocol_version, context)
        held = {
            TenantId(each.tenant_id): Held(each.sessions, each.parked) for each in request.tenants
        }
        try:
            busier = self._proxies.reported(request.proxy_number, held)
        except ProxiesRefused as refusal:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(refusal))
            raise RuntimeError("abort raises") from refusal
        metrics.PARKED.set(self._proxies.parked)
        for tenant in busier:
            for pod in self._controller.fleet.of(tenant, Phase.RUNNING):
                self._controller.poller.hurry(pod)
        return SessionsAck()

    async def Suspend(  # noqa: N802
        self, request: SuspendRequest, context: Context[Any, Any]
    ) -> SuspendReply:
        """See the proto."""
        try:
            async with asyncio.timeout(SUSPEND_SECONDS):
                ended = await self._suspender.suspend(
                    TenantId(request.tenant_id), why="it was asked for"
                )
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "a pod is still there")
            raise
        return SuspendReply(pods_ended=ended)

    async def SetOwner(  # noqa: N802
        self, request: SetOwnerRequest, context: Context[Any, Any]
    ) -> SetOwnerReply:
        """See the proto."""
        owner = Owner(name=request.name, scram_verifier=request.scram_verifier)
        try:
            async with asyncio.timeout(SET_OWNER_SECONDS):
                told = await self._owners.set(TenantId(request.tenant_id), owner)
        except (NotTold, TimeoutError) as failure:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(failure) or "a pod is being made")
            raise RuntimeError("abort raises") from failure
        return SetOwnerReply(pods=told)

    async def RenewPods(  # noqa: N802
        self, request: RenewPodsRequest, context: Context[Any, Any]
    ) -> RenewPodsReply:
        """See the proto."""
        done = await self._renewer.renew_all()
        return RenewPodsReply(renewed=done.renewed, left=done.left)

    async def EndPod(  # noqa: N802
        self, request: EndPodRequest, context: Context[Any, Any]
    ) -> EndPodReply:
        """See the proto."""
        controller = self._controller
        pods = controller.fleet.of(TenantId(request.tenant_id))
        pod = next((each for each in pods if each.pod_id == request.pod_id), None)
        if pod is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such pod")
            raise RuntimeError("abort raises")
        controller.kill(pod, "revoked")
        controller.step(pod.tenant)
        return EndPodReply()

    async def ListPods(  # noqa: N802
        self, request: ListPodsRequest, context: Context[Any, Any]
    ) -> ListPodsReply:
        """See the proto."""
        pods = self._controller.fleet.of(TenantId(request.tenant_id))
        return ListPodsReply(
            pods=[
                PodPicture(
                    pod_id=pod.pod_id or 0,
                    phase=pod.phase.value,
                    sessions=pod.sessions,
                    cpu_permille=pod.cpu_permille,
                    generation=pod.generation,
                )
                for pod in pods
            ]
        )

    async def DescribeTenants(  # noqa: N802
        self, request: DescribeTenantsRequest, context: Context[Any, Any]
    ) -> DescribeTenantsReply:
        """See the proto."""
        controller = self._controller
        fleet = controller.fleet
        awake = [*awake_tenants(fleet), *self._proxies.parked_tenants()]
        named = [TenantId(tenant) for tenant in request.tenant_ids] or sorted(set(awake))
        pictures = [self._picture(tenant) for tenant in named]
        return DescribeTenantsReply(
            tenants=[each for each in pictures if each.state != ASLEEP or each.parked],
            warm_pool=WarmPool(ready=fleet.count(Phase.WARM), wanted=controller.warm_wanted()),
        )

    async def ExplainTenant(  # noqa: N802
        self, request: ExplainTenantRequest, context: Context[Any, Any]
    ) -> ExplainTenantReply:
        """See the proto."""
        tenant = TenantId(request.tenant_id)
        return ExplainTenantReply(
            picture=self._picture(tenant),
            decisions=[
                Decision(
                    at_unix_ms=each.at_unix_ms,
                    action=each.action,
                    reason=each.reason,
                    inputs=dict(each.inputs),
                )
                for each in self._controller.history.of(tenant, request.decisions_max)
            ],
        )

    def _picture(self, tenant: TenantId) -> TenantPicture:
        controller = self._controller
        held = self._proxies.held(tenant)
        return picture(controller.fleet, tenant, held, controller.clock.monotonic())


async def _check_version(version: int, context: Context[Any, Any]) -> None:
    if version != PROTOCOL_VERSION:
        await context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"protocol version {version} is not spoken here, {PROTOCOL_VERSION} is",
        )
