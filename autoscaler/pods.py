"""One pod as the autoscaler sees it.

    fork asked ──▶ PROBING ──▶ WARM ──claim──▶ STAMPING ──▶ RUNNING ◀──refused── ASKING
    (a ticket)        │          ▲                │          ▲   │  └──idle─────────▲  │
                      │          └──not stamped───┘      taken   │ drain               │ drained
                      └──was stamped before we came──┐    back   ▼                     ▼
                                                     └▶ RETURNING ◀──▶ DRAINING ◀──────┘
    any phase ──kill──▶ KILLED ──▶ (ended) ◀───────────────────────────────┘

A pod belongs to one tenant from the claim on: the way back from STAMPING is open only while nothing
has been sent to it, or where the pod itself has said that it is nobody's (it has another key then,
and is asked what it is like a new one).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from autoscaler.rates import Rate
from dormouse.base.ids import PodId, TenantId

PodKey = NewType("PodKey", str)
"""What the runtime calls a pod (a pid, a Kubernetes name); unique among the living."""


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
    RETURNING = "returning"
    """It was draining and is asked to take sessions again."""
    KILLED = "killed"


SERVING = (Phase.RUNNING, Phase.ASKING)
"""Takes sessions."""
COMING = (Phase.STAMPING, Phase.RETURNING)
"""Will take sessions if all goes well."""
ENDING = (Phase.DRAINING, Phase.KILLED)
OWNED = frozenset({*SERVING, *COMING, Phase.DRAINING})


class Cause(StrEnum):
    """Why a pod is claimed or drained."""

    WAKE = "wake"
    SCALE_UP = "scale up"
    SCALE_DOWN = "scale down"
    REPLACE = "replace"
    IDLE = "idle"
    SUSPEND = "suspend"
    ITSELF = "by itself"
    """It began before we came, or nobody asked for it."""


@dataclass(frozen=True, slots=True)
class HeldSession:
    """A session that could not be given away, and why."""

    backend_pid: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a pod says of itself, as of one Status call."""

    tenant: TenantId | None
    pod_id: PodId
    sql_address: str
    sessions: int
    active: int
    """Sessions running a statement now."""
    transactions: int
    """Sessions inside a transaction."""
    idle_seconds: float
    cpu_micros: int
    request_units: float
    """Used since its stamp."""
    draining: bool
    public_key: bytes
    holds: tuple[HeldSession, ...] = ()


@dataclass(slots=True, eq=False)
class Pod:
    """One living pod. Sessions, idle time and holds are as of `answered_at`."""

    key: PodKey
    control_address: str
    generation: int
    """Of the code it runs; grows."""
    phase: Phase
    since: float
    """When it entered the phase."""
    known_since: float
    answered_at: float
    misses: int = 0
    """Status calls in a row without an answer."""
    tenant: TenantId | None = None
    pod_id: PodId | None = None
    sql_address: str = ""
    sessions: int = 0
    active: int = 0
    transactions: int = 0
    idle_seconds: float = 0.0
    holds: dict[HeldSession, float] = field(default_factory=dict)
    """What could not be given away, and since when we know of it."""
    public_key: bytes = b""
    claimed_for: Cause = Cause.WAKE
    stands_in: bool = False
    """Claimed for another pod of the tenant that is to go, and does not drain yet."""
    drain_cause: Cause = Cause.ITSELF
    drain_until: float = 0.0
    """When the last session is to be over; only in DRAINING and RETURNING."""
    drain_told: bool = True
    """False where it does not know yet that it is to drain."""
    returnable: bool = False
    """Whether it may be asked to take sessions again."""
    cores: Rate = field(default_factory=Rate)
    request_units: Rate = field(default_factory=Rate)

    def enter(self, phase: Phase, now: float) -> None:
        """Change the phase."""
        if phase is not self.phase:
            self.phase, self.since = phase, now

    def idle_at(self, now: float) -> float:
        """Seconds without a statement or a transaction, as far as we know."""
        if self.active or self.transactions:
            return 0.0
        return self.idle_seconds + (now - self.answered_at)

    @property
    def cpu_permille(self) -> int:
        """Of one core, over the last seconds."""
        return round(1000 * self.cores.smooth)
