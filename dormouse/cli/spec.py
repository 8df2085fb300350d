"""What a role is to its supervisor: how it is run, how it is succeeded, what it is doing."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import Any


class Handover(Enum):
    """How a successor takes over from a role that runs."""

    IN_TURN = auto()
    """It is there once the predecessor has ended: both want the same port or lock. The successor
    waits with everything imported, so the pause is a short one."""
    DRAINING = auto()
    """Both run for a while; the predecessor is told to drain (SIGTERM) once the successor answers,
    and ends by itself."""
    RETIRING = auto()
    """Both run for a while; somebody else sees the successor and lets the predecessor end."""


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """How to run a role."""

    name: str
    module: str
    config: Path
    after: tuple[str, ...] = ()
    fds: tuple[int, ...] = ()
    """Listening sockets it inherits."""
    handover: Handover = Handover.IN_TURN
    is_numbered: bool = False
    """It is told its generation: how many lives of the role there have been, this one included."""


class State(StrEnum):
    """What a role is doing."""

    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Retiring:
    """A predecessor that has not ended yet."""

    pid: int
    generation: int
    since: datetime
    report: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "pid": self.pid,
            "generation": self.generation,
            "since": self.since.isoformat(),
            "version": self.report.get("version"),
            "metrics": self.report.get("metrics"),
        }


@dataclass(slots=True)
class RoleStatus:
    """A role as the supervisor sees it."""

    state: State = State.STOPPED
    pid: int | None = None
    restarts: int = 0
    """Deaths; a successor that took over is none."""
    generation: int = 0
    since: datetime | None = None
    report: dict[str, Any] = field(default_factory=dict)
    """What it said when it last became ready: its addresses, its version."""
    retiring: list[Retiring] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        since = self.since.isoformat() if self.since is not None else None
        return {
            "pid": self.pid,
            "state": str(self.state),
            "restarts": self.restarts,
            "since": since,
            "generation": self.generation,
            "version": self.report.get("version"),
            "metrics": self.report.get("metrics"),
            "kv_protocol": self.report.get("kv_protocol"),
            "retiring": [each.document() for each in self.retiring],
        }
