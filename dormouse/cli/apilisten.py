"""Where and how `dormouse up` answers HTTP: what follows from its flags.

Without any of them the API answers in the clear on the loopback addresses, where a browser and
curl need nothing else. On any other address it wants TLS: the installation's authority issues a
certificate, or the operator brings one.
"""

import argparse
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from control.api.tls import Exposed, refuse_exposed
from dormouse.cli.apiflags import LOCALHOST
from dormouse.cli.folder import CommandError, DataFolder
from dormouse.cli.sockets import LOOPBACK


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """What the flags say."""

    port: int
    hosts: tuple[str, ...] = ()
    has_tls: bool = False
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    private_key: Path | None = None
    is_insecure: bool = False
    is_signup_open: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace) -> "ApiOptions":
        """From the command line."""
        return cls(
            port=options.api_port,
            hosts=tuple(options.api_hosts or ()),
            has_tls=options.api_tls,
            names=tuple(options.api_names or ()),
            certificate=options.api_certificate,
            private_key=options.api_private_key,
            is_insecure=options.api_insecure,
            is_signup_open=options.signup_open,
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """What to listen on."""
        found: list[str] = []
        for host in self.hosts or (LOCALHOST,):
            found += LOOPBACK if host == LOCALHOST else (host,)
        return tuple(dict.fromkeys(found))

    def check(self) -> None:
        """Raises CommandError where the flags contradict each other, or expose keys."""
        if (self.certificate is None) != (self.private_key is None):
            raise CommandError("--api-certificate and --api-private-key go together")
        if self.certificate is not None and self.has_tls:
            raise CommandError(
                "--api-tls has a certificate issued; --api-certificate brings one",
                hint="give one of the two",
            )
        for file in (self.certificate, self.private_key):
            if file is not None and not file.is_file():
                raise CommandError(f"there is no file {file}")
        try:
            has_tls = self.has_tls or self.certificate is not None
            refuse_exposed(self.addresses, has_tls=has_tls, is_insecure=self.is_insecure)
        except Exposed as error:
            raise CommandError(
                f"{error}: everybody on the way could read keys and passwords",
                hint="add --api-tls; or --api-insecure where something else encrypts, as a reverse"
                " proxy on this network",
            ) from None

    def certificate_files(self, folder: DataFolder) -> tuple[Path, Path] | None:
        """Certificate and key of the API; None: no TLS."""
        if self.certificate is not None and self.private_key is not None:
            return self.certificate.resolve(), self.private_key.resolve()
        if self.has_tls:
            return folder.certificates / "api.crt", folder.certificates / "api.key"
        return None

    def names_in_certificate(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Host names and addresses for the certificate that the authority issues."""
        known = [each for each in self.addresses if not ipaddress.ip_address(each).is_unspecified]
        given = [name for name in self.names if not _is_address(name)]
        listed = [*LOOPBACK, *known, *(name for name in self.names if _is_address(name))]
        return (LOCALHOST, *dict.fromkeys(given)), tuple(dict.fromkeys(listed))

    def url(self, port: int) -> str:
        """Where commands on this machine reach it. Raises CommandError for an unreadable file."""
        if self.certificate is None:
            scheme = "https" if self.has_tls else "http"
            addresses = [ipaddress.ip_address(each) for each in self.addresses]
            if any(each.is_loopback or each.is_unspecified for each in addresses):
                host = LOCALHOST if self.has_tls else "127.0.0.1"
            else:
                host = self.addresses[0]
        else:
            scheme = "https"
            host = self.names[0] if self.names else _first_name(self.certificate)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _first_name(certificate: Path) -> str:
    """The first name that a certificate is for; `localhost` where it names no single host."""
    try:
        (first, *_) = x509.load_pem_x509_certificates(certificate.read_bytes())
        extension = first.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise CommandError(f"{certificate} is no certificate: {error}") from None
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = map(str, extension.value.get_values_for_type(x509.IPAddress))
    return next((name for name in [*names, *addresses] if "*" not in name), LOCALHOST)
