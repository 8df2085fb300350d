"""Turns events into the picture, and decisions into calls.

    runtime events ─┐                        ┌─▶ runtime (fork, kill)
    pods' answers  ─┼─▶ Fleet ─▶ decide() ─▶ ┼─▶ pod (drain)
    wakes          ─┘     ▲         │        └─▶ a waiting wake gets its pod
                          └─────────┘
                     noted before it is done

`step` is synchronous: between the decision and the note of it nothing else can happen, so two
events in a row never claim one pod twice. What has to wait (a call to a pod) runs in tasks that
report back to the fleet.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import grpc.aio

from autoscaler import metrics
from autoscaler.decide import (
    Action,
    ClaimPod,
    DrainPod,
    ForkPod,
    KillPod,
    Policy,
    ServeWake,
    decide,
)
from autoscaler.fleet import Fleet, Phase, Pod, PodKey
from autoscaler.podcontrol import PodControl
from autoscaler.runtimes.base import (
    Connected,
    Ended,
    Lost,
    PodRuntime,
    RuntimeEvent,
    Started,
    StartFailed,
)
from autoscaler.watchers import Watchers
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId
from dormouse.base.tasks import cancel, spawn

TICK_SECONDS = 1.0
STATUS_TIMEOUT = 2.0
WARM_STATUS_SECONDS = 10.0
"""Pods that wait are looked at less often."""

_log = logging.getLogger(__name__)


class Controller:
    """Keeps the fleet true and acts on it. `run` it as a task; `step` after changing the fleet."""

    def __init__(
        self,
        fleet: Fleet,
        policy: Policy,
        runtime: PodRuntime,
        pods: PodControl,
        clock: Clock,
    ) -> None:
        self.fleet = fleet
        self.policy = policy
        self.clock = clock
        self.pods = pods
        self.watchers = Watchers(fleet)
        self.on_claim: Callable[[TenantId, Pod], None] = _nobody_waits
        self.on_adopted: Callable[[Pod], None] = _nobody_asks
        """Called for every running pod whose settings are not known."""
        self._runtime = runtime
        self._polling: dict[PodKey, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: dict[PodKey, asyncio.Event] = {}
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Controller {self.fleet} {self.watchers} calls={len(self._tasks)}>"

    async def run(self) -> None:
        """Follow the runtime and poll the pods until cancelled."""
        following = spawn(self._follow(), name="runtime-events")
        try:
            while not following.done():
                self._tick()
                await asyncio.sleep(TICK_SECONDS)
            await following
        finally:
            await cancel(following, *self._tasks)
            await self.pods.close()

    async def until_warm(self, timeout: float) -> bool:
        """Wait until the runtime answers and the pool is full; False where that took too long."""
        try:
            async with asyncio.timeout(timeout):
                while not self._is_warm():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _is_warm(self) -> bool:
        full = self.fleet.count(Phase.WARM) >= self.policy.warm_pods
        return self.fleet.connected and full and not self.fleet.count(Phase.PROBING)

    async def until_ended(self, pod: Pod) -> None:
        """Wait until the pod is no more."""
        if self.fleet.pods.get(pod.key) is pod:
            await self._ended.setdefault(pod.key, asyncio.Event()).wait()

    def step(self, *tenants: TenantId | None) -> None:
        """Act on the picture; `tenants` are those whose pods were changed by the caller."""
        touched = {tenant for tenant in tenants if tenant is not None}
        for action in decide(self.fleet, self.policy, self.clock.monotonic()):
            touched |= self._perform(action)
        self.watchers.refresh(touched)
        self._changed.set()

    def _perform(self, action: Action) -> set[TenantId]:
        now = self.clock.monotonic()
        match action:
            case ForkPod():
                ticket = random.getrandbits(63) | 1
                self.fleet.fork_asked(ticket, now)
                self._runtime.start(ticket)
            case ClaimPod(tenant, pod):
                self.fleet.pod_claimed(pod, tenant, now)
                self.on_claim(tenant, pod)
                loop = asyncio.get_running_loop()
                loop.call_later(self.policy.refill_delay, self.step)
            case ServeWake(tenant):
                self.fleet.wake_settled(tenant)
                self.on_claim(tenant, self.fleet.of(tenant, Phase.RUNNING)[0])
            case DrainPod(pod):
                self.fleet.drain_asked(pod, now)
                self._call(self._drain_if_idle(pod), f"drain-{pod.key}")
            case KillPod(pod, reason):
                self.kill(pod, reason)
                return {pod.tenant} if pod.tenant is not None else set()
        return set()

    def kill(self, pod: Pod, reason: str) -> None:
        """End a pod at once; the caller steps with its tenant afterwards."""
        _log.warning("pod killed", extra={"pod": pod.key, "tenant": pod.tenant, "reason": reason})
        metrics.KILLS.labels(reason).inc()
        self.fleet.pod_killed(pod, self.clock.monotonic())
        self._runtime.kill(pod.key)

    def unstamped(self, pod: Pod) -> None:
        """A claimed pod says that it is nobody's; it is warm again once it has told its new key."""
        self.fleet.pod_unstamped(pod, self.clock.monotonic())
        self._poll(pod, patient=True)
        self.step()

    # Events of the runtime

    async def _follow(self) -> None:
        async for event in self._runtime.events():
            self._note(event)

    def _note(self, event: RuntimeEvent) -> None:
        now = self.clock.monotonic()
        match event:
            case Connected(living, _):
                addresses = {key: each.control_address for key, each in living.items()}
                for pod in self.fleet.runtime_connected(addresses, now):
                    self._pod_ended(pod, None)
                for pod in self.fleet.in_phase(Phase.PROBING):
                    self._poll(pod, patient=True)
                _log.info("runtime answers", extra={"living": len(living)})
            case Lost():
                if self.fleet.connected:
                    _log.warning("runtime lost")
                self.fleet.runtime_lost()
                for pod in list(self.fleet.pods.values()):
                    self._poll(pod)  # did they end with it?
            case Started(ticket, key, address, _):
                pod = self.fleet.pod_started(ticket, key, address, now)
                self._poll(pod, patient=True)
            case StartFailed(ticket, reason):
                _log.warning("no pod came", extra={"reason": reason})
                metrics.FORK_FAILURES.inc()
                self.fleet.fork_failed(ticket, now)
            case Ended(key, status):
                ended = self.fleet.pod_ended(key, now)
                if ended is not None:
                    self._pod_ended(ended, status)
        self.step()

    def _pod_ended(self, pod: Pod, status: int | None) -> None:
        extra = {"pod": pod.key, "tenant": pod.tenant, "phase": pod.phase, "status": status}
        if pod.phase in (Phase.DRAINING, Phase.KILLED, Phase.ASKING) and status is not None:
            _log.info("pod ended", extra=extra)
        else:
            _log.warning("pod crashed", extra=extra)
            metrics.CRASHES.labels(pod.phase.value).inc()
        if (event := self._ended.pop(pod.key, None)) is not None:
            event.set()
        self._call(self.pods.forget(pod.key), f"forget-{pod.key}")
        if pod.tenant is not None:
            self.watchers.refresh({pod.tenant})

    # Calls to pods

    def _tick(self) -> None:
        now = self.clock.monotonic()
        self.fleet.forks_forgotten(now - self.policy.fork_timeout)
        for pod in list(self.fleet.pods.values()):
            rests = pod.phase is Phase.WARM and now - pod.answered_at < WARM_STATUS_SECONDS
            if not rests and pod.phase not in (Phase.STAMPING, Phase.KILLED):
                self._poll(pod)
            if pod.phase is Phase.RUNNING and pod.idle_timeout is None:
                self.on_adopted(pod)
        self.step()
        metrics.show_fleet(self.fleet)

    def _poll(self, pod: Pod, *, patient: bool = False) -> None:
        if pod.key not in self._polling:
            task = self._call(self._ask_status(pod, patient), f"status-{pod.key}")
            self._polling[pod.key] = task
            task.add_done_callback(lambda _: self._polling.pop(pod.key, None))

    async def _ask_status(self, pod: Pod, patient: bool) -> None:
        timeout = self.policy.probe_timeout if patient else STATUS_TIMEOUT
        try:
            report = await self.pods.status(pod, timeout, patient=patient)
        except grpc.aio.AioRpcError as error:
            metrics.STATUS_FAILURES.inc()
            _log.debug("no status", extra={"pod": pod.key, "code": error.code().name})
            self.fleet.pod_missed(pod)
            if error.code() is grpc.StatusCode.UNAVAILABLE and not self.fleet.connected:
                self._vanished(pod)
            return
        if self.fleet.pods.get(pod.key) is not pod:
            return
        before = pod.phase
        self.fleet.pod_answered(pod, report, self.clock.monotonic())
        if pod.phase is not before:
            self.step(pod.tenant)

    def _vanished(self, pod: Pod) -> None:
        """Neither the pod nor its runtime can be reached: most likely they ended together. Should
        it live after all, the runtime will say so when it answers again."""
        if self.fleet.pods.get(pod.key) is pod:
            self.fleet.pod_vanished(pod)
            self._pod_ended(pod, None)
            self.step(pod.tenant)

    async def _drain_if_idle(self, pod: Pod) -> None:
        timeout = self.policy.ask_timeout
        try:
            drained = await self.pods.drain(pod, timeout, if_idle=True, deadline_ms=0)
        except grpc.aio.AioRpcError as error:
            # It may have drained or not: its next report says, or its end does.
            _log.info("drain not answered", extra={"pod": pod.key, "code": error.code().name})
            drained = False
        now = self.clock.monotonic()
        if drained:
            _log.info("tenant idle", extra={"tenant": pod.tenant, "pod": pod.key})
            metrics.SUSPENDS.labels("idle").inc()
            self.fleet.pod_drained(pod, now, now)
        else:
            self.fleet.drain_refused(pod, now)
        self.step(pod.tenant)

    def _call(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = spawn(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _nobody_waits(tenant: TenantId, _pod: Pod) -> None:
    raise RuntimeError(f"nobody takes the pod of tenant {tenant}")


def _nobody_asks(_pod: Pod) -> None:
    """Where nobody can find out about an adopted pod, it stays awake."""
