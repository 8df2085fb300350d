"""Which pods take a tenant's sessions: the autoscaler's picture, and waking where there is none.

The picture comes over one stream. While the stream is broken the last picture is still used: an
address that is out of date costs one failed dial, for a pod has to prove its tenant. A pod that
refused is passed over for REFUSED_SECONDS, by when the picture knows as well.

How many sessions a pod has is told by the picture, a little late; what this proxy has opened and
closed there since then is added to it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from dormouse.base.clock import Clock
from dormouse.base.errors import Blame, DormouseError, Unavailable
from dormouse.base.ids import PodId, TenantId
from dormouse.base.tasks import spawn
from proto.autoscaler_pb2 import (
    MOVE,
    SERVE,
    PodAddress,
    Proxies,
    WakeRequest,
    WatchPodsRequest,
)
from proto.autoscaler_pb2 import Pods as PodsOfTenant
from proxy import metrics
from proxy.balance import PodLoad, pick
from proxy.errors import Reason, TooManyConnections, unknown_tenant

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
    """The proxy's picture of the running pods, and of the other proxies."""

    def __init__(
        self, autoscaler: "AutoscalerAsyncStub", clock: Clock, *, peer_address: str = ""
    ) -> None:
        """`peer_address` is where the other proxies reach this one; empty: nowhere."""
        self._autoscaler = autoscaler
        self._clock = clock
        self._peer_address = peer_address
        self._picture: dict[TenantId, list[PodAddress]] = {}
        self._refused: dict[PodId, float] = {}
        self._own: Counter[PodId] = Counter()
        self._own_then: dict[PodId, int] = {}
        self._waking: dict[TenantId, asyncio.Task[list[PodAddress] | DormouseError]] = {}
        self.number = 0
        """This proxy's, 0 until the autoscaler has given it one."""
        self.proxies: Mapping[int, str] = {}
        """The other proxies: where each number is reached."""
        self.on_meeting: Callable[[], None] = lambda: None
        """Called when the autoscaler has told the number, at the beginning of every stream."""
        self.complete = asyncio.Event()
        """Set once a first picture is there."""
        self.changed = asyncio.Event()
        """Set with every change; for the one who follows wishes to clear."""
        self.joined: set[TenantId] = set()
        """Tenants that have got a further pod; for the one who balances to clear."""

    def __repr__(self) -> str:
        return (
            f"<Pods tenants={len(self._picture)} refused={len(self._refused)} "
            f"waking={len(self._waking)} number={self.number}>"
        )

    # The picture

    def of(self, tenant: TenantId) -> Sequence[PodAddress]:
        """The tenant's pods, whatever is wished for them."""
        return self._picture.get(tenant, ())

    def tenants(self) -> Iterator[TenantId]:
        """Those with a pod."""
        return iter(self._picture)

    def wishes(self) -> dict[PodId, int]:
        """What is wished for pods that are not simply to serve (a PodWish each)."""
        return {
            PodId(pod.pod_id): pod.wish
            for pods in self._picture.values()
            for pod in pods
            if pod.wish != SERVE
        }

    def wish(self, tenant: TenantId, pod: PodId) -> int:
        """What is wished for one of the tenant's pods (a PodWish); SERVE where it is unknown."""
        return next((each.wish for each in self.of(tenant) if each.pod_id == pod), SERVE)

    def known(self, tenant: TenantId, *, but: PodId | None = None) -> PodAddress | None:
        """The least busy pod of the picture that takes sessions, if there is one `but` that."""
        return self._least_busy(pod for pod in self.of(tenant) if pod.pod_id != but)

    def loads(self, pods: Iterable[PodAddress]) -> list[PodLoad]:
        """The loads of those of `pods` that take sessions."""
        now = self._clock.monotonic()
        return [
            PodLoad(PodId(pod.pod_id), self._sessions(pod), pod.cpu_permille)
            for pod in pods
            if pod.wish != MOVE and self._refused.get(PodId(pod.pod_id), 0.0) <= now
        ]

    def own(self) -> Mapping[PodId, int]:
        """This proxy's sessions by pod."""
        return self._own

    def _sessions(self, pod: PodAddress) -> int:
        key = PodId(pod.pod_id)
        own = self._own[key]
        return max(own, pod.sessions + own - self._own_then.get(key, 0))

    def _least_busy(self, pods: Iterable[PodAddress]) -> PodAddress | None:
        by_id = {pod.pod_id: pod for pod in pods}
        found = pick(self.loads(by_id.values()))
        return None if found is None else by_id[found.pod]

    # Waking

    async def wake(self, tenant: TenantId, *, but: PodId | None = None) -> PodAddress | None:
        """Ask the autoscaler for a pod; None where all it has have just refused, or are `but`.

        All who ask for one tenant at a time share one question. Raises Unavailable,
        TooManyConnections, or Rejected where the tenant is no more.
        """
        task = self._waking.get(tenant)
        if task is None:
            task = spawn(self._ask(tenant), name=f"wake-{tenant}")
            self._waking[tenant] = task
            task.add_done_callback(lambda _: self._waking.pop(tenant, None))
        pods = await asyncio.shield(task)
        if isinstance(pods, DormouseError):
            raise pods
        return self._least_busy(pod for pod in pods if pod.pod_id != but)

    async def _ask(self, tenant: TenantId) -> list[PodAddress] | DormouseError:
        request = WakeRequest(protocol_version=PROTOCOL_VERSION, tenant_id=tenant)
        try:
            reply = await self._autoscaler.Wake(request, timeout=WAKE_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            extra = {"tenant": tenant, "code": error.code().name, "details": error.details()}
            _log.warning("wake failed", extra=extra)
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return unknown_tenant()
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                return TooManyConnections(
                    "too many tenants are being woken; try again", reason=Reason.UNAVAILABLE
                )
            return Unavailable("the database cannot be woken right now", blame=Blame.POD)
        return list(reply.pods)

    # What this proxy knows by itself

    def refused(self, pod: PodAddress) -> None:
        """The pod could not be dialled, or takes no sessions."""
        now = self._clock.monotonic()
        if len(self._refused) >= REFUSED_MAX:
            self._refused = {key: until for key, until in self._refused.items() if until > now}
        self._refused[PodId(pod.pod_id)] = now + REFUSED_SECONDS

    def session_opened(self, pod: PodAddress) -> None:
        """One more session of ours."""
        self._own[PodId(pod.pod_id)] += 1

    def session_closed(self, pod: PodAddress) -> None:
        """One less."""
        key = PodId(pod.pod_id)
        self._own[key] -= 1
        if self._own[key] <= 0:
            del self._own[key]

    # Following

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
        request = WatchPodsRequest(
            protocol_version=PROTOCOL_VERSION,
            peer_address=self._peer_address,
            proxy_number=self.number,
        )
        picture: dict[TenantId, list[PodAddress]] = {}
        async for change in self._autoscaler.WatchPods(request, wait_for_ready=True):
            if change.HasField("proxies"):
                self._meet(change.proxies)
            if change.HasField("pods"):
                self._apply(picture, change.pods)
            if change.complete:
                self._picture = picture
                self.complete.set()
            metrics.POD_CHANGES.inc()
            self.changed.set()

    def _meet(self, proxies: Proxies) -> None:
        if proxies.your_number != self.number:
            _log.info("proxy number given", extra={"number": proxies.your_number})
        self.number = proxies.your_number
        self.proxies = {other.number: other.peer_address for other in proxies.others}
        self.on_meeting()

    def _apply(self, picture: dict[TenantId, list[PodAddress]], pods: PodsOfTenant) -> None:
        tenant = TenantId(pods.tenant_id)
        before = {pod.pod_id for pod in self.of(tenant)}
        if before and any(pod.pod_id not in before for pod in pods.pods):
            self.joined.add(tenant)
        if pods.pods:
            picture[tenant] = list(pods.pods)
        else:
            picture.pop(tenant, None)
        for gone in before - {pod.pod_id for pod in pods.pods}:
            self._own_then.pop(PodId(gone), None)
        for pod in pods.pods:
            self._own_then[PodId(pod.pod_id)] = self._own[PodId(pod.pod_id)]
