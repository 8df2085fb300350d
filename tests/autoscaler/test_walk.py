"""A random walk of a little world against the rules that must hold, and where it comes to rest.

The world has pods that do what real ones do, proxies that park and move sessions, and everything
that goes wrong: calls are lost or answered late, pods die, the runtime is cut off, code is renewed,
settings change, and the autoscaler is started anew and knows nothing. Time is the world's own.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

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
)
from autoscaler.decide import decide
from autoscaler.demand import weigh
from autoscaler.fleet import Fleet
from autoscaler.pods import COMING, OWNED, SERVING, Cause, Phase, Pod, PodKey, Report
from autoscaler.runtimes.base import Living
from autoscaler.tenants import Limits, Parking
from dormouse.base.ids import PodId, TenantId

STEP_SECONDS = 2.0
CALM_SECONDS = 1500


@dataclass
class RealPod:
    """What a pod really is, whatever the autoscaler believes."""

    generation: int
    tenant: TenantId | None = None
    sessions: int = 0
    used_at: float = 0.0
    cpu: float = 0.0
    draining: bool = False


@dataclass
class RealTenant:
    """What a tenant's clients do."""

    limits: Limits
    sessions: int = 0
    """Clients that are connected, whether their sessions have a pod or not."""
    cores: float = 0.0
    """What they use; 0 where they are idle."""
    parkable: bool = True


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.policy = Policy(
            warm_pods=self.random.randint(0, 3), warm_pods_max=4, pods_max=40, forks_max=4
        )
        self.now = 0.0
        self.names = iter(range(10**9))
        self.generation = 1
        self.real: dict[PodKey, RealPod] = {}
        self.owners: dict[PodKey, TenantId] = {}
        """Who a pod was stamped for, ever: what must never change."""
        self.tenants = {TenantId(number): self.some_tenant() for number in range(1, 6)}
        self.calls: list[Callable[[], None]] = []
        self.fleet = self.started_anew()

    def some_tenant(self) -> RealTenant:
        limits = Limits(
            idle_timeout=self.random.choice([None, 60.0, 60.0, 60.0]),
            pods_min=self.random.choice([0, 0, 0, 1, 2]),
            pods_max=self.random.randint(2, 4),
        )
        return RealTenant(limits)

    # The autoscaler

    def started_anew(self) -> Fleet:
        """All it knew is gone, and what it had asked for may have happened or not."""
        for call in self.calls:
            if self.random.random() < 0.5:
                call()
        self.calls.clear()
        self.fleet = Fleet(self.policy.scale)
        self.runtime_answers()
        for tenant, real in self.tenants.items():
            if real.limits.pods_min:
                self.fleet.limits_told(tenant, real.limits, self.now)
        return self.fleet

    def runtime_answers(self) -> None:
        living = {key: Living("host:1", pod.generation) for key, pod in self.real.items()}
        self.fleet.runtime_connected(living, self.generation, self.now)

    def settle(self) -> None:
        for _ in range(50):
            actions = decide(self.fleet, self.policy, self.now)
            if not actions:
                return
            for action in actions:
                self.perform(action)
        raise AssertionError(f"never settles: {self.fleet}")

    def perform(self, action: Action) -> None:
        fleet, now = self.fleet, self.now
        match action:
            case ForkPod():
                ticket = next(self.names)
                fleet.fork_asked(ticket, now)
                self.calls.append(lambda: self.forked(fleet, ticket))
            case ClaimPod(tenant, pod, cause):
                self.check_claim(tenant, pod, cause)
                fleet.pod_claimed(pod, tenant, cause, now)
                self.calls.append(lambda: self.stamped(fleet, pod, tenant))
            case ServeWake(tenant):
                assert fleet.of(tenant, Phase.RUNNING)
                fleet.wake_settled(tenant, now)
                fleet.tenant_called(tenant, now)
            case TakeBack(pod):
                fleet.return_asked(pod, now)
                self.calls.append(lambda: self.taken_back(fleet, pod))
            case ParkTenant(tenant):
                assert not any(fleet.tenants[tenant].in_phase(*COMING))
                fleet.tenant_parking(fleet.tenants[tenant], Parking.IDLE, now)
            case StayAwake(tenant):
                fleet.tenant_parking(fleet.tenants[tenant], Parking.NO, now)
            case DrainIfIdle(pod, cause):
                assert pod.sessions == 0
                fleet.drain_asked(pod, now)
                self.calls.append(lambda: self.asked_whether_idle(fleet, pod, cause))
            case DrainPod(pod, cause, seconds):
                self.check_drain(pod)
                fleet.pod_drained(pod, cause, now + seconds, now)
                self.calls.append(lambda: self.told_to_drain(pod))
            case KillPod(pod):
                fleet.pod_killed(pod, now)
                self.calls.append(lambda: self.ended(pod.key))

    def check_claim(self, tenant: TenantId, pod: Pod, cause: Cause) -> None:
        there = self.fleet.of(tenant, *SERVING, *COMING)
        assert pod.phase is Phase.WARM
        if cause is Cause.WAKE:
            assert not there, "waits although it has a pod"
        else:
            extra = cause is Cause.REPLACE or any(each.stands_in for each in there)
            limits = self.fleet.tenants[tenant].limits
            assert limits is not None
            assert len(there) < limits.pods_max + extra, "more than its maximum"
            assert limits.pods_min or there, "woken although nobody asked"

    def check_drain(self, pod: Pod) -> None:
        """Whoever is at this pod has another one to go to."""
        assert pod.tenant is not None
        others = [each for each in self.fleet.of(pod.tenant, *SERVING) if each is not pod]
        assert pod.phase is Phase.DRAINING or others, "the last pod drains"

    # What comes of what it asks for

    def forked(self, fleet: Fleet, ticket: int) -> None:
        if self.random.random() < 0.1:
            fleet.fork_failed(ticket, self.now)
            return
        key = PodKey(f"pod {next(self.names)}")
        self.real[key] = RealPod(self.generation)
        if fleet is self.fleet:
            fleet.pod_started(ticket, key, "host:1", self.generation, self.now)

    def stamped(self, fleet: Fleet, pod: Pod, tenant: TenantId) -> None:
        real = self.real.get(pod.key)
        if real is None or pod.phase is not Phase.STAMPING:
            return
        luck = self.random.random()
        if luck < 0.1:
            fleet.pod_released(pod, self.now)
        elif luck < 0.2:
            fleet.pod_unstamped(pod, self.now)
        else:
            assert self.owners.setdefault(pod.key, tenant) == tenant
            real.tenant, real.used_at = tenant, self.now
            limits = self.tenants[tenant].limits
            fleet.pod_stamped(pod, PodId(1), "host:2", limits, self.now)
            return
        if pod.claimed_for is not Cause.WAKE:
            fleet.grow_failed(tenant, pod.claimed_for, self.now)

    def taken_back(self, fleet: Fleet, pod: Pod) -> None:
        real = self.real.get(pod.key)
        taken = real is not None and self.random.random() < 0.8
        if real is not None and taken:
            real.draining = False
        heard = taken and self.random.random() < 0.9
        fleet.return_answered(pod, heard, self.now)

    def asked_whether_idle(self, fleet: Fleet, pod: Pod, cause: Cause) -> None:
        real = self.real.get(pod.key)
        if real is None:
            return
        drained = real.sessions == 0
        if drained:
            real.draining = True
        if drained and self.random.random() < 0.9:
            fleet.pod_drained(pod, cause, self.now, self.now)
        else:
            fleet.drain_refused(pod, self.now)

    def told_to_drain(self, pod: Pod) -> None:
        real = self.real.get(pod.key)
        if real is not None and self.random.random() < 0.9:
            real.draining = True

    def ended(self, key: PodKey) -> None:
        if self.real.pop(key, None) is not None:
            self.fleet.pod_ended(key, self.now)

    # What clients, proxies and pods do by themselves

    def live(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.fleet.forks_forgotten(self.now - self.policy.fork_timeout)
        calls, self.calls = self.calls, []
        for call in calls:
            call()
            self.settle()  # as after every answer, with what was last heard of the others
        for tenant, real in self.tenants.items():
            self.spread(tenant, real, seconds)
        for key, pod in list(self.real.items()):
            if pod.draining and not pod.sessions:
                self.ended(key)
        self.report()

    def spread(self, tenant: TenantId, real: RealTenant, seconds: float) -> None:
        """The proxies put the tenant's sessions where the autoscaler wishes them."""
        mine = {key: pod for key, pod in self.real.items() if pod.tenant == tenant}
        taking = {key: pod for key, pod in mine.items() if not pod.draining}
        record = self.fleet.tenants.get(tenant)
        parked = (
            record is not None
            and record.parking is not Parking.NO
            and real.parkable
            and not real.cores
        )
        for pod in mine.values():
            pod.sessions = 0
        if not real.sessions or parked or (not taking and not real.cores):
            return
        if not taking:
            self.fleet.wake_asked(tenant, self.now)
            return
        for number in range(real.sessions):
            pod = list(taking.values())[number % len(taking)]
            pod.sessions += 1
        used = min(real.cores / len(taking), 1.0)
        for pod in taking.values():
            if real.cores and pod.sessions:
                pod.used_at = self.now
                pod.cpu += used * seconds

    def report(self) -> None:
        for key, pod in list(self.fleet.pods.items()):
            if pod.phase not in (Phase.STAMPING, Phase.KILLED):
                real = self.real[key]
                self.fleet.pod_answered(pod, self.said_by(real), self.now)
        for record in list(self.fleet.tenants.values()):
            if record.pods and record.limits is None:
                limits = self.tenants[record.id].limits
                self.fleet.limits_told(record.id, limits, self.now)
            weigh(self.fleet, record, self.now)

    def said_by(self, real: RealPod) -> Report:
        active = real.sessions if real.used_at == self.now else 0
        return Report(
            tenant=real.tenant,
            pod_id=PodId(1),
            sql_address="host:2",
            sessions=real.sessions,
            active=active,
            transactions=0,
            idle_seconds=0.0 if active else self.now - real.used_at,
            cpu_micros=int(real.cpu * 1e6),
            request_units=0.0,
            draining=real.draining,
            public_key=b"key",
        )

    def happen(self) -> None:
        """One random thing."""
        luck = self.random.random()
        real = self.random.choice(list(self.tenants.values()))
        if luck < 0.35:
            real.sessions = self.random.choice([0, 1, 8])
            real.cores = self.random.choice([0.0, 0.05, 3.0]) if real.sessions else 0.0
            real.parkable = self.random.random() < 0.8
        elif luck < 0.45 and self.real:
            self.ended(self.random.choice(list(self.real)))
        elif luck < 0.5:
            self.fleet.runtime_lost()
            self.runtime_answers()
        elif luck < 0.55:
            self.fleet = self.started_anew()
        elif luck < 0.6:
            self.generation += 1
            self.runtime_answers()
        elif luck < 0.65:
            number = self.random.choice(list(self.tenants))
            self.tenants[number].limits = self.some_tenant().limits
            self.fleet.limits_told(number, self.tenants[number].limits, self.now)
        self.live(self.random.choice([0.5, 1.0, 2.0, 2.0, 30.0]))

    # What must hold

    def check(self) -> None:
        fleet = self.fleet
        assert len(fleet.pods) + len(fleet.starting) <= self.policy.pods_max
        assert set(fleet.pods) == set(self.real)
        for pod in fleet.pods.values():
            owned = pod.phase in OWNED
            if pod.phase in (Phase.PROBING, Phase.WARM):
                assert pod.tenant is None
            if owned:
                assert pod.tenant is not None
                assert fleet.tenants[pod.tenant].pods[pod.key] is pod
                assert self.owners.get(pod.key, pod.tenant) == pod.tenant
        for tenant, record in fleet.tenants.items():
            assert all(each.tenant == tenant for each in record.pods.values())
            kept = record.limits is not None and record.limits.pods_min > 0
            assert record.pods or kept or tenant in fleet.wakes, "a record of nothing"
        for tenant in fleet.wakes:
            assert not fleet.of(tenant, Phase.RUNNING), "waits although it runs"

    def calm_down(self) -> None:
        """Nothing changes any more: all who wait are served, and everything finds its place."""
        for _ in range(int(CALM_SECONDS / STEP_SECONDS)):
            self.live(STEP_SECONDS)
            self.settle()
            self.check()

    def rest(self) -> dict[TenantId, int]:
        """How many pods each tenant should have come to."""
        return {tenant: _due(real) for tenant, real in self.tenants.items()}


def _due(real: RealTenant) -> int:
    limits = real.limits
    if real.cores > 1.0:
        # A session is one stream of statements, and has no use for a second pod.
        return max(min(limits.pods_max, real.sessions), limits.pods_min)
    if real.cores:
        return max(limits.pods_min, 1)
    if real.sessions and not real.parkable:
        return max(limits.pods_min, 1)
    return limits.pods_min


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_random_walk_keeps_the_rules_and_comes_to_rest(seed: int) -> None:
    world = World(seed)
    for _ in range(80):
        world.happen()
        world.settle()
        world.check()
    world.calm_down()
    fleet = world.fleet
    for tenant, due in world.rest().items():
        phases = [pod.phase for pod in fleet.of(tenant)]
        real = world.tenants[tenant]
        if real.limits.idle_timeout is None or (real.sessions and not real.cores):
            # A tenant that never sleeps is left as it is; so are sessions nobody has woken.
            assert set(phases) <= {Phase.RUNNING}, f"{tenant} {real} {fleet}"
            assert len(phases) <= max(due, 1), f"{tenant} {real} {fleet}"
        else:
            assert phases == [Phase.RUNNING] * due, f"{tenant} {real} {fleet.tenants.get(tenant)}"
    assert {pod.generation for pod in fleet.pods.values()} <= {world.generation}
    assert fleet.wakes == {}
    assert fleet.count(Phase.WARM) >= world.policy.warm_pods
