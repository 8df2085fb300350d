"""Which pods take a tenant's sessions: the autoscaler's picture, and waking where there is none.

The picture comes over one stream. While the stream is broken the last picture is still used: an
address that is out of date costs one failed dial, for a pod has to prove its tenant. A pod that
refused is passed over for REFUSED_SECONDS, by when the picture knows as well.
"""

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from dormouse.base.clock import Clock
from dormouse.base.errors import Blame, Unavailable
from dormouse.base.ids import PodId, TenantId
from proto.autoscaler_pb2 import MOVE, PodAddress, PodsChange, WakeRequest, WatchPodsRequest
from proxy.errors import TooManyConnections, unknown_tenant

if TYPE_CHECKING:
    from proto.autoscaler_pb2_grpc import AutoscalerAsyncStub

PROTOCOL_VERSION = 1
REFUSED_SECONDS = 2.0
REFUSED_MAX = 10_000
WAKE_TIMEOUT = 20.0
RECONNECT_SECONDS = 0.2
RECONNECT_MAX_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Pods:
    """The proxy's picture of the running pods."""

    def __init__(self, autoscaler: "AutoscalerAsyncStub", clock: Clock) -> None:
        self._autoscaler = autoscaler
        self._clock = clock
        self._picture: dict[TenantId, list[PodAddress]] = {}
        self._refused: dict[PodId, float] = {}
        self.sessions: Counter[PodId] = Counter()
        """This proxy's sessions by pod: what balances them."""
        self.complete = asyncio.Event()
        """Set once a first picture is there."""

    def __repr__(self) -> str:
        return f"<Pods tenants={len(self._picture)} refused={len(self._refused)}>"

    def known(self, tenant: TenantId) -> PodAddress | None:
        """The least busy pod of the picture that takes sessions, if there is one."""
        return self._least_busy(self._picture.get(tenant, []))

    def _least_busy(self, pods: list[PodAddress]) -> PodAddress | None:
        now = self._clock.monotonic()
        usable = [
            pod
            for pod in pods
            if pod.wish != MOVE and self._refused.get(PodId(pod.pod_id), 0.0) <= now
        ]
        return min(usable, key=lambda pod: self.sessions[PodId(pod.pod_id)], default=None)

    async def wake(self, tenant: TenantId) -> PodAddress | None:
        """Ask the autoscaler for a pod; None where all it has have just refused.

        Raises Unavailable, TooManyConnections, or Rejected where the tenant is no more.
        """
        request = WakeRequest(protocol_version=PROTOCOL_VERSION, tenant_id=tenant)
        try:
            reply = await self._autoscaler.Wake(request, timeout=WAKE_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            extra = {"tenant": tenant, "code": error.code().name, "details": error.details()}
            _log.warning("wake failed", extra=extra)
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise unknown_tenant() from error
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise TooManyConnections("too many tenants are being woken; try again") from error
            raise Unavailable("the database cannot be woken right now", blame=Blame.POD) from error
        return self._least_busy(list(reply.pods))

    def refused(self, pod: PodAddress) -> None:
        """The pod could not be dialled, or takes no sessions."""
        now = self._clock.monotonic()
        if len(self._refused) >= REFUSED_MAX:
            self._refused = {key: until for key, until in self._refused.items() if until > now}
        self._refused[PodId(pod.pod_id)] = now + REFUSED_SECONDS

    def session_opened(self, pod: PodAddress) -> None:
        """One more session of ours."""
        self.sessions[PodId(pod.pod_id)] += 1

    def session_closed(self, pod: PodAddress) -> None:
        """One less."""
        self.sessions[PodId(pod.pod_id)] -= 1
        if self.sessions[PodId(pod.pod_id)] <= 0:
            del self.sessions[PodId(pod.pod_id)]

    async def watch(self) -> None:
        """Follow the autoscaler until cancelled, over as many streams as it takes."""
        delay = RECONNECT_SECONDS
        while True:
            try:
                await self._follow()
            except grpc.aio.AioRpcError as error:
                _log.info("no picture of the pods", extra={"code": error.code().name})
            delay = RECONNECT_SECONDS if self.complete.is_set() else delay * 2
            await asyncio.sleep(min(delay, RECONNECT_MAX_SECONDS))

    async def _follow(self) -> None:
        stream = self._autoscaler.WatchPods(
            WatchPodsRequest(protocol_version=PROTOCOL_VERSION), wait_for_ready=True
        )
        fresh: dict[TenantId, list[PodAddress]] = {}
        current = fresh
        async for change in stream:
            _apply(current, change)
            if change.complete:
                self._picture = fresh
                self.complete.set()


def _apply(picture: dict[TenantId, list[PodAddress]], change: PodsChange) -> None:
    if not change.HasField("pods"):
        return
    tenant = TenantId(change.pods.tenant_id)
    if change.pods.pods:
        picture[tenant] = list(change.pods.pods)
    else:
        picture.pop(tenant, None)
