"""Wakes: from "tenant 17 wants a pod" to a pod that takes its sessions.

A pod for a tenant that runs already takes the same way; nobody waits for it, so a failure is just
noted, and the next decision tries again after a while.

    claim ───▶ IssuePod (control) ───▶ Stamp (pod) ───▶ published
      │             │ not found: the wake fails, the pod goes back to the pool
      │             │ no answer: the pod goes back, another try
      │                                    │ no storage: the pod is probed anew, another try
      │                                    │ no answer: the pod is killed, another try
      └── waits while the pool is empty

A pod that was sent a stamp may be the tenant's even if it never said so, hence the kill. Everything
else a pod needs was done while it was warm: these two calls are all a client waits for. All who
wake one tenant at a time share one wake.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from autoscaler import metrics
from autoscaler.controller import Controller
from autoscaler.limits import Defaults
from autoscaler.owners import Owners, Stamping
from autoscaler.pods import Cause, Phase, Pod
from dormouse.base.ids import PodId, TenantId
from dormouse.base.tasks import cancel, spawn
from proto.control_pb2 import IssuePodReply, IssuePodRequest
from proto.pod_pb2 import Owner, StampReply, StampRequest

if TYPE_CHECKING:
    from proto.control_pb2_grpc import ControlAsyncStub

PROTOCOL_VERSION = 1
ATTEMPTS_MAX = 4
RETRY_SECONDS = 0.2
LEARNING_MAX = 8
"""Tenants of adopted pods that are asked about at once."""

_log = logging.getLogger(__name__)
# What control says of the tenant itself, and another try would not change.
_FINAL = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


@dataclass(frozen=True, slots=True)
class WakeFailed:
    """Why there is no pod. Data, for it is expected: callers turn it into a gRPC status."""

    code: grpc.StatusCode
    reason: str


@dataclass(frozen=True, slots=True)
class WakeLimits:
    """The bounds of wakes, in seconds and numbers."""

    wake_timeout: float
    stamp_timeout: float
    wakes_max: int


class Waker:
    """Wakes tenants with the controller's pods."""

    def __init__(
        self,
        controller: Controller,
        control: "ControlAsyncStub",
        storage_address: str,
        limits: WakeLimits,
        defaults: Defaults,
        *,
        control_address: str,
        owners: Owners,
    ) -> None:
        self._owners = owners
        self._control_address = control_address
        self._controller = controller
        self._control = control
        self._storage_address = storage_address
        self._limits = limits
        self._defaults = defaults
        self._wakes: dict[TenantId, asyncio.Task[WakeFailed | None]] = {}
        self._claims: dict[TenantId, asyncio.Future[Pod]] = {}
        self._growing: set[asyncio.Task[None]] = set()
        self._asking: set[TenantId] = set()
        controller.on_claim = self._claimed
        controller.on_adopted = self._learn_settings

    def __repr__(self) -> str:
        return f"<Waker waking={list(self._wakes)} claims={list(self._claims)}>"

    async def wake(self, tenant: TenantId) -> WakeFailed | None:
        """Return when the tenant has a running pod, or why it has none."""
        controller = self._controller
        if controller.fleet.of(tenant, Phase.RUNNING):
            controller.fleet.tenant_called(tenant, controller.clock.monotonic())
            controller.step(tenant)
            return None
        task = self._wakes.get(tenant)
        if task is None:
            if len(self._wakes) >= self._limits.wakes_max:
                return WakeFailed(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many tenants waking")
            task = spawn(self._wake(tenant), name=f"wake-{tenant}")
            self._wakes[tenant] = task
            task.add_done_callback(lambda _: self._wakes.pop(tenant, None))
        return await asyncio.shield(task)

    async def settle(self, tenant: TenantId) -> None:
        """Wait for a wake that is under way, however it ends."""
        if (task := self._wakes.get(tenant)) is not None:
            await asyncio.wait([task])

    async def close(self) -> None:
        """Give up what is under way. Whoever waits is told that there is no pod."""
        await cancel(*self._wakes.values(), *self._growing)

    async def _wake(self, tenant: TenantId) -> WakeFailed | None:
        started = self._controller.clock.monotonic()
        failure: WakeFailed | None = WakeFailed(grpc.StatusCode.UNAVAILABLE, "no pod in time")
        try:
            async with asyncio.timeout(self._limits.wake_timeout):
                for attempt in range(ATTEMPTS_MAX):
                    failure = await self._attempt(tenant, started)
                    if failure is None or failure.code in _FINAL:
                        break
                    await asyncio.sleep(RETRY_SECONDS * attempt)
        except TimeoutError:
            pass
        outcome = "woken" if failure is None else failure.code.name.lower()
        metrics.WAKES.labels(outcome).inc()
        if failure is None:
            seconds = self._controller.clock.monotonic() - started
            metrics.WAKE_SECONDS.labels("total").observe(seconds)
            _log.info("tenant woken", extra={"tenant": tenant, "seconds": round(seconds, 4)})
        else:
            _log.warning("wake failed", extra={"tenant": tenant, "reason": failure.reason})
            self._controller.history.note(tenant, "wake failed", failure.reason)
        return failure

    async def _attempt(self, tenant: TenantId, since: float) -> WakeFailed | None:
        clock = self._controller.clock
        begun = clock.monotonic()
        pod = await self._claim(tenant, since)
        if pod.phase is Phase.RUNNING:
            return None  # it was asked to sleep, and had a session
        metrics.WAKE_SECONDS.labels("claim").observe(clock.monotonic() - begun)
        failure = await self._equip(tenant, pod)
        if failure is not None:
            self._controller.step(tenant)
        return failure

    async def _equip(self, tenant: TenantId, pod: Pod) -> WakeFailed | None:
        """Make a claimed pod its tenant's; the caller steps where that fails."""
        clock = self._controller.clock
        claimed = clock.monotonic()
        async with self._owners.stamping(tenant) as stamping:
            issued = await self._issue(tenant, pod)
            if isinstance(issued, WakeFailed):
                return issued
            metrics.WAKE_SECONDS.labels("issue").observe(clock.monotonic() - claimed)
            return await self._stamp(tenant, pod, issued, stamping)

    async def _claim(self, tenant: TenantId, since: float) -> Pod:
        controller = self._controller
        future: asyncio.Future[Pod] = asyncio.get_running_loop().create_future()
        self._claims[tenant] = future
        controller.fleet.wake_asked(tenant, since)  # a second try keeps its place in the row
        controller.step(tenant)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._release(future.result())  # claimed in the moment the time ran out
            raise
        finally:
            self._claims.pop(tenant, None)
            controller.fleet.wake_settled(tenant, controller.clock.monotonic())

    def _claimed(self, tenant: TenantId, pod: Pod, cause: Cause) -> None:
        future = self._claims.get(tenant)
        if cause is not Cause.WAKE:
            task = spawn(self._grow(tenant, pod), name=f"grow-{tenant}")
            self._growing.add(task)
            task.add_done_callback(self._growing.discard)
        elif future is not None and not future.done():
            future.set_result(pod)
        else:
            self._release(pod)

    async def _grow(self, tenant: TenantId, pod: Pod) -> None:
        """One try; whoever decided on it decides whether there is another."""
        failure = await self._equip(tenant, pod)
        outcome = "grown" if failure is None else failure.code.name.lower()
        metrics.GROWTHS.labels(outcome).inc()
        if failure is not None:
            controller = self._controller
            now = controller.clock.monotonic()
            controller.fleet.grow_failed(tenant, pod.claimed_for, now)
            if failure.code is grpc.StatusCode.NOT_FOUND:
                controller.fleet.tenant_deleted(tenant, now)
            controller.history.note(tenant, "growth failed", failure.reason)
            _log.warning("growth failed", extra={"tenant": tenant, "reason": failure.reason})
            controller.step(tenant)

    def _release(self, pod: Pod) -> None:
        self._controller.fleet.pod_released(pod, self._controller.clock.monotonic())

    async def _issue(self, tenant: TenantId, pod: Pod) -> IssuePodReply | WakeFailed:
        try:
            return await self._ask_control(tenant, pod, pod.pod_id or PodId(0))
        except grpc.aio.AioRpcError as error:
            self._release(pod)
            if error.code() in _FINAL:
                return WakeFailed(error.code(), error.details() or "refused by control")
            return WakeFailed(grpc.StatusCode.UNAVAILABLE, f"control: {error.code().name}")
        except asyncio.CancelledError:
            self._release(pod)
            raise

    async def _ask_control(self, tenant: TenantId, pod: Pod, spender: PodId) -> IssuePodReply:
        """`spender`: who is to be given something to spend; 0 where nobody is."""
        request = IssuePodRequest(
            protocol_version=PROTOCOL_VERSION,
            tenant_id=tenant,
            public_key=pod.public_key,
            pod_id=spender,
        )
        timeout = self._limits.wake_timeout
        return await self._control.IssuePod(request, timeout=timeout, wait_for_ready=True)

    async def _stamp(
        self, tenant: TenantId, pod: Pod, issued: IssuePodReply, stamping: Stamping
    ) -> WakeFailed | None:
        controller = self._controller
        begun = controller.clock.monotonic()
        usable = False
        try:
            request = self._stamp_request(tenant, issued)
            reply = await controller.pods.stamp(pod, request, self._limits.stamp_timeout)
            await self._owners.catch_up(tenant, pod, stamping, request.owner)
            usable = True
        except grpc.aio.AioRpcError as error:
            usable = error.code() is grpc.StatusCode.ABORTED
            if usable:
                controller.unstamped(pod)
            extra = {"tenant": tenant, "pod": pod.key, "code": error.code().name}
            _log.warning("stamp failed", extra={**extra, "details": error.details()})
            return WakeFailed(grpc.StatusCode.UNAVAILABLE, f"stamp: {error.code().name}")
        finally:
            if not usable:
                controller.kill(pod, "stamp failed")
        now = controller.clock.monotonic()
        if controller.fleet.pods.get(pod.key) is not pod or pod.phase is not Phase.STAMPING:
            return WakeFailed(grpc.StatusCode.UNAVAILABLE, "the pod ended at once")
        _observe(reply, now - begun)
        limits = self._defaults.fill(issued.settings)
        controller.fleet.pod_stamped(pod, PodId(reply.pod_id), reply.sql_address, limits, now)
        controller.poller.hurry(pod)
        controller.step(tenant)
        return None

    def _stamp_request(self, tenant: TenantId, issued: IssuePodReply) -> StampRequest:
        return StampRequest(
            protocol_version=PROTOCOL_VERSION,
            tenant_id=tenant,
            certificate=issued.certificate,
            authority=issued.authority,
            storage_address=self._storage_address,
            owner=Owner(name=issued.owner, scram_verifier=issued.scram_verifier),
            database=issued.database,
            sessions_max=issued.settings.connections_max,
            session_key=issued.session_key,
            control_address=self._control_address,
            spending=issued.spending.SerializeToString(),
        )

    # Pods that were stamped before this process began

    def _learn_settings(self, pod: Pod) -> None:
        asked = pod.tenant in self._asking or len(self._asking) >= LEARNING_MAX
        if pod.tenant is not None and not asked:
            self._asking.add(pod.tenant)
            task = spawn(self._learn(pod.tenant, pod), name=f"settings-{pod.tenant}")
            tenant = pod.tenant
            task.add_done_callback(lambda _: self._asking.discard(tenant))

    async def _learn(self, tenant: TenantId, pod: Pod) -> None:
        try:
            issued = await self._ask_control(tenant, pod, PodId(0))
        except grpc.aio.AioRpcError as error:
            _log.info("settings not known", extra={"tenant": tenant, "code": error.code().name})
            return
        limits = self._defaults.fill(issued.settings)
        fleet = self._controller.fleet
        fleet.limits_told(tenant, limits, self._controller.clock.monotonic())


def _observe(reply: StampReply, seconds: float) -> None:
    metrics.WAKE_SECONDS.labels("stamp").observe(seconds)
    for phase in reply.phases:
        metrics.WAKE_SECONDS.labels(f"stamp_{phase.name}").observe(phase.micros / 1e6)
