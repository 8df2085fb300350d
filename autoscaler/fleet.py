"""The picture the autoscaler decides on: every pod, what it is doing and since when.

    fork asked ──▶ PROBING ──▶ WARM ──claim──▶ STAMPING ──▶ RUNNING ◀──refused── ASKING
    (a ticket)        │          ▲                │            │  └──idle──────────▲  │
                      │          └──not stamped───┘            └──suspend──▶ DRAINING ◀┘
                      └──was stamped before we came──▶ RUNNING                 │
    any phase ──kill──▶ KILLED ──▶ (ended) ◀───────────────────────────────────┘

Methods are named for what has happened, take the time as an argument, and never wait or speak to
anybody. A pod belongs to one tenant from the claim on: the way back from STAMPING is open only
while nothing has been sent to it, or where the pod itself has said that it is nobody's (it has
another key then, and is asked what it is like a new one).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from autoscaler.samples import CpuSamples
from dormouse.base.ids import PodId, TenantId

PodKey = NewType("PodKey", str)
"""What the runtime calls a pod (a pid, a Kubernetes name); unique among the living."""

FORK_BACKOFF_SECONDS = 0.2
FORK_BACKOFF_MAX_SECONDS = 10.0


class Phase(StrEnum):
    """What a pod is doing."""

    PROBING = "probing"
    """Its control port is known; it has not said yet what it is."""
    WARM = "warm"
    STAMPING = "stamping"
    RUNNING = "running"
    ASKING = "asking"
    """Asked to drain if it is idle; it has not answered yet."""
    DRAINING = "draining"
    KILLED = "killed"


OWNED = frozenset({Phase.STAMPING, Phase.RUNNING, Phase.ASKING, Phase.DRAINING})


@dataclass(frozen=True, slots=True)
class Report:
    """What a pod says of itself, as of one Status call."""

    tenant: TenantId | None
    pod_id: PodId
    sql_address: str
    sessions: int
    idle_seconds: float
    cpu_micros: int
    draining: bool
    public_key: bytes


@dataclass(slots=True)
class Pod:
    """One living pod."""

    key: PodKey
    control_address: str
    phase: Phase
    since: float
    """When it entered the phase."""
    answered_at: float
    misses: int = 0
    """Status calls in a row without an answer."""
    tenant: TenantId | None = None
    pod_id: PodId | None = None
    sql_address: str = ""
    sessions: int = 0
    idle_seconds: float = 0.0
    """As of `answered_at`."""
    idle_timeout: float | None = None
    """Seconds; None where it is not known (yet): then the pod is left awake."""
    drain_until: float = 0.0
    """When the last session is to be over; only in DRAINING."""
    public_key: bytes = b""
    cpu: CpuSamples = field(default_factory=CpuSamples)

    def enter(self, phase: Phase, now: float) -> None:
        """Change the phase."""
        if phase is not self.phase:
            self.phase, self.since = phase, now

    def idle_at(self, now: float) -> float:
        """Seconds without a session, as far as we know; 0 with one."""
        return 0.0 if self.sessions else self.idle_seconds + (now - self.answered_at)


class Fleet:
    """All pods, the forks under way, and the tenants that wait for a pod."""

    def __init__(self) -> None:
        self.connected = False
        """Whether the runtime can be asked for anything."""
        self.pods: dict[PodKey, Pod] = {}
        self.starting: dict[int, float] = {}
        """Tickets of forks that are under way, and when they were asked for."""
        self.wakes: dict[TenantId, float] = {}
        """Tenants that wait for a pod, in the order they came."""
        self.fork_after = 0.0
        self.claimed_at = float("-inf")
        self._fork_failures = 0

    def __repr__(self) -> str:
        phases = Counter(pod.phase.value for pod in self.pods.values())
        counts = " ".join(f"{name}={count}" for name, count in sorted(phases.items()))
        link = "connected" if self.connected else "cut off"
        return f"<Fleet {link} starting={len(self.starting)} wakes={list(self.wakes)} [{counts}]>"

    def count(self, phase: Phase) -> int:
        """How many pods are in a phase."""
        return sum(pod.phase is phase for pod in self.pods.values())

    def in_phase(self, *phases: Phase) -> Iterator[Pod]:
        """The pods in these phases, oldest first."""
        return (pod for pod in self.pods.values() if pod.phase in phases)

    def of(self, tenant: TenantId, *phases: Phase) -> list[Pod]:
        """The tenant's pods in these phases (in any, if none is named)."""
        return [
            pod
            for pod in self.pods.values()
            if pod.tenant == tenant and (not phases or pod.phase in phases)
        ]

    # The runtime

    def runtime_connected(self, living: dict[PodKey, str], now: float) -> list[Pod]:
        """The runtime (again) says which pods live. Returns those that do no longer."""
        self.connected = True
        self.starting.clear()
        ended = [pod for key, pod in self.pods.items() if key not in living]
        for pod in ended:
            del self.pods[pod.key]
        for key, address in living.items():
            if key not in self.pods:
                self.pod_started(0, key, address, now)
        return ended

    def runtime_lost(self) -> None:
        """Nothing can be asked for now, and forks under way will not be told of."""
        self.connected = False
        self.starting.clear()

    def fork_asked(self, ticket: int, now: float) -> None:
        """A pod was asked for."""
        self.starting[ticket] = now

    def forks_forgotten(self, before: float) -> None:
        """Forks asked for before that time are given up; a pod that comes yet is welcome."""
        self.starting = {ticket: at for ticket, at in self.starting.items() if at >= before}

    def fork_failed(self, ticket: int, now: float) -> None:
        """It will not come; the next try waits a while."""
        self.starting.pop(ticket, None)
        self._back_off(now)

    def pod_started(self, ticket: int, key: PodKey, control_address: str, now: float) -> Pod:
        """A pod's control port answers."""
        self.starting.pop(ticket, None)
        pod = Pod(key, control_address, Phase.PROBING, now, now)
        self.pods[key] = pod
        return pod

    def pod_ended(self, key: PodKey, now: float) -> Pod | None:
        """A pod is no more."""
        pod = self.pods.pop(key, None)
        if pod is not None and pod.phase in (Phase.PROBING, Phase.WARM):
            self._back_off(now)  # a pod that cannot even wait would be forked in a circle
        return pod

    def pod_vanished(self, pod: Pod) -> None:
        """A pod ended with its runtime: no fault of its own, so the next fork need not wait."""
        self.pods.pop(pod.key, None)

    def _back_off(self, now: float) -> None:
        delay = FORK_BACKOFF_SECONDS * 2 ** min(self._fork_failures, 10)
        self._fork_failures += 1
        self.fork_after = now + min(delay, FORK_BACKOFF_MAX_SECONDS)

    # What pods say

    def pod_answered(self, pod: Pod, report: Report, now: float) -> None:
        """A Status call was answered. The pod's own word is the truth about what it is."""
        pod.answered_at, pod.misses = now, 0
        pod.public_key = report.public_key
        if report.tenant is None:
            if pod.phase is Phase.PROBING:
                pod.enter(Phase.WARM, now)
                self._fork_failures = 0
            return
        if pod.phase in (Phase.STAMPING, Phase.KILLED):
            return  # the stamp's own answer decides
        pod.tenant, pod.pod_id, pod.sql_address = report.tenant, report.pod_id, report.sql_address
        pod.sessions, pod.idle_seconds = report.sessions, report.idle_seconds
        pod.cpu.add(now, report.cpu_micros)
        if report.draining and pod.phase is not Phase.DRAINING:
            self.pod_drained(pod, now, now)
        elif pod.phase in (Phase.PROBING, Phase.WARM):
            pod.enter(Phase.RUNNING, now)

    def pod_missed(self, pod: Pod) -> None:
        """A Status call was not answered in time."""
        pod.misses += 1

    # Wakes

    def wake_asked(self, tenant: TenantId, now: float) -> None:
        """A tenant wants a pod."""
        self.wakes.setdefault(tenant, now)

    def wake_settled(self, tenant: TenantId) -> None:
        """It has one, or nobody waits any more."""
        self.wakes.pop(tenant, None)

    def pod_claimed(self, pod: Pod, tenant: TenantId, now: float) -> None:
        """The pod is the tenant's, though it does not know yet."""
        self.wake_settled(tenant)
        pod.tenant = tenant
        pod.enter(Phase.STAMPING, now)
        self.claimed_at = now

    def pod_released(self, pod: Pod, now: float) -> None:
        """The claimed pod was told nothing and is anybody's again."""
        if pod.phase is Phase.STAMPING:
            pod.tenant = None
            pod.enter(Phase.WARM, now)

    def pod_unstamped(self, pod: Pod, now: float) -> None:
        """The pod was sent a stamp and says that it is unstamped as before."""
        if pod.phase is Phase.STAMPING:
            pod.tenant = None
            pod.enter(Phase.PROBING, now)

    def pod_stamped(
        self, pod: Pod, pod_id: PodId, sql_address: str, idle_timeout: float, now: float
    ) -> None:
        """The pod takes its tenant's sessions."""
        pod.pod_id, pod.sql_address, pod.idle_timeout = pod_id, sql_address, idle_timeout
        pod.answered_at, pod.idle_seconds, pod.sessions = now, 0.0, 0
        pod.enter(Phase.RUNNING, now)

    # Ends

    def drain_asked(self, pod: Pod, now: float) -> None:
        """The pod was asked to drain if nobody is connected."""
        pod.enter(Phase.ASKING, now)

    def drain_refused(self, pod: Pod, now: float) -> None:
        """Somebody was connected, or we do not know; the pod's next report tells."""
        if pod.phase is Phase.ASKING:
            pod.idle_seconds, pod.answered_at = 0.0, now
            pod.enter(Phase.RUNNING, now)

    def pod_drained(self, pod: Pod, until: float, now: float) -> None:
        """The pod takes no more sessions and ends by itself after `until`, if not sooner."""
        if pod.phase is not Phase.KILLED:
            pod.drain_until = until
            pod.enter(Phase.DRAINING, now)

    def pod_killed(self, pod: Pod, now: float) -> None:
        """The runtime was told to kill it."""
        pod.phase, pod.since = Phase.KILLED, now
