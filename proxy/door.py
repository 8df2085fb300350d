"""What all sessions of a proxy share: TLS contexts, caches, keys and the sessions themselves."""

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from dormouse.base.clock import Clock
from dormouse.base.tls import Credentials
from proxy.cancelkeys import CancelKeys
from proxy.config import ProxyLimits
from proxy.pods import Pods
from proxy.tenants import Tenants

ALPN = "postgresql"


class Closable(Protocol):
    """A session, as far as the door is concerned."""

    def shut_down(self) -> None:
        """Tell the client and close."""
        ...


class ClientTls:
    """The server side of TLS towards clients, with the server names they asked for."""

    def __init__(self, credentials: Credentials) -> None:
        self.context = credentials.for_tls_server(mutual=False)
        self.context.set_alpn_protocols([ALPN])
        # libpq never resumes a session, and a ticket is two more records for every handshake.
        self.context.num_tickets = 0
        self.context.sni_callback = self._note
        self._names: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()

    def _note(self, connection: Any, name: str | None, _context: ssl.SSLContext) -> None:
        if name:
            self._names[connection] = name

    def name_of(self, connection: ssl.SSLObject) -> str | None:
        """The server name (SNI) the client asked for."""
        return self._names.get(connection)


@dataclass(slots=True, kw_only=True)
class Door:
    """See the module. `sessions` are the logged-in ones, `connections` all of them."""

    limits: ProxyLimits
    client_tls: ClientTls
    pod_tls: ssl.SSLContext
    tenants: Tenants
    pods: Pods
    clock: Clock
    keys: CancelKeys = field(default_factory=CancelKeys)
    sessions: set[Closable] = field(default_factory=set)
    connections: int = 0

    def __repr__(self) -> str:
        return (
            f"<Door connections={self.connections} sessions={len(self.sessions)} "
            f"{self.tenants} {self.pods} {self.keys}>"
        )


def read_client_tls(certs: Path) -> ClientTls:
    """From `sql.key` and `sql.crt`."""
    return ClientTls(Credentials.read(certs, "sql"))


def tune(connection: socket.socket) -> None:
    """No delay for small messages, and a dead peer is found out within two minutes."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
