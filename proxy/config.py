"""Settings of the proxy."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyLimits:
    """Bounds; times are seconds."""

    connections_max: int = 10_000
    """Client connections in all; one more is answered with 53300."""

    polite_max: int = 100
    """Connections beyond `connections_max` that are heard out at a time: cancel requests are served
    all the same, others are told what is wrong. Whoever comes beyond these is hung up on."""

    polite_timeout: float = 3.0
    """`startup_timeout` for those beyond `connections_max`."""

    handshakes_per_address_max: int = 1000
    """Connections from one address (IPv6: one /64) that have not logged in yet; one more is hung
    up on. Many, for all of a site's clients may share an address and come back at the same time
    after a failure; a small part of `connections_max` all the same."""

    proxy_header_timeout: float = 5.0
    """From the connection until its PROXY header is there, on the listener that wants one."""

    startup_timeout: float = 15.0
    """From the connection until TLS and the startup message are there."""

    login_timeout: float = 60.0
    """From the startup message until the session is ready, waking included."""

    dial_timeout: float = 5.0
    """One connection to a pod, TLS included; likewise, until it has taken up a session."""

    buffer_bytes: int = 256 << 10
    """What may wait for a slow reader, each way, before the other side is no longer read."""

    moves_max: int = 4
    """Sessions that are moved or parked at a time. Few, for each move is two TLS handshakes' work
    for this proxy and a pod, and those whose clients wait just then wait behind it."""

    resumes_max: int = 64
    """Sessions that are being taken up by a pod at a time, waking not included."""

    resumes_of_tenant_max: int = 16
    """Likewise, of one tenant."""

    resume_timeout: float = 30.0
    """How long a session without a pod looks for one, waking included, before it ends."""

    sealed_session_bytes_max: int = 1 << 20
    """State of one session that is held: its last checkpoint, or all of it while it is parked."""

    sealed_tenant_bytes_max: int = 128 << 20
    """Likewise, of all sessions of a tenant."""

    sealed_bytes_max: int = 512 << 20
    """Likewise, of all sessions."""

    unread_timeout: float = 600.0
    """How long a client or a pod may leave what it was sent unread or unacknowledged
    (TCP_USER_TIMEOUT) until its session is ended. Kept long: a client may well work for minutes on
    a piece of a large result. 0: as long as the system pleases."""

    drain_timeout: float = 600.0
    """How long sessions may go on after SIGTERM; then they end with 57P01."""

    stop_timeout: float = 1.0
    """How long connections may take to close when the proxy ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyProtocolSettings:
    """A listener behind load balancers: every connection begins with a PROXY header (v1 or v2)."""

    trusted_networks: tuple[str, ...]
    """Who may tell a client's address: the load balancers, in CIDR notation. Others are hung up
    on."""

    listen_fds: tuple[int, ...] = ()
    """As `ProxySettings.listen_fds`."""

    host: str = "127.0.0.1"
    """Where to listen without `listen_fds`."""

    port: int = 5434
    """0 takes a free one."""


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

    proxy_protocol: ProxyProtocolSettings | None = None
    """The listener for load balancers. None: there is none."""

    peer_host: str = "127.0.0.1"
    """Where other proxies hand over cancel requests (mutual TLS). Empty: nowhere."""

    peer_port: int = 0
    """0 takes a free one."""

    peer_name: str = ""
    """The host other proxies are told to dial. Empty: `peer_host`."""

    certificate_poll_seconds: float = 2.0
    """How often the certificate files are looked at; SIGHUP looks at once."""

    metrics_host: str = "127.0.0.1"

    metrics_port: int = 0
    """0 takes a free one."""

    limits: ProxyLimits = field(default_factory=ProxyLimits)
