"""Decisions one by one, and a random walk of a little world against the rules that must hold."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.decide import ClaimPod, DrainPod, ForkPod, KillPod, Policy, ServeWake, decide
from autoscaler.fleet import OWNED, Fleet, Phase, Pod, PodKey, Report
from dormouse.base.ids import PodId, TenantId

POLICY = Policy(warm_pods=2, pods_max=8)
A, B = TenantId(1), TenantId(2)
IDLE = 60.0


def report(
    tenant: TenantId | None = None, *, sessions: int = 0, idle: float = 0.0, draining: bool = False
) -> Report:
    return Report(
        tenant=tenant,
        pod_id=PodId(1),
        sql_address="127.0.0.1:1",
        sessions=sessions,
        idle_seconds=idle,
        cpu_micros=0,
        draining=draining,
        public_key=b"key",
    )


def fleet_of(*phases: Phase, tenant: TenantId = A) -> tuple[Fleet, list[Pod]]:
    fleet = Fleet()
    fleet.runtime_connected({PodKey(str(n)): "host:1" for n in range(len(phases))}, 0.0)
    pods = list(fleet.pods.values())
    for pod, phase in zip(pods, phases, strict=True):
        pod.phase = phase
        if phase in OWNED:
            pod.tenant, pod.idle_timeout = tenant, IDLE
    return fleet, pods


def test_nothing_is_decided_while_the_runtime_is_out_of_reach() -> None:
    fleet = Fleet()
    fleet.wake_asked(A, 0.0)
    assert decide(fleet, POLICY, 100.0) == []


def test_an_empty_pool_is_filled() -> None:
    fleet, _ = fleet_of()
    assert decide(fleet, POLICY, 0.0) == [ForkPod(), ForkPod()]
    fleet.fork_asked(1, 0.0)
    fleet.fork_asked(2, 0.0)
    assert decide(fleet, POLICY, 0.0) == []


def test_forks_are_limited_in_flight_and_in_all() -> None:
    fleet, _ = fleet_of()
    assert len(decide(fleet, Policy(warm_pods=100, forks_max=4), 0.0)) == 4
    assert len(decide(fleet, Policy(warm_pods=100, pods_max=3), 0.0)) == 3


def test_the_first_to_wake_gets_the_oldest_pod() -> None:
    fleet, pods = fleet_of(Phase.WARM)
    fleet.wake_asked(B, 1.0)
    fleet.wake_asked(A, 2.0)
    assert decide(fleet, POLICY, 2.0) == [ClaimPod(B, pods[0]), *[ForkPod()] * 3]


def test_a_claim_is_left_alone_with_the_machine_for_a_moment() -> None:
    fleet, (first, _) = fleet_of(Phase.WARM, Phase.WARM)
    fleet.wake_asked(A, 1.0)
    assert decide(fleet, POLICY, 1.0) == [ClaimPod(A, first)]
    fleet.pod_claimed(first, A, 1.0)
    assert decide(fleet, POLICY, 1.2) == []
    assert decide(fleet, POLICY, 1.3) == [ForkPod()]


@pytest.mark.parametrize("phase", [Phase.STAMPING, Phase.ASKING])
def test_a_tenant_whose_pod_is_undecided_gets_no_second(phase: Phase) -> None:
    fleet, _ = fleet_of(phase, Phase.WARM, Phase.WARM, Phase.WARM)
    fleet.wake_asked(A, 0.0)
    assert decide(fleet, POLICY, 0.0) == []


def test_a_tenant_whose_pod_stayed_is_served_by_it() -> None:
    fleet, (asked, *_) = fleet_of(Phase.ASKING, Phase.WARM, Phase.WARM)
    fleet.wake_asked(A, 0.0)
    fleet.drain_refused(asked, 0.0)
    assert decide(fleet, POLICY, 0.0) == [ServeWake(A)]


def test_a_tenant_whose_pod_drains_gets_another() -> None:
    fleet, (_, warm, _) = fleet_of(Phase.DRAINING, Phase.WARM, Phase.WARM)
    fleet.wake_asked(A, 0.0)
    assert decide(fleet, POLICY, 0.0) == [ClaimPod(A, warm)]


def test_idle_tenants_sleep_at_their_time_and_not_before() -> None:
    fleet, (pod, *_) = fleet_of(Phase.RUNNING, Phase.WARM, Phase.WARM)
    fleet.pod_answered(pod, report(A, idle=10.0), 100.0)
    assert decide(fleet, POLICY, 149.9) == []
    assert decide(fleet, POLICY, 150.0) == [DrainPod(pod)]


@pytest.mark.parametrize("why", ["session", "settings unknown", "not answering", "waited for"])
def test_what_keeps_a_tenant_awake(why: str) -> None:
    fleet, (pod, *_) = fleet_of(Phase.RUNNING, Phase.WARM, Phase.WARM)
    fleet.pod_answered(pod, report(A, idle=100.0), 0.0)
    if why == "session":
        pod.sessions = 1
    elif why == "settings unknown":
        pod.idle_timeout = None
    elif why == "not answering":
        fleet.pod_missed(pod)
    else:
        fleet.wake_asked(A, 1.0)
    assert not any(isinstance(action, DrainPod) for action in decide(fleet, POLICY, 2.0))


@pytest.mark.parametrize(
    ("phase", "patience"),
    [
        (Phase.PROBING, POLICY.probe_timeout),
        (Phase.STAMPING, 2 * POLICY.stamp_timeout),
        (Phase.ASKING, POLICY.ask_timeout),
        (Phase.DRAINING, POLICY.drain_grace),
        (Phase.KILLED, POLICY.kill_again),
    ],
)
def test_stuck_pods_are_killed(phase: Phase, patience: float) -> None:
    fleet, (pod, *_) = fleet_of(phase, Phase.WARM, Phase.WARM)
    assert decide(fleet, POLICY, patience) == []
    (kill,) = decide(fleet, POLICY, patience + 0.1)
    assert isinstance(kill, KillPod)
    fleet.pod_killed(pod, patience + 0.1)
    assert decide(fleet, POLICY, patience + 0.2) == []


def test_a_hung_pod_is_killed_only_after_many_misses() -> None:
    fleet, (pod, *_) = fleet_of(Phase.RUNNING, Phase.WARM, Phase.WARM)
    pod.sessions = 1
    assert decide(fleet, POLICY, 1000.0) == []  # nobody has asked it
    for _ in range(5):
        fleet.pod_missed(pod)
    (kill,) = decide(fleet, POLICY, 1000.0)
    assert kill == KillPod(pod, "hung")


def test_surplus_warm_pods_go_after_a_while() -> None:
    fleet, pods = fleet_of(*[Phase.WARM] * 3)
    pods[1].since = 5.0
    assert decide(fleet, POLICY, 60.0) == []
    (kill,) = decide(fleet, POLICY, 65.1)
    assert kill == KillPod(pods[1], "more warm pods than wanted")


def test_failing_forks_back_off() -> None:
    fleet, _ = fleet_of()
    waits = []
    now = 0.0
    for ticket in range(12):
        fleet.fork_asked(ticket, now)
        fleet.fork_failed(ticket, now)
        assert decide(fleet, POLICY, now) == []
        waits.append(round(fleet.fork_after - now, 6))
        now = fleet.fork_after
        assert ForkPod() in decide(fleet, POLICY, now)
    assert waits == sorted(waits)
    assert waits[-1] == 10.0


def test_the_fleet_shows_what_it_is() -> None:
    fleet, _ = fleet_of(Phase.WARM, Phase.RUNNING)
    fleet.wake_asked(B, 0.0)
    assert repr(fleet) == "<Fleet connected starting=0 wakes=[2] [running=1 warm=1]>"


class World:
    """Pods that do what real ones do, now and then badly; time is the world's own."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.fleet = Fleet()
        self.policy = Policy(warm_pods=self.random.randint(0, 3), pods_max=10)
        self.now = 0.0
        self.names = iter(range(10**9))
        self.owner: dict[PodKey, TenantId] = {}
        """Who a pod was stamped for, ever: what must never change."""
        self.fleet.runtime_connected({}, self.now)

    def settle(self) -> None:
        for _ in range(50):
            actions = decide(self.fleet, self.policy, self.now)
            if not actions:
                return
            for action in actions:
                self.perform(action)
        raise AssertionError(f"never settles: {self.fleet}")

    def perform(self, action: object) -> None:
        fleet, now = self.fleet, self.now
        match action:
            case ForkPod():
                fleet.fork_asked(next(self.names), now)
            case ClaimPod(tenant, pod):
                assert pod.phase is Phase.WARM
                assert not fleet.of(tenant, Phase.RUNNING, Phase.STAMPING, Phase.ASKING)
                fleet.pod_claimed(pod, tenant, now)
            case ServeWake(tenant):
                assert fleet.of(tenant, Phase.RUNNING)
                fleet.wake_settled(tenant)
            case DrainPod(pod):
                assert pod.sessions == 0
                fleet.drain_asked(pod, now)
            case KillPod(pod, _):
                fleet.pod_killed(pod, now)

    def happen(self) -> None:
        """One random thing."""
        fleet = self.fleet
        self.now += self.random.choice([0.0, 0.01, 0.3, 2.0, 30.0])
        fleet.forks_forgotten(self.now - self.policy.fork_timeout)
        tenant = TenantId(self.random.randint(1, 5))
        if fleet.starting and self.random.random() < 0.6:
            ticket = self.random.choice(list(fleet.starting))
            if self.random.random() < 0.2:
                fleet.fork_failed(ticket, self.now)
            else:
                fleet.pod_started(ticket, PodKey(f"pod {next(self.names)}"), "host:1", self.now)
        elif fleet.pods and self.random.random() < 0.8:
            self.befall(self.random.choice(list(fleet.pods.values())))
        elif not fleet.of(tenant, Phase.RUNNING):
            fleet.wake_asked(tenant, self.now)
        elif self.random.random() < 0.1:
            fleet.runtime_lost()
            living = {key: "host:1" for key in fleet.pods if self.random.random() < 0.8}
            fleet.runtime_connected(living, self.now)

    def befall(self, pod: Pod) -> None:
        fleet, now, luck = self.fleet, self.now, self.random.random()
        if luck < 0.1 or (pod.phase in (Phase.DRAINING, Phase.KILLED) and luck < 0.7):
            fleet.pod_ended(pod.key, now)
        elif luck < 0.2:
            fleet.pod_missed(pod)
        elif pod.phase is Phase.PROBING:
            fleet.pod_answered(pod, report(self.owner.get(pod.key)), now)
        elif pod.phase is Phase.STAMPING and pod.tenant is not None:
            if luck < 0.4:
                fleet.pod_released(pod, now)
            else:
                assert self.owner.setdefault(pod.key, pod.tenant) == pod.tenant
                fleet.pod_stamped(pod, PodId(1), "host:2", IDLE, now)
        elif pod.phase is Phase.ASKING:
            if luck < 0.5:
                fleet.drain_refused(pod, now)
            else:
                fleet.pod_drained(pod, now, now)
        elif pod.phase is Phase.RUNNING:
            sessions = self.random.randint(0, 1)
            idle = 0.0 if sessions else self.random.choice([0.0, 100.0])
            fleet.pod_answered(pod, report(pod.tenant, sessions=sessions, idle=idle), now)

    def check(self) -> None:
        fleet = self.fleet
        assert len(fleet.pods) + len(fleet.starting) <= self.policy.pods_max
        for pod in fleet.pods.values():
            if pod.phase in (Phase.PROBING, Phase.WARM):
                assert pod.tenant is None
            if pod.phase in OWNED:
                assert pod.tenant is not None
                assert self.owner.get(pod.key, pod.tenant) == pod.tenant
        for tenant in fleet.wakes:
            assert not fleet.of(tenant, Phase.RUNNING), "waits although it runs"

    def calm_down(self) -> None:
        """From now on everything works: all who wait must be served, and all must fall asleep."""
        for _ in range(400):
            self.now += 1.0
            fleet, now = self.fleet, self.now
            fleet.forks_forgotten(now - self.policy.fork_timeout)
            for ticket in list(fleet.starting):
                fleet.pod_started(ticket, PodKey(f"pod {next(self.names)}"), "host:1", now)
            for pod in list(fleet.pods.values()):
                if pod.phase in (Phase.DRAINING, Phase.KILLED):
                    fleet.pod_ended(pod.key, now)
                elif pod.phase is Phase.STAMPING:
                    fleet.pod_stamped(pod, PodId(1), "host:2", IDLE, now)
                    assert pod.tenant is not None
                    self.owner[pod.key] = pod.tenant
                elif pod.phase is Phase.ASKING:
                    fleet.pod_drained(pod, now, now)
                elif pod.phase is Phase.RUNNING:
                    pod.idle_timeout = IDLE  # adopted ones have learnt theirs
                    idle = pod.idle_seconds + now - pod.answered_at
                    fleet.pod_answered(pod, report(pod.tenant, idle=idle), now)
                else:
                    fleet.pod_answered(pod, report(self.owner.get(pod.key)), now)
            self.settle()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_random_walk_keeps_the_rules_and_comes_to_rest(seed: int) -> None:
    world = World(seed)
    for _ in range(150):
        world.happen()
        world.settle()
        world.check()
    world.calm_down()
    phases = [pod.phase for pod in world.fleet.pods.values()]
    assert phases == [Phase.WARM] * world.policy.warm_pods, f"{world.fleet}"
    assert world.fleet.wakes == {}
