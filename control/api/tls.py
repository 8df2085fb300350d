"""TLS of the HTTP API, with a certificate that is replaced while control runs.

The pair is read again when its files have changed. Whoever replaces them writes two files, so they
may not fit together for a moment, or for good: then what is in use stays, an ERROR says so, and
they are tried again at the next look. Handshakes from then on get the new one.

Without TLS the API answers on loopback only: a key in the clear is everybody's on the way.
"""

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from control.metrics import API_CERTIFICATE_EXPIRY, API_CERTIFICATE_RELOADS

LOOK_SECONDS = 10.0
"""How late a new certificate may be noticed; SIGHUP looks at once."""

_log = logging.getLogger(__name__)


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
    """The server side of TLS; `context` is for the next handshake. Reads the files at once: raises
    OSError and ValueError."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._certificate = certificate
        self._private_key = private_key
        self._seen = self._state()
        self._is_refused = False
        self.context = self._read()

    def __repr__(self) -> str:
        return f"<ApiTls {self._certificate} refused={self._is_refused}>"

    def look(self) -> None:
        """Use the files where they have changed, or were no good the last time."""
        state = self._state()
        is_changed = state != self._seen
        if not is_changed and not self._is_refused:
            return
        self._seen = state
        try:
            self.context = self._read()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            if is_changed:
                API_CERTIFICATE_RELOADS.labels("no").inc()
                extra = {"file": str(self._certificate), "cause": repr(error)}
                _log.error("the API's certificate is refused, the old one stays", extra=extra)
            self._is_refused = True
            return
        self._is_refused = False
        API_CERTIFICATE_RELOADS.labels("yes").inc()
        _log.info("the API's certificate is replaced", extra={"file": str(self._certificate)})

    async def reload(self) -> None:
        """Look, without keeping the loop from its work."""
        await asyncio.to_thread(self.look)

    async def watch(self) -> None:
        """Look every so often, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.reload()

    def _read(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A password, or OpenSSL would ask the terminal for one where the key is encrypted.
        context.load_cert_chain(self._certificate, self._private_key, password="")
        first = x509.load_pem_x509_certificates(self._certificate.read_bytes())[0]
        API_CERTIFICATE_EXPIRY.set(first.not_valid_after_utc.timestamp())
        return context

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return _state(self._certificate), _state(self._private_key)


def _state(file: Path) -> tuple[int, int, int] | None:
    """Changes when the file does; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
