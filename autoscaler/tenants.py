"""One tenant as the autoscaler sees it: its pods, its load, what its settings allow.

A record lives as long as the tenant has a pod, waits for one, or is to have some at all times.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from autoscaler.pods import COMING, SERVING, Phase, Pod, PodKey
from autoscaler.scale import TenantLoad, Wanted
from dormouse.base.ids import TenantId

NEVER = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the tenant's settings say, the installation's defaults filled in."""

    idle_timeout: float | None
    """Seconds without a statement until it sleeps; None: it never does."""
    pods_min: int
    """This many even without a session."""
    pods_max: int
    version: int = 0
    """Of the settings; a greater one is newer."""


class Parking(StrEnum):
    """Whether the tenant's sessions are to be parked, and what for."""

    NO = "no"
    IDLE = "idle"
    """Nobody has done anything for its idle timeout."""
    SUSPEND = "suspend"
    """It is told to sleep, whatever its sessions do."""


@dataclass(slots=True, eq=False)
class Tenant:
    """What is known of one tenant."""

    id: TenantId
    load: TenantLoad
    limits: Limits | None = None
    """None where control has not said (yet): then it is left awake, and as it is."""
    gone: int = 0
    """Before this version of its settings it was deleted: no pods are kept for them."""
    pods: dict[PodKey, Pod] = field(default_factory=dict)
    """All that are its own, oldest first, killed ones until they have ended."""
    wanted: Wanted | None = None
    """By its load, as of the last second; None before the first sample."""
    parking: Parking = Parking.NO
    parking_since: float = 0.0
    woken_at: float = NEVER
    """When somebody last asked for its pods: a session is about to come."""
    drained_at: float = NEVER
    """When a pod of it was last drained to have fewer."""
    grow_after: float = 0.0
    """No pod is claimed for it before, unless somebody waits: the last one failed."""
    grow_failures: int = 0

    def __repr__(self) -> str:
        phases = " ".join(f"{pod.key}={pod.phase.value}" for pod in self.pods.values())
        wanted = self.wanted.pods if self.wanted else "?"
        return f"<Tenant {self.id} wanted={wanted} parking={self.parking.value} [{phases}]>"

    def learn(self, limits: Limits) -> None:
        """Control has answered, or told of a change; which of two came later does not say which is
        newer."""
        if limits.version < self.gone:
            limits = replace(limits, pods_min=0)
        if self.limits is None or limits.version >= self.limits.version:
            self.limits = limits

    def deleted(self, version: int) -> None:
        """There is no such tenant as of this version (0: whatever is known of it)."""
        known = 0 if self.limits is None else self.limits.version
        self.gone = version or known + 1
        if self.limits is not None:
            self.learn(self.limits)

    def in_phase(self, *phases: Phase) -> list[Pod]:
        """Its pods in these phases (in any, if none is named), oldest first."""
        return [pod for pod in self.pods.values() if not phases or pod.phase in phases]

    @property
    def sessions(self) -> int:
        """Sessions at its pods, as they last said."""
        return sum(pod.sessions for pod in self.pods.values() if pod.phase is not Phase.KILLED)

    def idle_at(self, now: float) -> float:
        """Seconds since anybody did anything, as far as we know."""
        pods = self.in_phase(*SERVING, Phase.DRAINING)
        return min([now - self.woken_at, *(pod.idle_at(now) for pod in pods)])

    def may_sleep(self, now: float) -> bool:
        """Whether it is idle for long enough, and its settings let it sleep."""
        limits = self.limits
        return (
            limits is not None
            and limits.idle_timeout is not None
            and limits.pods_min == 0
            and not self.in_phase(*COMING)
            and self.idle_at(now) >= limits.idle_timeout
        )
