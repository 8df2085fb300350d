"""Certificates that are replaced while the proxy runs: no connection ends, no restart is needed.

    sql.crt, sql.key      what clients see               (ClientTls)
    proxy.crt, proxy.key  what everybody else sees       (LiveCredentials)

How files are read again is dormouse.base.renewal's business. Handshakes from then on get the new
certificate.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from dormouse.base.clock import Clock
from dormouse.base.renewal import CertificateFiles
from dormouse.base.tls import Credentials

ALPN = "postgresql"


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


class Certificates:
    """The proxy's two pairs, kept up to date. Reads them at once; raises OSError, ValueError."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.client = ClientTls(Credentials.read(folder, "sql"))
        own, self.peer = CertificateFiles.of(folder, "proxy", clock)
        shown = CertificateFiles(folder, "sql", self.client.replace, clock)
        self._files = (shown, own)
        self._looking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Certificates {' '.join(map(repr, self._files))}>"

    async def look(self) -> None:
        """Use what has changed on disk; the reading does not keep the loop from its work."""
        async with self._looking:
            for files in self._files:
                await asyncio.to_thread(files.look)

    async def watch(self, seconds: float) -> None:
        """Look every so often, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()
