"""Certificates that are replaced while the proxy runs: no connection ends, no restart is needed.

    sql.crt, sql.key      what clients see               (ClientTls)
    proxy.crt, proxy.key  what pods and other proxies see (PeerTls)

A pair is read again when its files have changed. Whoever replaces them writes two files, so a pair
may not match for a moment, or for good: then the one in use stays, an ERROR says so, and the files
are tried again at their next change or the next look. Handshakes from then on get the new one.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from cryptography import x509

from dormouse.base.tls import Credentials
from proxy import metrics

ALPN = "postgresql"

_log = logging.getLogger(__name__)


class ClientTls:
    """The server side of TLS towards clients, with the server names they asked for."""

    def __init__(self, credentials: Credentials) -> None:
        self._names: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()
        self.replace(credentials)

    def replace(self, credentials: Credentials) -> None:
        """Use these from the next handshake on. Raises OSError where they do not fit together."""
        context = credentials.for_tls_server(mutual=False)
        context.set_alpn_protocols([ALPN])
        # libpq never resumes a session, and a ticket is two more records for every handshake.
        context.num_tickets = 0
        context.sni_callback = self._note
        self.context = context

    def _note(self, connection: Any, name: str | None, _context: ssl.SSLContext) -> None:
        if name:
            self._names[connection] = name

    def name_of(self, connection: ssl.SSLObject) -> str | None:
        """The server name (SNI) the client asked for."""
        return self._names.get(connection)


class PeerTls:
    """Both sides of mutual TLS inside the installation."""

    def __init__(self, credentials: Credentials) -> None:
        self.replace(credentials)

    def replace(self, credentials: Credentials) -> None:
        """Use these from the next handshake on. Raises OSError where they do not fit together."""
        client, server = credentials.for_tls_client(), credentials.for_tls_server(mutual=True)
        self.client, self.server = client, server


class WatchedPair:
    """A pair of files and what is done with it."""

    def __init__(self, folder: Path, name: str, use: Callable[[Credentials], None]) -> None:
        self.name = name
        self._folder = folder
        self._use = use
        self._files = [folder / f"{name}.key", folder / f"{name}.crt", folder / "ca.crt"]
        self._seen = self._state()
        self._refused = False
        self._read()

    def __repr__(self) -> str:
        return f"<WatchedPair {self.name} refused={self._refused}>"

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_state, self._files))

    def _read(self) -> None:
        credentials = Credentials.read(self._folder, self.name)
        expiry = x509.load_pem_x509_certificate(credentials.certificate).not_valid_after_utc
        self._use(credentials)
        metrics.CERTIFICATE_EXPIRY.labels(self.name).set(expiry.timestamp())

    def look(self) -> None:
        """Use the files where they have changed, or were no good the last time."""
        state = self._state()
        changed = state != self._seen
        if not changed and not self._refused:
            return
        self._seen = state
        try:
            self._read()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            if changed:
                metrics.CERTIFICATE_RELOADS.labels(self.name, "no").inc()
                extra = {"certificate": self.name, "cause": repr(error)}
                _log.error("certificate refused, the old one stays", extra=extra)
            self._refused = True
            return
        self._refused = False
        metrics.CERTIFICATE_RELOADS.labels(self.name, "yes").inc()
        _log.info("certificate replaced", extra={"certificate": self.name})


class Certificates:
    """The proxy's two pairs, kept up to date. Reads them at once; raises OSError, ValueError."""

    def __init__(self, folder: Path) -> None:
        self.client = ClientTls(Credentials.read(folder, "sql"))
        self.peer = PeerTls(Credentials.read(folder, "proxy"))
        self._pairs = (
            WatchedPair(folder, "sql", self.client.replace),
            WatchedPair(folder, "proxy", self.peer.replace),
        )
        self._looking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Certificates {' '.join(map(repr, self._pairs))}>"

    async def look(self) -> None:
        """Use what has changed on disk; the reading does not keep the loop from its work."""
        async with self._looking:
            for pair in self._pairs:
                await asyncio.to_thread(pair.look)

    async def watch(self, seconds: float) -> None:
        """Look every so often, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()


def _state(file: Path) -> tuple[int, int, int] | None:
    """Changes when the file does; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
