"""Settings of a SQL pod: what holds for every tenant it might be stamped for."""

from dataclasses import dataclass, field
from pathlib import Path

from dormouse.base.config import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class PodLimits:
    """Bounds of a pod's queues, caches and statements."""

    sessions_max: int = 100
    """Sessions at once where the stamp does not say; one more is answered with 53300."""
    startup_seconds: float = 60.0
    """From the connection until the client has authenticated (authentication_timeout)."""
    input_bytes_max: int = 1 << 20
    """Bytes of pipelined messages that wait in a session; beyond it the socket is not read."""
    message_bytes_max: int = 256 << 20
    """One protocol message of an authenticated client."""
    output_bytes_max: int = 1 << 20
    """Bytes a slow client may leave unsent before its statement waits for it."""
    plans_max: int = 1000
    """Entries of the plan cache that the sessions of a pod share."""
    statements_max: int = 10_000
    """Prepared statements of one session; one more is refused with 54000."""
    portals_max: int = 1000
    """Open portals of one session; one more is refused with 54000."""
    query_bytes_max: int = 16 << 20
    """Text of one query message."""
    statement_memory_bytes: int = 64 << 20
    """What sorts, hashes and held cursors of one statement may keep in memory."""
    slice_seconds: float = 0.005
    """How long one session computes before the others of the pod get their turn."""
    move_seconds: float = 60.0
    """How long the state of a session that is given away to move can be taken up."""
    park_seconds: float = 30 * 86_400.0
    """Likewise of one that is given away to be parked, and of a checkpoint."""
    checkpoint_bytes_max: int = 64 << 10
    """A session with more state has no checkpoint; it is still given away when it is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """What a pod is told at its birth."""

    certs: Path
    """Folder with `pod.key`, `pod.crt` and `ca.crt`: the certificate of unstamped pods."""
    host: str = "127.0.0.1"
    """Address the control and SQL listeners bind, and the one that is told to others."""
    stop_seconds: float = 2.0
    """How long open calls may finish when the pod ends."""
    report_seconds: float = 4.0
    """How long a pod that ends tries to tell control what was used of it."""
    statement_report_seconds: float = 1.0
    """Likewise what its statements cost: no bill hangs on that."""
    storage_seconds: float = 1.5
    """How long a stamp waits for storage to answer; then the pod is unstamped as before."""
    limits: PodLimits = field(default_factory=PodLimits)

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("host: expected an address")
