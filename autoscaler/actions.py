"""What can be decided, and the numbers decisions are made by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoscaler.pods import Cause, Pod
from autoscaler.scale import ScalePolicy
from dormouse.base.ids import TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Times are seconds."""

    warm_pods: int = 2
    """Unstamped pods kept ready, at the least."""

    warm_pods_max: int = 16
    """As many at the most, however often tenants wake."""

    warm_age_max: float = 3600.0
    """A warm pod older than this is replaced by a new one."""

    pods_max: int = 256
    """Living pods and forks under way, of all tenants."""

    forks_max: int = 4
    """Forks under way at once while a tenant waits: each costs a core for tens of milliseconds."""

    refills_max: int = 1
    """Forks under way at once while nobody waits: they must not starve who is running."""

    refill_delay: float = 0.25
    """How long a claim is left alone with the machine before its pod is replaced, while at least
    half of the pool is there: a fork would compete with the wake that emptied the place."""

    fork_timeout: float = 20.0
    """A fork that the runtime has not told of by then is forgotten."""

    probe_timeout: float = 10.0
    stamp_timeout: float = 3.0
    ask_timeout: float = 5.0
    """How long a pod may think about whether it is idle, or takes sessions again."""

    answer_timeout: float = 30.0
    """A pod whose Status fails for so long, MISSES_MIN times in a row, is hung."""

    drain_seconds: float = 600.0
    """How long a pod that is not needed any more waits for its last session to go."""

    drain_grace: float = 3.0
    """From the end of a drain until a pod that is still there is killed."""

    kill_again: float = 5.0

    surplus_after: float = 60.0
    """How long warm pods beyond those wanted are kept for the next wakes."""

    scale: ScalePolicy = field(default_factory=ScalePolicy)

    grows_max: int = 4
    """Pods being stamped at once for tenants that run already, of all tenants."""

    growth_share: float = 0.9
    """Of `pods_max`: the rest is left to tenants that wake."""

    shrink_spacing: float = 5.0
    """Between two drains of one tenant, to have fewer pods."""

    replacements_max: int = 4
    """Tenants whose pods of older code are replaced at a time."""

    replace_patience: float = 10.0
    """A replaced pod that drains for longer holds up no other replacement."""

    park_patience: float = 10.0
    """A tenant whose sessions have not been parked by then is not about to sleep after all."""

    empty_seconds: float = 2.0
    """A pod of older code without a session for so long just goes."""


@dataclass(frozen=True, slots=True)
class Why:
    """What a decision was based on, for people."""

    reason: str
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForkPod:
    """Ask the runtime for a pod."""


@dataclass(frozen=True, slots=True)
class ClaimPod:
    """Give the pod to the tenant."""

    tenant: TenantId
    pod: Pod
    cause: Cause
    why: Why


@dataclass(frozen=True, slots=True)
class ServeWake:
    """The tenant need not wait: it has a pod that takes sessions."""

    tenant: TenantId


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Ask the draining pod to take sessions again."""

    pod: Pod
    why: Why


@dataclass(frozen=True, slots=True)
class ParkTenant:
    """Ask the proxies to park the tenant's sessions."""

    tenant: TenantId
    why: Why


@dataclass(frozen=True, slots=True)
class StayAwake:
    """Its sessions need not be parked after all."""

    tenant: TenantId
    why: Why


@dataclass(frozen=True, slots=True)
class DrainIfIdle:
    """Ask the pod to end if nobody is connected."""

    pod: Pod
    cause: Cause
    why: Why


@dataclass(frozen=True, slots=True)
class DrainPod:
    """Have the pod take no more sessions and end within `seconds`."""

    pod: Pod
    cause: Cause
    seconds: float
    why: Why


@dataclass(frozen=True, slots=True)
class KillPod:
    """End the pod at once."""

    pod: Pod
    reason: str


Action = (
    ForkPod
    | ClaimPod
    | ServeWake
    | TakeBack
    | ParkTenant
    | StayAwake
    | DrainIfIdle
    | DrainPod
    | KillPod
)
