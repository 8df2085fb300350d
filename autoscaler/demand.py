"""What one tenant's pods are to do: grow, shrink, be replaced by newer code, park and sleep.

    wanted > there       a pod of its own that drains takes sessions again     → TakeBack
                         otherwise it needs another                            → Need
    wanted < there       the least busy one goes, never the last               → DrainPod
    older code           a new pod first, then an old one goes                 → Need, DrainPod
                         nobody is connected: it just goes                     → DrainIfIdle
    idle for its time    its sessions are to be parked                         → ParkTenant
                         a pod without sessions goes                           → DrainIfIdle
    idle no longer                                                             → StayAwake

Pods that are on their way count as there. A pod that *stands in* for one of older code does not,
until the old one drains: otherwise the rule would take the pair for a tenant that has grown.

A tenant that falls asleep does nothing else, and one that is suspended does nothing at all here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from autoscaler.actions import (
    DrainIfIdle,
    DrainPod,
    ParkTenant,
    Policy,
    StayAwake,
    TakeBack,
    Why,
)
from autoscaler.fleet import Fleet
from autoscaler.pods import COMING, SERVING, Cause, Phase, Pod
from autoscaler.scale import pods_wanted
from autoscaler.tenants import Limits, Parking, Tenant

RETURN_SECONDS_MIN = 1.0
"""A pod that is to end sooner than this is not asked to come back."""


@dataclass(frozen=True, slots=True)
class Need:
    """The tenant needs a pod; nobody waits for it."""

    tenant: Tenant
    cause: Cause
    why: Why


Demand = TakeBack | DrainPod | DrainIfIdle | ParkTenant | StayAwake | Need


def weigh(fleet: Fleet, record: Tenant, now: float) -> None:
    """Take the second's sample of the tenant's load and see how many pods that asks for."""
    serving = record.in_phase(*SERVING)
    limits = record.limits
    if not serving or limits is None:
        record.wanted = None
        return
    leaving = record.in_phase(Phase.DRAINING, Phase.RETURNING)
    record.load.add(
        now,
        {pod.key: pod.cores.latest for pod in serving},
        sessions=record.sessions,
        leaving_cores=sum(pod.cores.latest for pod in leaving),
    )
    record.wanted = pods_wanted(
        record.load,
        pods_now=_there(fleet, record),
        pods_min=limits.pods_min,
        pods_max=limits.pods_max,
        active=True,
        now=now,
    )


def demands(
    fleet: Fleet, record: Tenant, policy: Policy, now: float, *, may_replace: bool
) -> list[Demand]:
    """What is due for one tenant."""
    limits = record.limits
    if limits is None or record.parking is Parking.SUSPEND:
        return []
    if _is_settled(fleet, record, limits, now):
        return []
    due: list[Demand] = list(_parking(fleet, record, now))
    if due:
        return due
    parking = record.parking is Parking.IDLE
    if not parking and record.may_sleep(now):
        return []  # its pods are going, one after the other
    if parking and not (record.sessions and now - record.parking_since > policy.park_patience):
        return []
    # Sessions that cannot be parked stay, but not on more pods than they need.
    # A tenant that waits gets its first pod before it is seen whether it needs more.
    grow = not parking and record.id not in fleet.wakes
    due = _resize(fleet, record, limits, policy, now, grow=grow)
    return due or list(_replace(fleet, record, limits, policy, now, may_replace=may_replace))


def _resize(
    fleet: Fleet, record: Tenant, limits: Limits, policy: Policy, now: float, *, grow: bool
) -> list[Demand]:
    wanted = _wanted(fleet, record, limits)
    there = _there(fleet, record)
    if there < wanted and grow:
        return list(_grow(record, wanted - there, policy, now))
    if there > wanted:
        return list(_shrink(fleet, record, policy, now))
    return []


def pods_due(fleet: Fleet, record: Tenant) -> int:
    """How many pods the tenant is to have, as things are; 0 where it may sleep or is to."""
    if record.limits is None:
        return _there(fleet, record)
    return 0 if record.parking is not Parking.NO else _wanted(fleet, record, record.limits)


def _is_settled(fleet: Fleet, record: Tenant, limits: Limits, now: float) -> bool:
    """The common case, cheaply: one pod of the newest code is enough, and the tenant is busy."""
    if len(record.pods) != 1 or record.parking is not Parking.NO:
        return False
    (pod,) = record.pods.values()
    return (
        pod.phase is Phase.RUNNING
        and pod.generation == fleet.generation
        and _wanted(fleet, record, limits) == 1
        and (limits.idle_timeout is None or pod.idle_at(now) < limits.idle_timeout)
    )


def _wanted(fleet: Fleet, record: Tenant, limits: Limits) -> int:
    there = _there(fleet, record)
    if not there:
        return limits.pods_min  # what it needed before it fell asleep wakes nobody
    if record.wanted is None:
        return max(limits.pods_min, there)  # nothing is known yet: what is there stays
    return max(min(record.wanted.pods, limits.pods_max), limits.pods_min, 1)


def _there(fleet: Fleet, record: Tenant) -> int:
    return len(record.in_phase(*SERVING, *COMING)) - len(_stand_ins(fleet, record))


def _stand_ins(fleet: Fleet, record: Tenant) -> list[Pod]:
    """Those of the newest code that stand in for one of older code that still serves."""
    there = record.in_phase(*SERVING, *COMING)
    if all(pod.generation == fleet.generation for pod in there):
        return []
    return [pod for pod in there if pod.stands_in and pod.generation == fleet.generation]


def _parking(
    fleet: Fleet, record: Tenant, now: float
) -> Iterator[ParkTenant | StayAwake | DrainIfIdle]:
    running = record.in_phase(Phase.RUNNING)
    sleepy = record.id not in fleet.wakes and record.may_sleep(now)
    if sleepy and running:
        answering = all(pod.misses == 0 for pod in running)
        if record.parking is Parking.NO and answering and record.sessions:
            yield ParkTenant(record.id, Why("idle for its idle timeout", _idle(record, now)))
        for pod in running:
            if pod.sessions == 0 and pod.misses == 0:
                why = Why("idle, and without a session", _idle(record, now))
                yield DrainIfIdle(pod, Cause.IDLE, why)
    elif record.parking is Parking.IDLE and not sleepy:
        yield StayAwake(record.id, Why("used again", _idle(record, now)))


def _idle(record: Tenant, now: float) -> dict[str, str]:
    timeout = record.limits.idle_timeout if record.limits else None
    return {
        "idle_seconds": f"{record.idle_at(now):.1f}",
        "idle_timeout_seconds": f"{timeout:g}" if timeout is not None else "never",
        "sessions": str(record.sessions),
    }


def _load(record: Tenant) -> Why:
    if record.wanted is None:
        return Why("its settings")
    return Why(record.wanted.reason, record.wanted.inputs)


def _grow(record: Tenant, missing: int, policy: Policy, now: float) -> Iterator[TakeBack | Need]:
    back = returnable(record, now)[:missing]
    for pod in back:
        yield TakeBack(pod, _load(record))
    if now >= record.grow_after:
        for _ in range(min(missing - len(back), policy.grows_max)):
            yield Need(record, Cause.SCALE_UP, _load(record))


def returnable(record: Tenant, now: float) -> list[Pod]:
    """Its draining pods that may yet take sessions again, the fullest first."""
    pods = [
        pod
        for pod in record.in_phase(Phase.DRAINING)
        if pod.returnable and pod.misses == 0 and pod.drain_until - now > RETURN_SECONDS_MIN
    ]
    return sorted(pods, key=lambda pod: -pod.sessions)


def _shrink(fleet: Fleet, record: Tenant, policy: Policy, now: float) -> Iterator[DrainPod]:
    running = record.in_phase(Phase.RUNNING)
    resting = now - record.drained_at < policy.shrink_spacing
    if len(running) < 2 or record.in_phase(*COMING) or resting:
        return
    yield DrainPod(
        _least_needed(fleet, running), Cause.SCALE_DOWN, policy.drain_seconds, _load(record)
    )


def _least_needed(fleet: Fleet, pods: list[Pod]) -> Pod:
    """Older code first, then whoever does the least."""
    return min(
        pods,
        key=lambda pod: (pod.generation == fleet.generation, pod.cores.smooth, pod.sessions),
    )


def _replace(
    fleet: Fleet, record: Tenant, limits: Limits, policy: Policy, now: float, *, may_replace: bool
) -> Iterator[DrainIfIdle | DrainPod | Need]:
    old = [pod for pod in record.in_phase(Phase.RUNNING) if pod.generation < fleet.generation]
    if not old or record.id in fleet.wakes:
        return
    why = Why("of older code", {"generation": str(fleet.generation)})
    if limits.pods_min == 0 and limits.idle_timeout is not None and record.sessions == 0:
        if record.idle_at(now) >= policy.empty_seconds and not record.in_phase(*COMING):
            for pod in old:
                yield DrainIfIdle(pod, Cause.REPLACE, why)
        return
    if any(pod.phase is Phase.RUNNING for pod in _stand_ins(fleet, record)):
        yield DrainPod(_least_needed(fleet, old), Cause.REPLACE, policy.drain_seconds, why)
    elif (
        may_replace
        and not record.in_phase(*COMING)
        and now >= record.grow_after
        # One too many goes without a successor, and soon.
        and _there(fleet, record) <= _wanted(fleet, record, limits)
    ):
        yield Need(record, Cause.REPLACE, why)


def replacing(fleet: Fleet, policy: Policy, now: float) -> int:
    """How many tenants are having pods of older code replaced just now."""
    return sum(_is_replacing(fleet, record, policy, now) for record in fleet.tenants.values())


def _is_replacing(fleet: Fleet, record: Tenant, policy: Policy, now: float) -> bool:
    return bool(_stand_ins(fleet, record)) or any(
        pod.drain_cause is Cause.REPLACE and now - pod.since < policy.replace_patience
        for pod in record.in_phase(Phase.DRAINING)
    )
