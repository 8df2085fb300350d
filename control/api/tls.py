"""TLS of the HTTP API, with a certificate that is replaced while control runs.

Without TLS the API answers on loopback only: a key in the clear is everybody's on the way.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Iterable
from pathlib import Path

from dormouse.base.clock import Clock
from dormouse.base.renewal import CertificateFiles
from dormouse.base.tls import Credentials


class Exposed(Exception):
    """The API would answer others in the clear."""


def refuse_exposed(addresses: Iterable[str], *, has_tls: bool, is_insecure: bool) -> None:
    """Raises Exposed where one of the addresses is not loopback and nothing protects it."""
    if has_tls or is_insecure:
        return
    for address in addresses:
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise Exposed(f"without TLS the HTTP API would answer on {address} in the clear")


class ApiTls:
    """The server side of TLS; `context` is for the next handshake.

    The files are read at once: raises OSError and ValueError. `folder` holds the `ca.crt`.
    """

    context: ssl.SSLContext

    def __init__(self, folder: Path, certificate: Path, private_key: Path, clock: Clock) -> None:
        self._files = CertificateFiles(
            folder, "api", self._use, clock, pair=(private_key, certificate)
        )

    def __repr__(self) -> str:
        return f"<ApiTls {self._files}>"

    async def reload(self) -> None:
        """Use the files where they have changed, without keeping the loop from its work."""
        await asyncio.to_thread(self._files.look)

    async def watch(self) -> None:
        """Look every so often, until cancelled."""
        await self._files.watch()

    def _use(self, credentials: Credentials) -> None:
        context = credentials.for_tls_server(mutual=False)
        context.set_alpn_protocols(["http/1.1"])
        self.context = context
