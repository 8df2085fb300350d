"""What to do next, as a pure function of the picture and the time.

`decide` is asked after everything that happens and at least once a second. It remembers nothing:
whoever performs an action notes it in the fleet before asking again, so that asking twice does
nothing twice.

    stuck     a pod that does not do what it was told to, in time        → KillPod
    demand    what a tenant's pods are to do, see `demand.py`            → DrainPod, ParkTenant, …
    serve     a waiting tenant whose pod stayed after all                → ServeWake
    claim     a waiting tenant, longest wait first, freshest pod first   → ClaimPod, TakeBack
    grow      a running tenant that needs another pod, after all wakes   → ClaimPod
    refill    fewer warm pods than wanted                                → ForkPod
    surplus   more warm pods than wanted, and not just for a moment      → KillPod
    stale     warm pods of older code, or too old, as others come        → KillPod
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autoscaler.actions import (
    Action,
    ClaimPod,
    DrainPod,
    ForkPod,
    KillPod,
    Policy,
    ServeWake,
    TakeBack,
    Why,
)
from autoscaler.demand import Need, demands, replacing, returnable
from autoscaler.fleet import Fleet
from autoscaler.pods import COMING, Cause, Phase, Pod
from autoscaler.pool import warm_wanted

MISSES_MIN = 5


@dataclass(slots=True)
class Pool:
    """The warm pods there are to give away, in this one decision."""

    fresh: list[Pod]
    """Oldest first."""
    stale: list[Pod]
    """Of older code, or too old."""

    def __len__(self) -> int:
        return len(self.fresh) + len(self.stale)

    def take(self, *, newest: bool) -> Pod | None:
        """The next one; with `newest` only a fresh one will do."""
        if self.fresh:
            return self.fresh.pop(0)
        return self.stale.pop(0) if self.stale and not newest else None


def decide(fleet: Fleet, policy: Policy, now: float) -> list[Action]:
    """The actions due at `now`; none while the runtime is out of reach.

    Pods to be killed come alone: what is to be done without them is seen once they are noted.
    """
    if not fleet.connected:
        return []
    kills = [KillPod(pod, why) for pod in fleet.pods.values() if (why := _stuck(pod, policy, now))]
    if kills:
        return [*kills]
    actions, needs = _demand(fleet, policy, now)
    pool = _pool(fleet, policy, now)
    wanted = warm_wanted(fleet.wake_rate, now=now, low=policy.warm_pods, high=policy.warm_pods_max)
    wakes, unmet = _wakes(fleet, pool, now)
    claims = _growth(fleet, policy, pool, needs)
    unmet += min(len(needs) - len(claims), policy.grows_max)
    trims = [] if unmet else list(_trims(fleet, policy, pool, wanted, now))
    claimed = sum(isinstance(action, ClaimPod) for action in (*wakes, *claims))
    forks = _forks(fleet, policy, wanted + unmet - len(pool.fresh), unmet, claimed, now)
    return [*_retold(fleet, policy, now), *actions, *wakes, *claims, *trims, *[ForkPod()] * forks]


def _stuck(pod: Pod, policy: Policy, now: float) -> str | None:
    spent = now - pod.since
    match pod.phase:
        case Phase.PROBING if spent > policy.probe_timeout:
            return "never said what it is"
        case Phase.STAMPING if spent > 2 * policy.stamp_timeout:
            return "not stamped in time"  # the call's own limit comes first; this is the net
        case Phase.ASKING if spent > policy.ask_timeout:
            return "never said whether it is idle"
        case Phase.KILLED if spent > policy.kill_again:
            return "killed but still there"  # the runtime was out of reach, or is slow
        case Phase.DRAINING if now > pod.drain_until + policy.drain_grace:
            return "drained but still there"
        case Phase.WARM | Phase.RUNNING | Phase.DRAINING if (
            pod.misses >= MISSES_MIN and now - pod.answered_at > policy.answer_timeout
        ):
            return "hung"
    return None


def _retold(fleet: Fleet, policy: Policy, now: float) -> Iterator[DrainPod]:
    """Pods that are to drain and say that they do not: the call was lost."""
    for pod in fleet.in_phase(Phase.DRAINING):
        if not pod.drain_told and now - pod.since > policy.ask_timeout:
            seconds = max(pod.drain_until - now, 0.0)
            yield DrainPod(pod, pod.drain_cause, seconds, Why("it did not know"))


def _demand(fleet: Fleet, policy: Policy, now: float) -> tuple[list[Action], list[Need]]:
    actions: list[Action] = []
    needs: list[Need] = []
    slots = policy.replacements_max - replacing(fleet, policy, now)
    if now < fleet.replace_after:
        slots = 0
    for record in fleet.tenants.values():
        for due in demands(fleet, record, policy, now, may_replace=slots > 0):
            if isinstance(due, Need):
                slots -= due.cause is Cause.REPLACE
                needs.append(due)
            else:
                actions.append(due)
    return actions, needs


def _pool(fleet: Fleet, policy: Policy, now: float) -> Pool:
    warm = sorted(fleet.in_phase(Phase.WARM), key=lambda pod: pod.since)
    fresh = [
        pod
        for pod in warm
        if pod.generation >= fleet.generation and now - pod.known_since <= policy.warm_age_max
    ]
    return Pool(fresh, [pod for pod in warm if pod not in fresh])


def _wakes(
    fleet: Fleet, pool: Pool, now: float
) -> tuple[list[ClaimPod | ServeWake | TakeBack], int]:
    """What is done for the tenants that wait, and how many of them there is no pod for."""
    actions: list[ClaimPod | ServeWake | TakeBack] = []
    unmet = 0
    for tenant, since in sorted(fleet.wakes.items(), key=lambda item: item[1]):
        record = fleet.tenant(tenant)
        if record.in_phase(Phase.RUNNING):
            actions.append(ServeWake(tenant))
        elif record.in_phase(Phase.ASKING, *COMING):
            continue
        elif back := returnable(record, now):
            actions.append(TakeBack(back[0], Why("a client waits")))
        elif (pod := pool.take(newest=False)) is not None:
            inputs = {"waited_seconds": f"{now - since:.3f}", "warm_left": str(len(pool))}
            actions.append(ClaimPod(tenant, pod, Cause.WAKE, Why("a client waits", inputs)))
        else:
            unmet += 1
    return actions, unmet


def _growth(fleet: Fleet, policy: Policy, pool: Pool, needs: Sequence[Need]) -> list[ClaimPod]:
    """Pods for tenants that run already, or are to run without anybody asking: no more than are
    stamped easily, and the last warm pod is left for the next wake."""
    growing = sum(pod.claimed_for is not Cause.WAKE for pod in fleet.in_phase(Phase.STAMPING))
    crowded = len(fleet.pods) + len(fleet.starting) > policy.growth_share * policy.pods_max
    claims: list[ClaimPod] = []
    # Replacements come last: they only make room for newer code.
    for need in sorted(needs, key=lambda need: need.cause is Cause.REPLACE):
        reserve = min(policy.warm_pods - 1, 1)
        if crowded or growing + len(claims) >= policy.grows_max or len(pool) <= max(reserve, 0):
            break
        pod = pool.take(newest=need.cause is Cause.REPLACE)
        if pod is not None:
            claims.append(ClaimPod(need.tenant.id, pod, need.cause, need.why))
    return claims


def _trims(fleet: Fleet, policy: Policy, pool: Pool, wanted: int, now: float) -> Iterator[KillPod]:
    # The youngest are the surplus: the pool's old hands stay, whatever comes and goes.
    for pod in pool.fresh[wanted:]:
        if now - pod.since > policy.surplus_after:
            yield KillPod(pod, "more warm pods than wanted")
    spare = len(pool) - max(wanted, len(pool.fresh))
    full = len(fleet.pods) + len(fleet.starting) >= policy.pods_max
    if full and len(pool) > 1:
        spare = max(spare, 1)  # there is no room for its successor yet
    for pod in pool.stale[: max(spare, 0)]:
        why = "too old" if pod.generation >= fleet.generation else "of older code"
        yield KillPod(pod, f"warm pod {why}")


def _forks(fleet: Fleet, policy: Policy, wanted: int, unmet: int, claimed: int, now: float) -> int:
    """How many to ask for, `wanted` being missing among the warm ones."""
    warm = fleet.count(Phase.WARM) - claimed
    young = sum(now - asked <= policy.fork_timeout for asked in fleet.starting.values())
    probing = sum(pod.generation >= fleet.generation for pod in fleet.in_phase(Phase.PROBING))
    if now < fleet.fork_after or _let_wakes_run(fleet, policy, warm, unmet, claimed, now):
        return 0
    room = policy.pods_max - len(fleet.pods) - young
    at_once = policy.forks_max if unmet else policy.refills_max
    return max(min(wanted - probing - young, room, at_once - young), 0)


def _let_wakes_run(
    fleet: Fleet, policy: Policy, warm: int, unmet: int, claimed: int, now: float
) -> bool:
    fresh = claimed > 0 or now - fleet.claimed_at < policy.refill_delay
    return fresh and not unmet and warm > 0 and 2 * warm >= policy.warm_pods
