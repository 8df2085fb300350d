"""The calls to pods: one warm mTLS channel per living pod, made while it has nothing to do.

The channel is opened by the first Status call, so that a stamp finds it connected.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc.aio

from autoscaler.pods import HeldSession, Pod, PodKey, Report
from autoscaler.usage import request_units
from dormouse.base.ids import PodId, TenantId
from dormouse.base.renewal import LiveCredentials
from dormouse.base.rpc import make_channel
from dormouse.base.tls import Credentials, Identity, Role
from proto.pod_pb2 import (
    DrainRequest,
    Owner,
    RenewRequest,
    SetOwnerRequest,
    StampReply,
    StampRequest,
    StatusReply,
    StatusRequest,
    TakeBackRequest,
)
from proto.pod_pb2_grpc import PodStub

if TYPE_CHECKING:
    from proto.pod_pb2_grpc import PodAsyncStub

FORGET_SECONDS = 5.0
POD = Identity(role=Role.POD)


class PodControl:
    """Calls pods. Every call has a time limit in seconds and raises grpc.aio.AioRpcError."""

    def __init__(self, credentials: Credentials | LiveCredentials) -> None:
        self._credentials = credentials
        self.on_status: Callable[[PodKey, StatusReply], None] = lambda key, reply: None
        """Called with every answer to `status`."""
        self.on_forget: Callable[[PodKey], None] = lambda key: None
        """Called when a pod is no more."""
        self._channels: dict[PodKey, tuple[grpc.aio.Channel, PodAsyncStub]] = {}

    async def status(self, pod: Pod, timeout: float, *, patient: bool = False) -> Report:
        """What the pod says of itself; `patient` keeps trying to connect until the time is over."""
        reply = await self._stub(pod).Status(
            StatusRequest(), timeout=timeout, wait_for_ready=patient
        )
        self.on_status(pod.key, reply)
        return _report(reply)

    async def stamp(self, pod: Pod, request: StampRequest, timeout: float) -> StampReply:
        """Make the pod its tenant's."""
        return await self._stub(pod).Stamp(request, timeout=timeout)

    async def drain(self, pod: Pod, timeout: float, *, if_idle: bool, deadline_ms: int) -> bool:
        """Ask the pod to end; False where it has sessions and `if_idle` is set."""
        request = DrainRequest(if_idle=if_idle, deadline_ms=deadline_ms)
        return (await self._stub(pod).Drain(request, timeout=timeout)).drained

    async def take_back(self, pod: Pod, timeout: float) -> bool:
        """Ask the draining pod to take sessions again; False where it is too late."""
        return (await self._stub(pod).TakeBack(TakeBackRequest(), timeout=timeout)).taken_back

    async def set_owner(self, pod: Pod, tenant: TenantId, owner: Owner, timeout: float) -> None:
        """Tell the pod its owner's new password; refused where it is not the tenant's."""
        request = SetOwnerRequest(owner=owner, tenant_id=tenant)
        await self._stub(pod).SetOwner(request, timeout=timeout)

    async def renew(
        self, pod: Pod, tenant: TenantId, certificate: bytes, authority: bytes, timeout: float
    ) -> None:
        """Send the pod another certificate, and whom to trust; PEM."""
        request = RenewRequest(tenant_id=tenant, certificate=certificate, authority=authority)
        await self._stub(pod).Renew(request, timeout=timeout)

    async def forget(self, key: PodKey, *, grace: float | None = FORGET_SECONDS) -> None:
        """Close the channel of a pod that is no more, once its calls have failed by themselves.

        A call that is open when its channel closes is cancelled, and takes its caller along.
        """
        self.on_forget(key)
        entry = self._channels.pop(key, None)
        if entry is not None:
            await entry[0].close(grace)

    async def close(self) -> None:
        """Close all channels."""
        for key in list(self._channels):
            await self.forget(key, grace=None)

    def _stub(self, pod: Pod) -> "PodAsyncStub":
        entry = self._channels.get(pod.key)
        if entry is None:
            channel = make_channel(pod.control_address, self._credentials, POD)
            entry = self._channels[pod.key] = (channel, PodStub(channel))
        return entry[1]


def _report(reply: StatusReply) -> Report:
    return Report(
        tenant=TenantId(reply.tenant_id) if reply.tenant_id else None,
        pod_id=PodId(reply.pod_id),
        sql_address=reply.sql_address,
        sessions=reply.sessions,
        active=reply.active,
        transactions=reply.transactions,
        idle_seconds=reply.idle_ms / 1000,
        cpu_micros=reply.cpu_micros,
        request_units=request_units(reply.usage),
        draining=reply.draining,
        public_key=reply.public_key,
        holds=tuple(HeldSession(each.backend_pid, each.reason) for each in reply.holds),
    )
