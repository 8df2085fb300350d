"""Decisions about one tenant: sleep, growth, shrinking, replacement by newer code."""

from dataclasses import replace

import pytest

from autoscaler.actions import (
    Action,
    ClaimPod,
    DrainIfIdle,
    DrainPod,
    ForkPod,
    ParkTenant,
    Policy,
    ServeWake,
    StayAwake,
    TakeBack,
)
from autoscaler.decide import decide
from autoscaler.demand import pods_due, weigh
from autoscaler.fleet import Fleet
from autoscaler.pods import Cause, Phase, Pod, PodKey
from autoscaler.scale import Wanted
from autoscaler.tenants import Limits, Parking
from dormouse.base.ids import PodId, TenantId
from tests.autoscaler.fleets import IDLE, LIMITS, A, fleet_of, report

POLICY = Policy(warm_pods=0, pods_max=40)
POOLED = Policy(warm_pods=2, pods_max=40)


def want(fleet: Fleet, pods: int, tenant: TenantId = A) -> None:
    fleet.tenants[tenant].wanted = Wanted(pods, "its load", (0.0,) * 7)


def busy(fleet: Fleet, *pods: Pod, now: float = 0.0) -> None:
    for pod in pods:
        fleet.pod_answered(pod, report(pod.tenant, sessions=1, active=1), now)


_WITHOUT_POD = (ForkPod, ServeWake, ParkTenant, StayAwake)


def about(actions: list[Action], kind: type) -> list[str]:
    found = [each for each in actions if isinstance(each, kind)]
    return [each.pod.key for each in found if not isinstance(each, _WITHOUT_POD)]


# Sleep


def test_an_idle_tenant_is_parked_and_sleeps_when_its_sessions_are_gone() -> None:
    fleet, (pod,) = fleet_of(Phase.RUNNING)
    fleet.pod_answered(pod, report(A, sessions=2, idle=IDLE - 1), 0.0)
    assert decide(fleet, POLICY, 0.5) == []
    (park,) = decide(fleet, POLICY, 1.0)
    assert isinstance(park, ParkTenant)
    assert park.why.inputs == {
        "idle_seconds": "60.0",
        "idle_timeout_seconds": "60",
        "sessions": "2",
    }
    fleet.tenant_parking(fleet.tenants[A], Parking.IDLE, 1.0)
    assert decide(fleet, POLICY, 1.0) == []
    fleet.pod_answered(pod, report(A, sessions=0, idle=IDLE + 1), 2.0)
    assert about(decide(fleet, POLICY, 2.0), DrainIfIdle) == [pod.key]
    fleet.drain_asked(pod, 2.0)
    assert decide(fleet, POLICY, 2.0) == []


@pytest.mark.parametrize("what", ["a statement", "a login", "a wake", "a longer timeout"])
def test_a_tenant_that_is_used_while_it_is_parked_stays_awake(what: str) -> None:
    fleet, (pod,) = fleet_of(Phase.RUNNING)
    fleet.pod_answered(pod, report(A, sessions=1, idle=IDLE), 0.0)
    record = fleet.tenants[A]
    fleet.tenant_parking(record, Parking.IDLE, 0.0)
    assert decide(fleet, POLICY, 1.0) == []
    if what == "a wake":
        fleet.tenant_called(A, 1.0)
    elif what == "a longer timeout":
        fleet.limits_told(A, replace(LIMITS, idle_timeout=2 * IDLE), 1.0)
    else:
        active = int(what == "a statement")
        fleet.pod_answered(pod, report(A, sessions=2 - active, active=active), 1.0)
    (awake,) = decide(fleet, POLICY, 1.0)
    assert isinstance(awake, StayAwake)
    fleet.tenant_parking(record, Parking.NO, 1.0)
    assert decide(fleet, POLICY, 1.0) == []


@pytest.mark.parametrize(
    "why",
    [
        "active",
        "in a transaction",
        "settings unknown",
        "not answering",
        "waited for",
        "pods_min",
        "never sleeps",
        "another pod is used",
        "a pod comes",
        "suspended",
    ],
)
def test_what_keeps_a_tenant_awake(why: str) -> None:
    fleet, (pod, other) = fleet_of(Phase.RUNNING, Phase.RUNNING)
    record = fleet.tenants[A]
    for each in (pod, other):
        fleet.pod_answered(each, report(A, sessions=1, idle=100.0), 0.0)
    want(fleet, 2)
    match why:
        case "active":
            pod.active = 1
        case "in a transaction":
            pod.transactions = 1
        case "settings unknown":
            record.limits = None
        case "not answering":
            fleet.pod_missed(pod)
        case "waited for":
            other.phase = Phase.ASKING
            fleet.wake_asked(A, 1.0)
        case "pods_min":
            record.limits = replace(LIMITS, pods_min=1)
        case "never sleeps":
            record.limits = replace(LIMITS, idle_timeout=None)
        case "another pod is used":
            other.idle_seconds = 0.0
        case "a pod comes":
            other.phase = Phase.STAMPING
        case "suspended":
            record.parking = Parking.SUSPEND
    actions = decide(fleet, POLICY, 2.0)
    assert not any(isinstance(each, DrainIfIdle | ParkTenant | DrainPod) for each in actions)


def test_the_session_that_cannot_be_parked_keeps_its_pod_only() -> None:
    fleet, (pod, other) = fleet_of(Phase.RUNNING, Phase.RUNNING)
    fleet.pod_answered(pod, report(A, sessions=1, idle=100.0), 0.0)
    fleet.pod_answered(other, report(A, sessions=0, idle=100.0), 0.0)
    fleet.tenant_parking(fleet.tenants[A], Parking.IDLE, 0.0)
    assert about(decide(fleet, POLICY, 1.0), DrainIfIdle) == [other.key]
    fleet.drain_asked(other, 1.0)
    fleet.pod_drained(other, Cause.IDLE, 1.0, 1.0)
    fleet.pod_ended(other.key, 1.0)
    want(fleet, 2)
    assert decide(fleet, POLICY, 1.0) == [], "what has gone to sleep does not grow again"


# Growth


def test_a_tenant_grows_by_a_warm_pod_and_only_once() -> None:
    fleet, (pod, warm, _) = fleet_of(Phase.RUNNING, Phase.WARM, Phase.WARM)
    busy(fleet, pod)
    want(fleet, 2)
    (claim,) = [each for each in decide(fleet, POOLED, 0.0) if isinstance(each, ClaimPod)]
    assert (claim.tenant, claim.pod, claim.cause) == (A, warm, Cause.SCALE_UP)
    assert claim.why.reason == "its load"
    fleet.pod_claimed(warm, A, Cause.SCALE_UP, 0.0)
    assert about(decide(fleet, POOLED, 0.0), ClaimPod) == []
    fleet.pod_stamped(warm, PodId(2), "host:2", LIMITS, 0.1)
    assert about(decide(fleet, POOLED, 0.1), ClaimPod) == []


def test_the_last_warm_pod_is_left_to_the_next_wake() -> None:
    fleet, (pod, _) = fleet_of(Phase.RUNNING, Phase.WARM)
    busy(fleet, pod)
    want(fleet, 3)
    actions = decide(fleet, POOLED, 1.0)
    assert about(actions, ClaimPod) == []
    assert len(actions) == 3, "the pool is made larger by what is missing"


def test_wakes_go_before_growth() -> None:
    fleet, (pod, warm) = fleet_of(Phase.RUNNING, Phase.WARM)
    busy(fleet, pod)
    want(fleet, 2)
    fleet.wake_asked(TenantId(2), 0.0)
    (claim,) = [each for each in decide(fleet, POLICY, 0.0) if isinstance(each, ClaimPod)]
    assert (claim.tenant, claim.pod) == (TenantId(2), warm)


def test_a_tenant_that_waits_gets_one_pod_first() -> None:
    fleet, _ = fleet_of(*[Phase.WARM] * 6)
    fleet.limits_told(A, replace(LIMITS, pods_min=2, pods_max=2), 0.0)
    fleet.wake_asked(A, 0.0)
    (claim,) = [each for each in decide(fleet, POOLED, 0.0) if isinstance(each, ClaimPod)]
    assert claim.cause is Cause.WAKE
    fleet.pod_claimed(claim.pod, A, Cause.WAKE, 0.0)
    (claim,) = [each for each in decide(fleet, POOLED, 0.0) if isinstance(each, ClaimPod)]
    assert claim.cause is Cause.SCALE_UP


def test_growth_leaves_room_for_wakes() -> None:
    fleet, (pod, *_) = fleet_of(Phase.RUNNING, *[Phase.WARM] * 9)
    busy(fleet, pod)
    want(fleet, 2)
    policy = Policy(warm_pods=9, pods_max=10)
    assert about(decide(fleet, policy, 0.0), ClaimPod) == []
    assert len(about(decide(fleet, replace(policy, pods_max=20), 0.0), ClaimPod)) == 1


def test_a_draining_pod_is_taken_back_before_a_new_one_is_stamped() -> None:
    fleet, (pod, draining, *_) = fleet_of(*[Phase.RUNNING] * 2, *[Phase.WARM] * 3)
    busy(fleet, pod)
    fleet.pod_drained(draining, Cause.SCALE_DOWN, 600.0, 0.0)
    want(fleet, 3)
    actions = decide(fleet, POOLED, 10.0)
    assert about(actions, TakeBack) == [draining.key]
    assert len(about(actions, ClaimPod)) == 1
    fleet.return_asked(draining, 10.0)
    assert about(decide(fleet, POOLED, 10.0), TakeBack) == []
    fleet.return_answered(draining, True, 10.1)
    assert draining.phase is Phase.RUNNING


def test_failing_growth_backs_off_and_a_wake_does_not_care() -> None:
    fleet, (pod, *_) = fleet_of(Phase.RUNNING, *[Phase.WARM] * 3)
    busy(fleet, pod)
    want(fleet, 2)
    fleet.grow_failed(A, Cause.SCALE_UP, 0.0)
    assert about(decide(fleet, POOLED, 0.9), ClaimPod) == []
    assert len(about(decide(fleet, POOLED, 1.0), ClaimPod)) == 1
    fleet.grow_failed(A, Cause.SCALE_UP, 1.0)
    assert about(decide(fleet, POOLED, 2.9), ClaimPod) == []


def test_a_tenant_with_a_minimum_is_woken_by_nobody() -> None:
    fleet, _ = fleet_of(*[Phase.WARM] * 4)
    fleet.limits_told(A, replace(LIMITS, pods_min=2), 0.0)
    assert len(about(decide(fleet, POOLED, 0.0), ClaimPod)) == 2
    fleet.limits_told(A, LIMITS, 0.0)
    assert fleet.tenants == {}


def test_a_tenant_without_a_minimum_is_not_remembered() -> None:
    fleet, _ = fleet_of()
    fleet.limits_told(A, LIMITS, 0.0)
    assert fleet.tenants == {}


def test_a_maximum_that_was_lowered_counts_at_once() -> None:
    fleet, pods = fleet_of(*[Phase.RUNNING] * 3)
    busy(fleet, *pods)
    want(fleet, 3)
    fleet.limits_told(A, replace(LIMITS, pods_max=2), 0.0)
    assert len(about(decide(fleet, POLICY, 10.0), DrainPod)) == 1


# Shrinking


def test_the_least_busy_pod_goes_and_then_there_is_a_pause() -> None:
    fleet, pods = fleet_of(*[Phase.RUNNING] * 3)
    busy(fleet, *pods)
    for pod, cores in zip(pods, (0.5, 0.1, 0.3), strict=True):
        pod.cores.smooth = cores
    want(fleet, 1)
    (drain,) = decide(fleet, POLICY, 10.0)
    assert isinstance(drain, DrainPod)
    assert (drain.pod, drain.cause, drain.seconds) == (pods[1], Cause.SCALE_DOWN, 600.0)
    fleet.pod_drained(pods[1], Cause.SCALE_DOWN, 610.0, 10.0)
    assert decide(fleet, POLICY, 14.0) == []
    assert about(decide(fleet, POLICY, 15.0), DrainPod) == [pods[2].key]
    fleet.pod_drained(pods[2], Cause.SCALE_DOWN, 615.0, 15.0)
    assert decide(fleet, POLICY, 60.0) == []


def test_the_last_pod_never_drains_under_a_session() -> None:
    fleet, (pod,) = fleet_of(Phase.RUNNING)
    busy(fleet, pod)
    want(fleet, 0)
    assert decide(fleet, POLICY, 10.0) == []


def test_a_pod_that_is_asked_whether_it_is_idle_is_no_reason_to_drain_the_other() -> None:
    fleet, pods = fleet_of(Phase.RUNNING, Phase.ASKING)
    busy(fleet, *pods)
    want(fleet, 1)
    assert decide(fleet, POLICY, 1.0) == []


def test_no_pod_drains_while_another_comes() -> None:
    fleet, pods = fleet_of(Phase.RUNNING, Phase.RUNNING, Phase.STAMPING)
    busy(fleet, *pods[:2])
    want(fleet, 1)
    assert decide(fleet, POLICY, 1.0) == []


# The load


def test_a_saturated_pod_gets_help_within_seconds() -> None:
    fleet, (pod, *_) = fleet_of(Phase.RUNNING, Phase.WARM, Phase.WARM)
    record = fleet.tenants[A]
    grown = None
    for second in range(12):
        now = float(second)
        said = report(A, sessions=8, active=8, cpu_micros=second * 1_000_000)
        fleet.pod_answered(pod, said, now)
        weigh(fleet, record, now)
        claims = [each for each in decide(fleet, POOLED, now) if isinstance(each, ClaimPod)]
        if claims:
            grown = now
            assert claims[0].cause is Cause.SCALE_UP
            assert claims[0].why.inputs["sessions"] == "8"
            break
    assert grown is not None
    assert grown <= 6.0


def test_without_limits_or_pods_nothing_is_weighed() -> None:
    fleet, (pod,) = fleet_of(Phase.RUNNING, limits=None)
    record = fleet.tenants[A]
    weigh(fleet, record, 1.0)
    assert pods_due(fleet, record) == 1
    record.limits = LIMITS
    weigh(fleet, record, 1.0)
    assert record.wanted is not None
    assert (record.wanted.pods, record.wanted.inputs["pods"]) == (1, "1")
    fleet.pod_drained(pod, Cause.IDLE, 1.0, 1.0)
    weigh(fleet, record, 2.0)
    assert pods_due(fleet, record) == 0


# Newer code


def upgraded(*phases: Phase, limits: Limits = LIMITS) -> tuple[Fleet, list[Pod]]:
    """Pods of old code that are in use, and three warm ones of new code."""
    fleet, pods = fleet_of(*phases, *[Phase.WARM] * 3, limits=limits)
    fleet.generation = 2
    for pod in pods[len(phases) :]:
        pod.generation = 2
    for pod in pods[: len(phases)]:
        busy(fleet, pod)
    weigh(fleet, fleet.tenants[A], 0.0)
    return fleet, pods


def test_a_new_pod_comes_before_the_old_one_goes() -> None:
    fleet, (old, new, *_) = upgraded(Phase.RUNNING)
    record = fleet.tenants[A]
    (claim,) = [each for each in decide(fleet, POOLED, 0.0) if isinstance(each, ClaimPod)]
    assert (claim.pod, claim.cause) == (new, Cause.REPLACE)
    fleet.pod_claimed(new, A, Cause.REPLACE, 0.0)
    weigh(fleet, record, 1.0)
    assert pods_due(fleet, record) == 1
    assert about(decide(fleet, POOLED, 1.0), DrainPod) == []
    fleet.pod_stamped(new, PodId(2), "host:2", LIMITS, 1.0)
    busy(fleet, new, now=1.0)
    weigh(fleet, record, 2.0)
    (drain,) = [each for each in decide(fleet, POOLED, 2.0) if isinstance(each, DrainPod)]
    assert (drain.pod, drain.cause) == (old, Cause.REPLACE)
    fleet.pod_drained(old, Cause.REPLACE, 602.0, 2.0)
    weigh(fleet, record, 3.0)
    assert about(decide(fleet, POOLED, 3.0), ClaimPod) == []
    assert pods_due(fleet, record) == 1
    fleet.pod_ended(old.key, 4.0)
    assert about(decide(fleet, POOLED, 4.0), DrainPod) == []


def test_a_drain_that_is_told_twice_frees_one_stand_in() -> None:
    fleet, (first, second, new, *_) = upgraded(Phase.RUNNING, Phase.RUNNING)
    fleet.pod_claimed(new, A, Cause.REPLACE, 0.0)
    fleet.pod_stamped(new, PodId(2), "host:2", LIMITS, 0.0)
    fleet.pod_drained(first, Cause.REPLACE, 600.0, 0.0)
    another = fleet.pod_started(0, PodKey("another"), "host:1", 2, 0.0)
    fleet.pod_answered(another, report(), 0.0)
    fleet.pod_claimed(another, A, Cause.REPLACE, 0.0)
    fleet.pod_drained(first, Cause.REPLACE, 600.0, 5.0)
    assert another.stands_in
    assert not new.stands_in
    assert second.phase is Phase.RUNNING


def test_old_pods_without_a_session_just_go() -> None:
    fleet, (old, *_) = upgraded(Phase.RUNNING)
    fleet.pod_answered(old, report(A, idle=1.0), 10.0)
    assert about(decide(fleet, POOLED, 10.0), DrainIfIdle) == []
    (drain,) = [each for each in decide(fleet, POOLED, 11.0) if isinstance(each, DrainIfIdle)]
    assert (drain.pod, drain.cause) == (old, Cause.REPLACE)
    fleet.drain_asked(old, 11.0)
    fleet.drain_refused(old, 11.0)
    assert about(decide(fleet, POOLED, 12.0), DrainIfIdle) == [], "not asked over and over"


@pytest.mark.parametrize(
    "limits", [replace(LIMITS, pods_min=1), replace(LIMITS, idle_timeout=None)]
)
def test_a_tenant_that_is_never_to_sleep_is_replaced_without_a_gap(limits: Limits) -> None:
    fleet, (old, *_) = upgraded(Phase.RUNNING, limits=limits)
    fleet.pod_answered(old, report(A, idle=30.0), 10.0)
    actions = decide(fleet, POOLED, 11.0)
    assert about(actions, DrainIfIdle) == []
    assert len(about(actions, ClaimPod)) == 1


def test_old_code_shrinks_first() -> None:
    fleet, (first, second, *_) = upgraded(Phase.RUNNING, Phase.RUNNING)
    second.generation = 2
    first.cores.smooth, second.cores.smooth = 0.9, 0.0
    want(fleet, 1)
    assert about(decide(fleet, POOLED, 10.0), DrainPod) == [first.key]


def test_only_so_many_tenants_are_replaced_at_a_time() -> None:
    fleet, pods = upgraded(Phase.RUNNING)
    tenants = [A]
    for number in range(10, 19):
        pod = fleet.pod_started(0, PodKey(f"old {number}"), "host:1", 1, 0.0)
        tenant = TenantId(number)
        fleet.pod_answered(pod, report(tenant, sessions=1, active=1), 0.0)
        fleet.tenants[tenant].limits = LIMITS
        tenants.append(tenant)
    for number in range(8):
        pod = fleet.pod_started(0, PodKey(f"new {number}"), "host:1", 2, 0.0)
        fleet.pod_answered(pod, report(), 0.0)
    policy = Policy(warm_pods=8, replacements_max=4, grows_max=8)
    claims = [each for each in decide(fleet, policy, 0.0) if isinstance(each, ClaimPod)]
    assert len(claims) == 4
    for claim in claims:
        fleet.pod_claimed(claim.pod, claim.tenant, claim.cause, 0.0)
    assert about(decide(fleet, policy, 0.0), ClaimPod) == []
    for claim in claims:
        fleet.pod_stamped(claim.pod, PodId(5), "host:2", LIMITS, 1.0)
        busy(fleet, claim.pod, now=1.0)
    drains = [each for each in decide(fleet, policy, 1.0) if isinstance(each, DrainPod)]
    assert len(drains) == 4
    for drain in drains:
        fleet.pod_drained(drain.pod, drain.cause, 601.0, 1.0)
    assert about(decide(fleet, policy, 2.0), ClaimPod) == []
    # Drains that drag hold nobody up.
    assert len(about(decide(fleet, policy, 12.0), ClaimPod)) == 4
    assert pods[0].phase is Phase.DRAINING


def test_newer_code_that_cannot_be_stamped_is_not_tried_on_every_tenant() -> None:
    fleet, pods = upgraded(Phase.RUNNING)
    busy(fleet, *pods[:1])
    fleet.grow_failed(TenantId(77), Cause.REPLACE, 0.0)
    assert about(decide(fleet, POOLED, 0.9), ClaimPod) == []
    assert len(about(decide(fleet, POOLED, 1.0), ClaimPod)) == 1
    fleet.grow_failed(TenantId(78), Cause.REPLACE, 1.0)
    assert about(decide(fleet, POOLED, 2.9), ClaimPod) == []


def test_a_stand_in_whose_old_pod_died_is_a_pod_like_any_other() -> None:
    fleet, (old, new, *_) = upgraded(Phase.RUNNING)
    fleet.pod_claimed(new, A, Cause.REPLACE, 0.0)
    fleet.pod_stamped(new, PodId(2), "host:2", LIMITS, 0.0)
    busy(fleet, new)
    fleet.pod_ended(old.key, 1.0)
    weigh(fleet, fleet.tenants[A], 1.0)
    assert pods_due(fleet, fleet.tenants[A]) == 1
    assert about(decide(fleet, POOLED, 1.0), DrainPod) == []


def test_a_parked_tenant_is_not_replaced_but_one_that_cannot_park_is() -> None:
    fleet, (old, *_) = upgraded(Phase.RUNNING)
    fleet.pod_answered(old, report(A, sessions=1, idle=100.0), 0.0)
    fleet.tenant_parking(fleet.tenants[A], Parking.IDLE, 0.0)
    assert about(decide(fleet, POOLED, 5.0), ClaimPod) == []
    assert len(about(decide(fleet, POOLED, 11.0), ClaimPod)) == 1


def test_what_has_just_fallen_asleep_is_not_woken_by_what_it_needed_before() -> None:
    fleet, (first, second, *_) = fleet_of(*[Phase.RUNNING] * 2, *[Phase.WARM] * 4)
    for pod in (first, second):
        fleet.pod_answered(pod, report(A, idle=IDLE), 0.0)
    want(fleet, 2)
    assert len(about(decide(fleet, POOLED, 0.0), DrainIfIdle)) == 2
    for pod in (first, second):
        fleet.drain_asked(pod, 0.0)
        assert about(decide(fleet, POOLED, 0.0), ClaimPod) == []
    for pod in (first, second):
        fleet.pod_drained(pod, Cause.IDLE, 0.1, 0.1)
        assert about(decide(fleet, POOLED, 0.1), ClaimPod) == []
    fleet.pod_ended(first.key, 0.2)
    assert about(decide(fleet, POOLED, 0.2), ClaimPod) == []


def test_the_newer_settings_hold_whichever_come_first() -> None:
    fleet, (pod,) = fleet_of(Phase.STAMPING)
    newer = replace(LIMITS, pods_min=0, pods_max=3, version=8)
    older = replace(LIMITS, pods_min=2, version=7)
    fleet.limits_told(A, newer, 0.0)
    fleet.pod_stamped(pod, PodId(1), "127.0.0.1:1", older, 1.0)
    assert fleet.tenants[A].limits == newer
    fleet.limits_told(A, replace(older, version=9), 2.0)
    assert fleet.tenants[A].limits == replace(older, version=9)


@pytest.mark.parametrize("known", [True, False])
def test_what_is_deleted_while_a_pod_is_stamped_for_it_is_forgotten(known: bool) -> None:
    fleet, (pod,) = fleet_of(Phase.STAMPING)
    kept = replace(LIMITS, pods_min=1, version=7)
    fleet.tenants[A].limits = kept if known else None
    fleet.tenant_deleted(A, 0.0, version=8)
    fleet.pod_stamped(pod, PodId(1), "127.0.0.1:1", kept, 1.0)
    fleet.pod_ended(pod.key, 2.0)
    assert A not in fleet.tenants
    # One that is restored is kept ready again.
    fleet.limits_told(A, replace(kept, version=9), 3.0)
    assert fleet.tenants[A].limits == replace(kept, version=9)
