"""What to do next, as a pure function of the picture and the time.

`decide` is asked after everything that happens and at least once a second. It remembers nothing:
whoever performs an action notes it in the fleet before asking again, so that asking twice does
nothing twice.

    stuck     a pod that does not do what it was told to, in time        → KillPod
    serve     a waiting tenant whose pod stayed after all                → ServeWake
    claim     a waiting tenant, first come first served, oldest warm pod → ClaimPod
    suspend   a running pod without sessions for its idle timeout        → DrainPod
    refill    fewer warm pods than wanted                                → ForkPod
    surplus   more warm pods than wanted, and not just for a moment      → KillPod
"""

from collections.abc import Iterator
from dataclasses import dataclass

from autoscaler.fleet import Fleet, Phase, Pod, PodKey
from dormouse.base.ids import TenantId


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers decisions are made by; times are seconds."""

    warm_pods: int = 2
    """Unstamped pods kept ready."""

    pods_max: int = 256
    """Living pods and forks under way, of all tenants."""

    forks_max: int = 4
    """Forks under way at once: each costs a core for some tens of milliseconds."""

    refill_delay: float = 0.25
    """How long a claim is left alone with the machine before its pod is replaced, while at least
    half of the pool is there: a fork would compete with the wake that emptied the place."""

    fork_timeout: float = 20.0
    """A fork that the runtime has not told of by then is forgotten."""

    probe_timeout: float = 10.0
    stamp_timeout: float = 3.0
    ask_timeout: float = 5.0
    """How long a pod may think about whether it is idle."""

    answer_timeout: float = 30.0
    """A pod whose Status fails for so long, MISSES_MIN times in a row, is hung."""

    drain_grace: float = 3.0
    """From the end of a drain until a pod that is still there is killed."""

    kill_again: float = 5.0

    surplus_after: float = 60.0
    """How long warm pods beyond `warm_pods` are kept for the next wakes."""


MISSES_MIN = 5


@dataclass(frozen=True, slots=True)
class ForkPod:
    """Ask the runtime for a pod."""


@dataclass(frozen=True, slots=True)
class ClaimPod:
    """Give the pod to the tenant that waits for one."""

    tenant: TenantId
    pod: Pod


@dataclass(frozen=True, slots=True)
class ServeWake:
    """The tenant need not wait: it has a pod that takes sessions."""

    tenant: TenantId


@dataclass(frozen=True, slots=True)
class DrainPod:
    """Ask the pod to end if nobody is connected."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class KillPod:
    """End the pod at once."""

    pod: Pod
    reason: str


Action = ForkPod | ClaimPod | ServeWake | DrainPod | KillPod


def decide(fleet: Fleet, policy: Policy, now: float) -> list[Action]:
    """The actions due at `now`; none while the runtime is out of reach."""
    if not fleet.connected:
        return []
    kills = list(_kills(fleet, policy, now))
    claims = list(_claims(fleet, {action.pod.key for action in kills}))
    return [*kills, *claims, *_drains(fleet, now), *_forks(fleet, policy, claims, now)]


def _kills(fleet: Fleet, policy: Policy, now: float) -> Iterator[KillPod]:
    for pod in fleet.pods.values():
        reason = _stuck(pod, policy, now)
        if reason is not None:
            yield KillPod(pod, reason)
    if not fleet.wakes:
        # The youngest are the surplus: the pool's old hands stay, whatever comes and goes.
        warm = sorted(fleet.in_phase(Phase.WARM), key=lambda pod: pod.since)
        for pod in warm[policy.warm_pods :]:
            if now - pod.since > policy.surplus_after:
                yield KillPod(pod, "more warm pods than wanted")


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
        case Phase.WARM | Phase.RUNNING if (
            pod.misses >= MISSES_MIN and now - pod.answered_at > policy.answer_timeout
        ):
            return "hung"
    return None


def _claims(fleet: Fleet, killed: set[PodKey]) -> Iterator[ClaimPod | ServeWake]:
    warm = (pod for pod in fleet.in_phase(Phase.WARM) if pod.key not in killed)
    owned = {pod.tenant: pod.phase for pod in fleet.in_phase(Phase.ASKING, Phase.STAMPING)}
    running = {pod.tenant for pod in fleet.in_phase(Phase.RUNNING)}
    for tenant in fleet.wakes:
        if tenant in running:
            yield ServeWake(tenant)
        elif tenant not in owned and (pod := next(warm, None)) is not None:
            yield ClaimPod(tenant, pod)


def _drains(fleet: Fleet, now: float) -> Iterator[DrainPod]:
    for pod in fleet.in_phase(Phase.RUNNING):
        waited_for = pod.tenant in fleet.wakes
        known = pod.idle_timeout is not None and pod.misses == 0
        if known and not waited_for and pod.idle_at(now) >= (pod.idle_timeout or 0.0):
            yield DrainPod(pod)


def _forks(
    fleet: Fleet, policy: Policy, claims: list[ClaimPod | ServeWake], now: float
) -> Iterator[ForkPod]:
    claimed = sum(isinstance(action, ClaimPod) for action in claims)
    unmet = len(fleet.wakes) - len(claims)
    warm = fleet.count(Phase.WARM) - claimed
    young = [asked for asked in fleet.starting.values() if now - asked <= policy.fork_timeout]
    coming = fleet.count(Phase.PROBING) + len(young)
    if now < fleet.fork_after or _let_wakes_run(fleet, policy, warm, unmet, claimed, now):
        return
    wanted = policy.warm_pods + unmet - warm - coming
    room = policy.pods_max - len(fleet.pods) - len(young)
    for _ in range(min(wanted, room, policy.forks_max - len(young))):
        yield ForkPod()


def _let_wakes_run(
    fleet: Fleet, policy: Policy, warm: int, unmet: int, claimed: int, now: float
) -> bool:
    fresh = claimed > 0 or now - fleet.claimed_at < policy.refill_delay
    return fresh and not unmet and warm > 0 and 2 * warm >= policy.warm_pods
