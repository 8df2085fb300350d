"""Settings of the proxy."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyLimits:
    """Bounds; times are seconds."""

    connections_max: int = 10_000
    """Client connections in all; one more is answered with 53300."""

    startup_timeout: float = 15.0
    """From the connection until TLS and the startup message are there."""

    login_timeout: float = 60.0
    """From the startup message until the session is ready, waking included."""

    dial_timeout: float = 5.0
    """One connection to a pod, TLS included."""

    buffer_bytes: int = 256 << 10
    """What may wait for a slow reader, each way, before the other side is no longer read."""

    stop_timeout: float = 1.0
    """How long connections may take to close when the proxy ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """What the proxy is told at its start."""

    certs: Path
    """Folder with `proxy.key`, `proxy.crt`, `ca.crt` (towards other roles) and `sql.key`, `sql.crt`
    (towards clients)."""

    control_address: str
    """host:port of control."""

    autoscaler_address: str
    """host:port of the autoscaler."""

    listen_fds: tuple[int, ...] = ()
    """Listening sockets that were inherited; they outlive the proxy, so no connection is refused
    while one proxy follows another. Several, for `localhost` means 127.0.0.1 as well as ::1."""

    host: str = "127.0.0.1"
    """Where to listen without `listen_fds`."""

    port: int = 5433
    """0 takes a free one."""

    metrics_host: str = "127.0.0.1"

    metrics_port: int = 0
    """0 takes a free one."""

    limits: ProxyLimits = field(default_factory=ProxyLimits)
