"""What all sessions of a proxy share: TLS contexts, caches, keys and the sessions themselves."""

import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dormouse.base.clock import Clock
from dormouse.base.renewal import LiveCredentials
from dormouse.base.revocation import Revocations
from proxy.attempts import Attempts
from proxy.cancelkeys import CancelKeys
from proxy.census import Census
from proxy.certificates import ClientTls
from proxy.config import ProxyLimits
from proxy.guests import Guests
from proxy.parking import SealedStore
from proxy.pods import Pods
from proxy.slots import Slots
from proxy.tenants import Tenants

if TYPE_CHECKING:
    from proxy.session import Session


@dataclass(slots=True, kw_only=True)
class Door:
    """See the module."""

    limits: ProxyLimits
    client_tls: ClientTls
    peer_tls: LiveCredentials
    revocations: Revocations
    tenants: Tenants
    pods: Pods
    clock: Clock
    guests: Guests
    """Every client connection."""
    attempts: Attempts = field(init=False)
    """Logins that are being tried."""
    keys: CancelKeys = field(default_factory=CancelKeys)
    sessions: "set[Session]" = field(default_factory=set)
    """The logged-in ones."""
    census: Census = field(default_factory=Census)
    sealed: SealedStore = field(init=False)
    slots: Slots = field(init=False)
    """Connections to pods that are to take up a session."""

    def __post_init__(self) -> None:
        self.attempts = Attempts(self.clock)
        self.sealed = SealedStore(self.limits)
        self.slots = Slots(self.limits.resumes_max, self.limits.resumes_of_tenant_max)

    def __repr__(self) -> str:
        return (
            f"<Door {self.guests} sessions={len(self.sessions)} "
            f"{self.tenants} {self.pods} {self.keys} {self.attempts}>"
        )

    @property
    def pod_tls(self) -> ssl.SSLContext:
        """For connections to pods."""
        return self.peer_tls.tls_client


def tune(connection: socket.socket, unread_timeout: float = 0.0) -> None:
    """No delay for small messages; a dead peer is found out within two minutes while nothing is on
    its way to it, and within `unread_timeout` seconds where something is (0: the system's)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = (
        ("TCP_KEEPIDLE", 60),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 6),
        ("TCP_USER_TIMEOUT", int(unread_timeout * 1000)),
    )
    for name, value in options:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
