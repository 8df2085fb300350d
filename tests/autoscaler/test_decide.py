"""Decisions one by one: the pool, wakes, and pods that do not do what they were told."""

import pytest

from autoscaler.actions import (
    Action,
    ClaimPod,
    DrainIfIdle,
    DrainPod,
    ForkPod,
    KillPod,
    Policy,
    ServeWake,
    TakeBack,
)
from autoscaler.decide import decide
from autoscaler.fleet import Fleet
from autoscaler.pods import Cause, Phase, Pod, PodKey
from dormouse.base.ids import TenantId
from tests.autoscaler.fleets import A, B, fleet_of, living, report

POLICY = Policy(warm_pods=2, pods_max=8, refills_max=4)


def claims(actions: list[Action]) -> list[tuple[TenantId, PodKey]]:
    return [(each.tenant, each.pod.key) for each in actions if isinstance(each, ClaimPod)]


def killed(actions: list[Action]) -> list[tuple[Pod, str]]:
    return [(each.pod, each.reason) for each in actions if isinstance(each, KillPod)]


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
    assert len(decide(fleet, Policy(warm_pods=100, warm_pods_max=100, refills_max=4), 0.0)) == 4
    assert (
        len(decide(fleet, Policy(warm_pods=100, warm_pods_max=100, pods_max=3, refills_max=4), 0.0))
        == 3
    )


def test_the_first_to_wake_gets_the_oldest_pod() -> None:
    fleet, pods = fleet_of(Phase.WARM)
    fleet.wake_asked(B, 1.0)
    fleet.wake_asked(A, 2.0)
    actions = decide(fleet, POLICY, 2.0)
    assert claims(actions) == [(B, pods[0].key)]
    assert actions.count(ForkPod()) == 3


def test_a_claim_is_left_alone_with_the_machine_for_a_moment() -> None:
    fleet, (first, _) = fleet_of(Phase.WARM, Phase.WARM)
    fleet.wake_asked(A, 1.0)
    assert claims(decide(fleet, POLICY, 1.0)) == [(A, first.key)]
    fleet.pod_claimed(first, A, Cause.WAKE, 1.0)
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
    assert claims(decide(fleet, POLICY, 0.0)) == [(A, warm.key)]


def test_idle_tenants_sleep_at_their_time_and_not_before() -> None:
    fleet, (pod, *_) = fleet_of(Phase.RUNNING, Phase.WARM, Phase.WARM)
    fleet.pod_answered(pod, report(A, idle=10.0), 100.0)
    assert decide(fleet, POLICY, 149.9) == []
    (drain,) = decide(fleet, POLICY, 150.0)
    assert isinstance(drain, DrainIfIdle)
    assert (drain.pod, drain.cause) == (pod, Cause.IDLE)
    assert drain.why.inputs["idle_seconds"] == "60.0"


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
    pod.sessions = pod.active = 1
    assert decide(fleet, POLICY, 1000.0) == []  # nobody has asked it
    for _ in range(5):
        fleet.pod_missed(pod)
    (kill,) = decide(fleet, POLICY, 1000.0)
    assert kill == KillPod(pod, "hung")


def test_only_so_many_are_forked_at_once_and_fewer_while_nobody_waits() -> None:
    fleet, _ = fleet_of()
    policy = Policy(warm_pods=5, forks_max=3, refills_max=1)
    assert decide(fleet, policy, 0.0) == [ForkPod()]
    fleet.wake_asked(A, 0.0)
    assert decide(fleet, policy, 0.0) == [ForkPod()] * 3
    fleet.fork_asked(1, 0.0)
    assert decide(fleet, policy, 0.0) == [ForkPod()] * 2


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


def test_a_draining_pod_comes_back_for_whoever_waits() -> None:
    fleet, (draining, *_) = fleet_of(Phase.RUNNING, Phase.WARM, Phase.WARM)
    fleet.pod_drained(draining, Cause.SCALE_DOWN, 600.0, 0.0)
    fleet.wake_asked(A, 1.0)
    (back,) = decide(fleet, POLICY, 1.0)
    assert isinstance(back, TakeBack)
    fleet.return_asked(draining, 1.0)
    assert decide(fleet, POLICY, 1.0) == []
    fleet.return_answered(draining, True, 1.1)
    assert decide(fleet, POLICY, 1.1) == [ServeWake(A)]


@pytest.mark.parametrize("why", ["its time is up", "it refused", "it is of older code"])
def test_a_draining_pod_that_is_of_no_use_stays_away(why: str) -> None:
    fleet, (draining, warm, _) = fleet_of(Phase.RUNNING, Phase.WARM, Phase.WARM)
    cause = Cause.REPLACE if why == "it is of older code" else Cause.SCALE_DOWN
    fleet.pod_drained(draining, cause, 1.5 if why == "its time is up" else 600.0, 0.0)
    fleet.wake_asked(A, 1.0)
    if why == "it refused":
        fleet.return_asked(draining, 1.0)
        fleet.return_answered(draining, False, 1.0)
    assert claims(decide(fleet, POLICY, 1.0)) == [(A, warm.key)]


def test_who_waits_longest_comes_first_even_at_a_second_try() -> None:
    fleet, (warm,) = fleet_of(Phase.WARM)
    fleet.wake_asked(A, 5.0)
    fleet.wake_asked(B, 1.0)  # asked anew after its first pod failed
    assert claims(decide(fleet, POLICY, 6.0)) == [(B, warm.key)]


def test_old_code_serves_a_wake_where_there_is_no_new_one() -> None:
    fleet, (warm,) = fleet_of(Phase.WARM, generation=2)
    fleet.wake_asked(A, 0.0)
    assert claims(decide(fleet, POLICY, 0.0)) == [(A, warm.key)]


def test_new_code_goes_first() -> None:
    fleet, (_, new) = fleet_of(Phase.WARM, Phase.WARM, generation=2)
    new.generation = 2
    fleet.wake_asked(A, 0.0)
    assert claims(decide(fleet, POLICY, 0.0)) == [(A, new.key)]


def test_warm_pods_of_old_code_go_as_new_ones_come() -> None:
    fleet, (first, second) = fleet_of(Phase.WARM, Phase.WARM, generation=2)
    policy = Policy(warm_pods=2)
    assert decide(fleet, policy, 0.0) == [ForkPod()]
    for ticket, old in enumerate((first, second), 1):
        fleet.fork_asked(ticket, 0.0)
        assert decide(fleet, policy, 0.0) == []
        new = fleet.pod_started(ticket, PodKey(f"new {ticket}"), "host:1", 2, 0.0)
        fleet.pod_answered(new, report(), 0.0)
        actions = decide(fleet, policy, 0.0)
        assert killed(actions) == [(old, "warm pod of older code")]
        fleet.pod_killed(old, 0.0)
        fleet.pod_ended(old.key, 0.0)
    assert decide(fleet, policy, 0.0) == []


def test_a_warm_pod_of_old_code_makes_room_in_a_full_fleet() -> None:
    fleet, (first, _) = fleet_of(Phase.WARM, Phase.WARM, generation=2)
    policy = Policy(warm_pods=2, pods_max=2)
    assert killed(decide(fleet, policy, 0.0)) == [(first, "warm pod of older code")]
    fleet.pod_killed(first, 0.0)
    fleet.pod_ended(first.key, 0.0)
    now = fleet.fork_after
    assert decide(fleet, policy, now) == [ForkPod()]


def test_warm_pods_do_not_grow_old() -> None:
    fleet, (old, young) = fleet_of(Phase.WARM, Phase.WARM)
    young.known_since = 100.0
    policy = Policy(warm_pods=2, warm_age_max=50.0)
    assert decide(fleet, policy, 50.0) == []
    assert decide(fleet, policy, 51.0) == [ForkPod()]
    new = fleet.pod_started(0, PodKey("new"), "host:1", 1, 51.0)
    fleet.pod_answered(new, report(), 51.0)
    assert killed(decide(fleet, policy, 51.0)) == [(old, "warm pod too old")]


def test_the_pool_follows_the_wakes() -> None:
    fleet, _ = fleet_of()
    fleet.wake_rate.fork_seconds = 1.0
    for second in range(8):
        for _ in range(3):
            fleet.wake_rate.note(float(second))
    fleet.claimed_at = 7.0
    forks = decide(fleet, Policy(warm_pods=2, warm_pods_max=9, refills_max=99), 8.0)
    assert forks == [ForkPod()] * 9


def test_a_pod_that_does_not_know_of_its_drain_is_told_again() -> None:
    fleet, (pod, *_) = fleet_of(Phase.RUNNING, Phase.WARM, Phase.WARM)
    fleet.pod_drained(pod, Cause.SCALE_DOWN, 600.0, 0.0)
    fleet.pod_answered(pod, report(A, sessions=1), 0.5)  # crossed our call
    assert decide(fleet, POLICY, 0.5) == []
    fleet.pod_answered(pod, report(A, sessions=1), 10.0)
    (again,) = decide(fleet, POLICY, 10.0)
    assert isinstance(again, DrainPod)
    assert (again.cause, again.seconds) == (Cause.SCALE_DOWN, 590.0)
    fleet.pod_drained(pod, again.cause, 600.0, 10.0)
    assert decide(fleet, POLICY, 10.0) == []


def test_a_drain_that_was_begun_before_us_has_its_time() -> None:
    fleet = Fleet()
    fleet.runtime_connected(living("1"), 1, 0.0)
    (pod,) = fleet.pods.values()
    policy = Policy(warm_pods=0)
    fleet.pod_answered(pod, report(A, sessions=1, draining=True), 0.0)
    assert decide(fleet, policy, 300.0) == []
    fleet.pod_answered(pod, report(A, draining=True), 301.0)
    assert decide(fleet, policy, 303.0) == []
    assert killed(decide(fleet, policy, 305.0)) == [(pod, "drained but still there")]
