"""The installation's certificate authority.

    authority/           keys of mode 0600, which never travel (control/trust/generations.py)
      ├─ <role>.key, <role>.crt     one year, renewed in their last 60 days
      ├─ sql.key, sql.crt           what clients see; its name is no role's and it grants nothing
      ├─ api.key, api.crt           likewise, of the HTTP API
      └─ tenant pods                days; the key is born in the pod and only its public half comes

Who a certificate stands for is its common name alone (dormouse.base.tls). A pod's also names the
pod, so that this one pod can be refused (dormouse.base.revocation).

At a start a certificate is renewed with a new key. While roles run it keeps its key: one file
changes, so nobody ever reads a pair that does not fit together.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control.trust.generations import (
    CLOCK_SKEW,
    AuthorityError,
    Generations,
    common_name,
    key_pem,
    make_key,
    now_of,
    write_file,
)
from dormouse.base.clock import Clock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.tls import Identity, Role, pod_name

_ROLE_LIFE = timedelta(days=365)
_RENEW_BEFORE_END = timedelta(days=60)
_WORTH_IT = timedelta(days=1)
"""What a renewal must gain at least."""
SQL_NAME = "sql"
"""File name, and no role's name, of the certificate that clients see."""

API_NAME = "api"
"""Likewise, of the HTTP API's."""

_TRUSTED = "ca.crt"
"""Beside the certificates: the authorities that their holders trust."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a certificate is for."""

    common_name: str
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    client: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate in a folder, as people want to know of it."""

    name: str
    """Of its file."""
    serial: str
    """Hexadecimal."""
    issuer: str
    begins: datetime
    ends: datetime


class Authority:
    """Issues certificates under the keys in a folder; `Authority.open` makes it on first use."""

    def __init__(self, generations: Generations, clock: Clock) -> None:
        self.generations = generations
        self._clock = clock

    @classmethod
    def open(cls, folder: Path, clock: Clock) -> "Authority":
        """Read the authority in `folder`, or make one where there is none yet.

        Raises AuthorityError; see `Generations`.
        """
        return cls(Generations(folder, clock), clock)

    @property
    def certificate_pem(self) -> bytes:
        """The authority's certificate; two, while a rotation wants both trusted inside."""
        return self.generations.pem(self.generations.rights.trusted)

    @property
    def client_certificate_pem(self) -> bytes:
        """Likewise, what clients of the gateway are to trust."""
        return self.generations.pem(self.generations.rights.trusted_by_clients)

    @property
    def expiry(self) -> datetime:
        """When the authority that issues ends."""
        return self._issuer(Role.CONTROL).not_valid_after_utc

    def ensure_role(self, folder: Path, role: Role) -> None:
        """Make or renew `<role>.key` and `<role>.crt` in `folder`, and put `ca.crt` beside them."""
        name = Identity(role=role).server_name
        subject = _Subject(str(role), (name,), ("127.0.0.1", "::1"), client=True)
        self._ensure(folder, str(role), subject)

    def ensure_sql(self, folder: Path, names: Iterable[str], addresses: Iterable[str]) -> None:
        """Make or renew the certificate that clients see, for these host names and addresses."""
        subject = _Subject(SQL_NAME, tuple(names), tuple(addresses), client=False)
        self._ensure(folder, SQL_NAME, subject)

    def ensure_api(self, folder: Path, names: Iterable[str], addresses: Iterable[str]) -> None:
        """Make or renew the certificate that clients of the HTTP API see, likewise."""
        subject = _Subject(API_NAME, tuple(names), tuple(addresses), client=False)
        self._ensure(folder, API_NAME, subject)

    def issue_pod(
        self, tenant: TenantId, public_key: bytes, *, days: int, pod: PodId | None = None
    ) -> bytes:
        """A certificate (PEM) of `tenant` for the P-256 key in `public_key` (DER), for this one pod
        where it is named.

        Raises AuthorityError where the bytes are no such key.
        """
        try:
            key = serialization.load_der_public_key(public_key)
        except ValueError as error:
            raise AuthorityError("not a public key") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise AuthorityError("not a P-256 public key")
        identity = Identity(tenant=tenant)
        names = (identity.server_name, *([pod_name(pod)] if pod else []))
        subject = _Subject(identity.common_name, names, ("127.0.0.1", "::1"), client=True)
        return self._sign(subject, key, timedelta(days=days), self.generations.rights.issues)

    def renew(self, folder: Path) -> list[str]:
        """Bring what is in `folder` up to date while roles run: the authorities they trust, and
        every certificate of ours that ends soon or is of another authority than it should be by
        now. The names of those that were issued anew.
        """
        self._write_trusted(folder)
        files = (each for each in sorted(folder.glob("*.crt")) if each.name != _TRUSTED)
        return [file.stem for file in files if self._renew(file)]

    def held(self, folder: Path) -> list[Held]:
        """The certificates in `folder`, by name."""
        files = (each for each in sorted(folder.glob("*.crt")) if each.name != _TRUSTED)
        return [_held(file.stem, _load(file)) for file in files]

    def authorities(self) -> list[Held]:
        """The authorities that somebody trusts, the current one first."""
        rights = self.generations.rights
        names = dict.fromkeys((rights.issues, *rights.trusted, *rights.trusted_by_clients))
        return [_held(name, self.generations.certificate(name)) for name in names]

    def _renew(self, file: Path) -> bool:
        present = _load(file)
        issuer = self._issuer(file.stem)
        if present.issuer == issuer.subject and not self._ends_soon(present, issuer):
            return False
        extensions = present.extensions
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        subject = _Subject(
            str(present.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
            tuple(names.get_values_for_type(x509.DNSName)),
            tuple(str(each) for each in names.get_values_for_type(x509.IPAddress)),
            client=ExtendedKeyUsageOID.CLIENT_AUTH in usages,
        )
        key = present.public_key()
        renewed = self._sign(subject, key, _ROLE_LIFE, self._issuer_name(file.stem))
        write_file(file, renewed, mode=0o644)
        return True

    def _write_trusted(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / _TRUSTED
        if not file.exists() or file.read_bytes() != self.certificate_pem:
            write_file(file, self.certificate_pem, mode=0o644)

    def _issuer_name(self, name: str) -> str:
        """The authority that a certificate of this file name is to be of."""
        rights = self.generations.rights
        return rights.issues_for_clients if name in (SQL_NAME, API_NAME) else rights.issues

    def _issuer(self, name: str) -> x509.Certificate:
        return self.generations.certificate(self._issuer_name(name))

    def _ensure(self, folder: Path, name: str, subject: _Subject) -> None:
        key_file, certificate_file = folder / f"{name}.key", folder / f"{name}.crt"
        self._write_trusted(folder)
        if (
            key_file.exists()
            and certificate_file.exists()
            and self._serves(certificate_file, subject)
        ):
            return
        key = make_key()
        # The key first: a crash between the two leaves a pair that does not match, and the next
        # start must see that, so the old certificate goes before the new key comes.
        certificate_file.unlink(missing_ok=True)
        write_file(key_file, key_pem(key), mode=0o600)
        certificate = self._sign(subject, key.public_key(), _ROLE_LIFE, self._issuer_name(name))
        write_file(certificate_file, certificate, mode=0o644)

    def _serves(self, file: Path, subject: _Subject) -> bool:
        """Whether the certificate in `file` is ours, has life left and is for `subject`."""
        try:
            certificate = _load(file)
            certificate.verify_directly_issued_by(self._issuer(file.stem))
        except Exception:  # noqa: BLE001 - whatever is wrong with it, a new one is right
            return False
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        ends_soon = self._ends_soon(certificate, self._issuer(file.stem))
        return not ends_soon and extension.value == _alternative_names(subject)

    def _ends_soon(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Whether it is time for another one that would end later: none outlives its issuer."""
        now, end = now_of(self._clock), certificate.not_valid_after_utc
        possible = min(now + _ROLE_LIFE, issuer.not_valid_after_utc)
        return end - now <= _RENEW_BEFORE_END and possible - end > _WORTH_IT

    def _sign(
        self, subject: _Subject, key: CertificatePublicKeyTypes, life: timedelta, issuer: str
    ) -> bytes:
        now, authority = now_of(self._clock), self.generations.certificate(issuer)
        end = min(now + life, authority.not_valid_after_utc)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        if subject.client:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        issuer_key = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(common_name(subject.common_name))
            .issuer_name(authority.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_alternative_names(subject), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key.value),
                critical=False,
            )
            .sign(self.generations.key(issuer), hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _alternative_names(subject: _Subject) -> x509.SubjectAlternativeName:
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in subject.addresses]
    return x509.SubjectAlternativeName([*map(x509.DNSName, subject.dns_names), *addresses])


def _load(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def _held(name: str, certificate: x509.Certificate) -> Held:
    return Held(
        name=name,
        serial=f"{certificate.serial_number:x}",
        issuer=certificate.issuer.rfc4514_string().removeprefix("CN="),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
    )
