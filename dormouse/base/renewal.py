"""Certificates that are replaced while a role runs: no restart, and nothing that is open ends.

    role.key, role.crt, ca.crt ──looked at──▶ CertificateFiles ──▶ LiveCredentials, version 7
                                                                     │ asked at every
                                                                     ▼
                      handshake of a gRPC server · new call of a channel · TLS handshake

Files are read again when they have changed. Whoever replaces them writes several, so they may not
fit together for a moment, or for good: then what is in use stays, an ERROR says so, and they are
tried again at the next look. A connection keeps the certificate it began with.
"""

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID
from prometheus_client import Counter, Gauge

from dormouse.base.clock import Clock, SystemClock
from dormouse.base.ids import TenantId
from dormouse.base.metrics import REGISTRY
from dormouse.base.tls import Credentials, Identity

LOOK_SECONDS = 2.0
"""How late a new certificate may be noticed."""
WARN_DAYS = 30
"""A certificate is renewed long before: one that has less left is not being renewed."""
_WARN_AGAIN_SECONDS = 86_400.0

EXPIRY = Gauge(
    "dormouse_certificate_expiry_timestamp_seconds",
    "Unix time at which a certificate in use ends.",
    ["certificate"],
    registry=REGISTRY,
)
RELOADS = Counter(
    "dormouse_certificate_reloads_total",
    "New certificates found on disk, by whether they were fit to be used.",
    ["certificate", "used"],
    registry=REGISTRY,
)

_log = logging.getLogger(__name__)


class LiveCredentials:
    """Credentials that may be replaced; `version` counts how often that has happened."""

    def __init__(self, credentials: Credentials) -> None:
        """Raises OSError (ssl.SSLError) where key and certificate do not fit together."""
        self.version = 0
        self._tls_client: ssl.SSLContext | None = None
        self._use(credentials)

    def __repr__(self) -> str:
        return f"<LiveCredentials version={self.version}>"

    def replace(self, credentials: Credentials) -> None:
        """Use these from the next handshake on. Raises OSError where they do not fit together."""
        self._use(credentials)
        self.version += 1

    @property
    def tls_client(self) -> ssl.SSLContext:
        """For the next connection to another role; made when it is first asked for."""
        if self._tls_client is None:
            self._tls_client = self.current.for_tls_client()
        return self._tls_client

    def _use(self, credentials: Credentials) -> None:
        self.tls_server = credentials.for_tls_server(mutual=True)
        self.current = credentials
        self._tls_client = None

    def for_grpc_server(
        self, on_handshake: Callable[[], None] = lambda: None
    ) -> grpc.ServerCredentials:
        """Credentials of a gRPC server that demands a certificate of an authority we trust.

        `on_handshake` is called when one begins, on a thread of gRPC's.
        """
        presented = self.version

        def fetch() -> Any:
            nonlocal presented
            on_handshake()
            if self.version == presented:
                return None  # what is presented stays
            presented = self.version
            return self.current.grpc_configuration()

        return grpc.dynamic_ssl_server_credentials(
            self.current.grpc_configuration(), fetch, require_client_authentication=True
        )


class CertificateFiles:
    """`<name>.key`, `<name>.crt` and `ca.crt` in a folder, and who is given them when they change.

    Key and certificate may be a `pair` that lies elsewhere. They are read at once: raises OSError
    and ValueError.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        use: Callable[[Credentials], None],
        clock: Clock,
        *,
        pair: tuple[Path, Path] | None = None,
    ) -> None:
        self.name = name
        self._use = use
        self._clock = clock
        key, certificate = pair or (folder / f"{name}.key", folder / f"{name}.crt")
        self._files = (key, certificate, folder / "ca.crt")
        self._seen = self._state()
        self._refused = False
        self._looking = threading.Lock()
        self._warned_at = float("-inf")
        self._read()

    @classmethod
    def of(
        cls, folder: Path, name: str, clock: Clock | None = None
    ) -> "tuple[CertificateFiles, LiveCredentials]":
        """The files of a role's own certificate, and the credentials they are read into."""
        live = LiveCredentials(Credentials.read(folder, name))
        return cls(folder, name, live.replace, clock or SystemClock()), live

    def __repr__(self) -> str:
        return f"<CertificateFiles {self.name} refused={self._refused}>"

    def look(self) -> None:
        """Use the files where they have changed, or were no good the last time. On any thread."""
        with self._looking:
            self._look()
            self._warn()

    async def watch(self, seconds: float = LOOK_SECONDS) -> None:
        """Look every so often, until cancelled, without keeping the loop from its work."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.look)

    def _look(self) -> None:
        state = self._state()
        changed = state != self._seen
        if not changed and not self._refused:
            return
        self._seen = state
        try:
            self._read()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            if changed:
                RELOADS.labels(self.name, "no").inc()
                extra = {"certificate": self.name, "cause": repr(error)}
                _log.error("certificate refused, the old one stays", extra=extra)
            self._refused = True
            return
        self._refused = False
        RELOADS.labels(self.name, "yes").inc()
        _log.info("certificate replaced", extra={"certificate": self.name})

    def _read(self) -> None:
        key, certificate, authority = (file.read_bytes() for file in self._files)
        credentials = Credentials(key=key, certificate=certificate, authority=authority)
        expiry = x509.load_pem_x509_certificate(credentials.certificate).not_valid_after_utc
        self._use(credentials)
        self.expiry = expiry
        self._warned_at = float("-inf")
        EXPIRY.labels(self.name).set(expiry.timestamp())

    def _warn(self) -> None:
        """Once a day, where nobody seems to renew it."""
        now = datetime.fromtimestamp(self._clock.wall_ns() / 1e9, UTC)
        left = (self.expiry - now).total_seconds() / 86_400
        due = self._clock.monotonic() - self._warned_at >= _WARN_AGAIN_SECONDS
        if left < WARN_DAYS and due:
            self._warned_at = self._clock.monotonic()
            extra = {"certificate": self.name, "days_left": round(left, 1)}
            _log.warning("a certificate ends soon", extra=extra)

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_state, self._files))


def _state(file: Path) -> tuple[int, int, int] | None:
    """Changes when the file does; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def is_for(credentials: Credentials, tenant: TenantId) -> bool:
    """Whether these stand for the tenant, and key, certificate and authorities are usable."""
    try:
        certificate = x509.load_pem_x509_certificate(credentials.certificate)
        credentials.for_tls_server(mutual=True)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return False
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [Identity.parse(str(each.value)) for each in names] == [Identity(tenant=tenant)]


def switching(context: ssl.SSLContext, newest: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """`context` for a listener that keeps it for good, while each handshake goes on under what
    `newest` gives: certificate and trusted authorities alike."""

    def switch(connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = newest()

    context.sni_callback = switch
    return context
