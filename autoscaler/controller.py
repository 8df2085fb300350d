"""Turns events into the picture, and decisions into calls.

    runtime events ─┐                        ┌─▶ runtime (fork, kill)
    pods' answers  ─┼─▶ Fleet ─▶ decide() ─▶ ┼─▶ pod (drain, take back)
    wakes          ─┘     ▲         │        ├─▶ proxies (serve, move, park)
                          └─────────┘        └─▶ a waiting wake gets its pod
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

from autoscaler import metrics
from autoscaler.actions import (
    Action,
    ClaimPod,
    DrainIfIdle,
    DrainPod,
    ForkPod,
    KillPod,
    ParkTenant,
    Policy,
    ServeWake,
    StayAwake,
    TakeBack,
    Why,
)
from autoscaler.decide import decide
from autoscaler.demand import weigh
from autoscaler.errands import Errands
from autoscaler.fleet import Fleet
from autoscaler.history import History
from autoscaler.podcontrol import PodControl
from autoscaler.pods import Cause, Phase, Pod, PodKey
from autoscaler.poller import Poller
from autoscaler.pool import warm_wanted
from autoscaler.runtimes.base import (
    Connected,
    Ended,
    Lost,
    PodRuntime,
    RuntimeEvent,
    Started,
    StartFailed,
)
from autoscaler.tenants import Parking
from autoscaler.watchers import Watchers
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId
from dormouse.base.tasks import cancel, spawn

ROUND_SECONDS = 0.1
"""How often it is looked whose Status is due."""
TICK_SECONDS = 1.0
LOADS_SECONDS = 3.0
"""How often the loads of tenants with several pods are told."""
ADOPTED_SECONDS = 2.0
"""Until a pod is called adopted whose tenant's settings control has not told by itself."""
DECISIONS_IN_A_ROW_MAX = 4

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
        self.history = History(clock)
        self.poller = Poller(
            fleet,
            pods,
            clock,
            probe_timeout=policy.probe_timeout,
            answered=self._pod_answered,
            unreachable=self._pod_unreachable,
        )
        self.errands = Errands(fleet, pods, clock, self.history, policy.ask_timeout, self.step)
        self.on_claim: Callable[[TenantId, Pod, Cause], None] = _nobody_waits
        self.on_adopted: Callable[[Pod], None] = _nobody_asks
        """Called for every running pod whose tenant's limits are not known."""
        self._runtime = runtime
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: dict[PodKey, asyncio.Event] = {}
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Controller {self.fleet} {self.watchers} calls={len(self._tasks)}>"

    async def run(self) -> None:
        """Follow the runtime and poll the pods until cancelled."""
        following = spawn(self._follow(), name="runtime-events")
        ticking = spawn(self._tick(), name="ticks")
        try:
            await asyncio.wait([following, ticking], return_when=asyncio.FIRST_COMPLETED)
            for task in (following, ticking):
                if task.done():
                    await task
        finally:
            await cancel(following, ticking, *self._tasks)
            await self.poller.close()
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

    def warm_wanted(self) -> int:
        """The size of the warm pool, as of now."""
        policy = self.policy
        return warm_wanted(
            self.fleet.wake_rate,
            now=self.clock.monotonic(),
            low=policy.warm_pods,
            high=policy.warm_pods_max,
        )

    async def until_ended(self, pod: Pod) -> None:
        """Wait until the pod is no more."""
        if self.fleet.pods.get(pod.key) is pod:
            await self._ended.setdefault(pod.key, asyncio.Event()).wait()

    def step(self, *tenants: TenantId | None) -> None:
        """Act on the picture; `tenants` are those whose pods were changed by the caller."""
        begun = self.clock.monotonic()
        touched = {tenant for tenant in tenants if tenant is not None}
        for _ in range(DECISIONS_IN_A_ROW_MAX):
            actions = decide(self.fleet, self.policy, self.clock.monotonic())
            for action in actions:
                touched |= self._perform(action)
            if not any(isinstance(action, KillPod) for action in actions):
                break  # else: what is to be done without the killed ones is decided next
        self.watchers.refresh(touched)
        self._changed.set()
        metrics.DECISION_SECONDS.observe(self.clock.monotonic() - begun)

    def _perform(self, action: Action) -> set[TenantId]:
        """Note it and set it going; the tenants whose pods the proxies see differently now."""
        now = self.clock.monotonic()
        match action:
            case ForkPod():
                ticket = random.getrandbits(63) | 1
                self.fleet.fork_asked(ticket, now)
                self._runtime.start(ticket, urgent=bool(self.fleet.wakes))
            case ClaimPod(tenant, pod, cause, why):
                self.fleet.pod_claimed(pod, tenant, cause, now)
                self.history.explain(tenant, cause.value, why, pod)
                self.on_claim(tenant, pod, cause)
                loop = asyncio.get_running_loop()
                loop.call_later(self.policy.refill_delay, self.step)
            case ServeWake(tenant):
                self.fleet.wake_settled(tenant, now)
                self.on_claim(tenant, self.fleet.of(tenant, Phase.RUNNING)[0], Cause.WAKE)
            case ParkTenant(tenant, why):
                self.history.explain(tenant, "park", why)
                self.fleet.tenant_parking(self.fleet.tenant(tenant), Parking.IDLE, now)
                for pod in self.fleet.of(tenant, Phase.RUNNING):
                    self.poller.hurry(pod)
                return {tenant}
            case StayAwake(tenant, why):
                self.history.explain(tenant, "stay awake", why)
                self.fleet.tenant_parking(self.fleet.tenant(tenant), Parking.NO, now)
                return {tenant}
            case _:
                return self._perform_on_pod(action)
        return set()

    def _perform_on_pod(self, action: TakeBack | DrainIfIdle | DrainPod | KillPod) -> set[TenantId]:
        now = self.clock.monotonic()
        pod = action.pod
        match action:
            case TakeBack(_, why):
                self.fleet.return_asked(pod, now)
                self.history.explain(pod.tenant, "take back", why, pod)
                self._call(self.errands.take_back(pod), f"take-back-{pod.key}")
            case DrainIfIdle(_, cause, why):
                self.fleet.drain_asked(pod, now)
                self._call(self.errands.drain_if_idle(pod, cause, why), f"drain-{pod.key}")
            case DrainPod(_, cause, seconds, why):
                self.history.explain(pod.tenant, cause.value, why, pod)
                self.drain(pod, cause, seconds)
            case KillPod(_, reason):
                self.kill(pod, reason)
        return {pod.tenant} if pod.tenant is not None else set()

    def kill(self, pod: Pod, reason: str) -> None:
        """End a pod at once; the caller steps with its tenant afterwards."""
        _log.warning("pod killed", extra={"pod": pod.key, "tenant": pod.tenant, "reason": reason})
        metrics.KILLS.labels(reason).inc()
        self.history.explain(pod.tenant, "kill", Why(reason), pod)
        self.fleet.pod_killed(pod, self.clock.monotonic())
        self._runtime.kill(pod.key)

    def drain(self, pod: Pod, cause: Cause, seconds: float) -> asyncio.Task[None]:
        """Have a pod take no more sessions and end within `seconds`; the caller steps. The task
        ends when the pod has been told, or could not be."""
        now = self.clock.monotonic()
        self.fleet.pod_drained(pod, cause, now + seconds, now)
        return self._call(self.errands.drain(pod), f"drain-{pod.key}")

    def unstamped(self, pod: Pod) -> None:
        """A claimed pod says that it is nobody's; it is warm again once it has told its new key."""
        self.fleet.pod_unstamped(pod, self.clock.monotonic())
        self.poller.poll(pod, patient=True)
        self.step()

    # Events of the runtime

    async def _follow(self) -> None:
        async for event in self._runtime.events():
            self._note(event)

    def _note(self, event: RuntimeEvent) -> None:
        now = self.clock.monotonic()
        match event:
            case Connected(living, generation):
                for pod in self.fleet.runtime_connected(living, generation, now):
                    self._pod_ended(pod, None)
                for pod in self.fleet.in_phase(Phase.PROBING):
                    self.poller.poll(pod, patient=True)
                extra = {"living": len(living), "generation": generation}
                _log.info("runtime answers", extra=extra)
            case Lost():
                if self.fleet.connected:
                    _log.warning("runtime lost")
                self.fleet.runtime_lost()
                for pod in list(self.fleet.pods.values()):
                    self.poller.poll(pod)  # did they end with it?
            case Started(ticket, key, address, generation):
                pod = self.fleet.pod_started(ticket, key, address, generation, now)
                self.poller.poll(pod, patient=True)
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
        if pod.phase is Phase.DRAINING:
            spent = self.clock.monotonic() - pod.since
            metrics.DRAINS.labels(pod.drain_cause.value).observe(spent)
        if (event := self._ended.pop(pod.key, None)) is not None:
            event.set()
        self.poller.forget(pod)
        self._call(self.pods.forget(pod.key), f"forget-{pod.key}")
        if pod.tenant is not None:
            self.watchers.refresh({pod.tenant})

    # Time

    async def _tick(self) -> None:
        due = loads_due = self.clock.monotonic()
        while True:
            now = self.clock.monotonic()
            self.poller.poll_due()
            if now >= due:
                metrics.DECISION_LAG.observe(now - due)
                self._second(now)
                due = max(due + TICK_SECONDS, now)
            if now >= loads_due:
                self.watchers.refresh_loads()
                loads_due = now + LOADS_SECONDS
            await asyncio.sleep(ROUND_SECONDS)

    def _second(self, now: float) -> None:
        self.fleet.forks_forgotten(now - self.policy.fork_timeout)
        for record in self.fleet.tenants.values():
            weigh(self.fleet, record, now)
        for pod in self.fleet.in_phase(Phase.RUNNING):
            unknown = pod.tenant is not None and self.fleet.tenants[pod.tenant].limits is None
            if unknown and now - pod.since > ADOPTED_SECONDS:
                self.on_adopted(pod)
        self.step()
        metrics.POOL_WANTED.set(self.warm_wanted())
        metrics.show_fleet(self.fleet)

    # Answers of pods

    def _pod_answered(self, pod: Pod, before: Phase) -> None:
        record = self.fleet.tenants.get(pod.tenant) if pod.tenant is not None else None
        parking = record is not None and record.parking is not Parking.NO
        if pod.phase is not before or parking:
            self.step(pod.tenant)

    def _pod_unreachable(self, pod: Pod) -> None:
        """Neither the pod nor its runtime can be reached: most likely they ended together. Should
        it live after all, the runtime will say so when it answers again."""
        if not self.fleet.connected and self.fleet.pods.get(pod.key) is pod:
            self.fleet.pod_vanished(pod, self.clock.monotonic())
            self._pod_ended(pod, None)
            self.step(pod.tenant)

    def _call(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = spawn(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _nobody_waits(tenant: TenantId, _pod: Pod, _cause: Cause) -> None:
    raise RuntimeError(f"nobody takes the pod of tenant {tenant}")


def _nobody_asks(_pod: Pod) -> None:
    """Where nobody can find out about an adopted pod, it stays awake."""
