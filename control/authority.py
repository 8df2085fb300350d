"""The installation's certificate authority.

    ca.key  P-256, mode 0600        never leaves the folder, never travels
    ca.crt  ten years               what every role, pod and client trusts
      ├─ <role>.key, <role>.crt     one year, renewed at a start in its last 60 days
      ├─ sql.key, sql.crt           what clients see; its name is no role's and it grants nothing
      └─ tenant pods                days; the key is born in the pod and only its public half comes

Who a certificate stands for is its common name alone (dormouse.base.tls). Pods' certificates are
short-lived instead of revocable: a pod never lives longer than its certificate.
"""

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId
from dormouse.base.tls import Identity, Role

_CA_LIFE = timedelta(days=3650)
_ROLE_LIFE = timedelta(days=365)
_RENEW_BEFORE_END = timedelta(days=60)
_CLOCK_SKEW = timedelta(minutes=5)
SQL_NAME = "sql"
"""File name, and no role's name, of the certificate that clients see."""

API_NAME = "api"
"""Likewise, of the HTTP API's."""


class AuthorityError(Exception):
    """The authority's files are incomplete, or a key was handed in that it does not certify."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a certificate is for."""

    common_name: str
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    client: bool


class Authority:
    """Issues certificates under the key in `folder`; `Authority.open` makes it on first use."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, clock: Clock
    ) -> None:
        self._key = key
        self._certificate = certificate
        self._clock = clock

    @classmethod
    def open(cls, folder: Path, clock: Clock) -> "Authority":
        """Read the authority in `folder`, or make one where there is none yet.

        A lost `ca.crt` is made again from the key, under the same name. A lost `ca.key` raises
        AuthorityError: a new key would cut off everything the old one has certified.
        """
        key_file, certificate_file = folder / "ca.key", folder / "ca.crt"
        if not key_file.exists():
            if certificate_file.exists():
                raise AuthorityError(f"{folder}: ca.crt is there but ca.key is missing")
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(key_file, _key_pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise AuthorityError(f"{key_file}: not an elliptic-curve key")
        if not certificate_file.exists():
            _write(certificate_file, _self_signed(key, _now(clock)), mode=0o644)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        if certificate.public_key() != key.public_key():
            raise AuthorityError(f"{folder}: ca.key and ca.crt do not belong together")
        return cls(key, certificate, clock)

    @property
    def certificate_pem(self) -> bytes:
        """The authority's certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

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

    def issue_pod(self, tenant: TenantId, public_key: bytes, *, days: int) -> bytes:
        """A certificate (PEM) of `tenant` for the P-256 key in `public_key` (DER).

        Raises AuthorityError where the bytes are no such key.
        """
        try:
            key = serialization.load_der_public_key(public_key)
        except ValueError as error:
            raise AuthorityError("not a public key") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise AuthorityError("not a P-256 public key")
        identity = Identity(tenant=tenant)
        subject = _Subject(
            identity.common_name, (identity.server_name,), ("127.0.0.1", "::1"), client=True
        )
        return self._sign(subject, key, timedelta(days=days))

    def _ensure(self, folder: Path, name: str, subject: _Subject) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key_file, certificate_file = folder / f"{name}.key", folder / f"{name}.crt"
        _write(folder / "ca.crt", self.certificate_pem, mode=0o644)
        if (
            key_file.exists()
            and certificate_file.exists()
            and self._serves(certificate_file, subject)
        ):
            return
        key = ec.generate_private_key(ec.SECP256R1())
        # The key first: a crash between the two leaves a pair that does not match, and the next
        # start must see that, so the old certificate goes before the new key comes.
        certificate_file.unlink(missing_ok=True)
        _write(key_file, _key_pem(key), mode=0o600)
        _write(certificate_file, self._sign(subject, key.public_key(), _ROLE_LIFE), mode=0o644)

    def _serves(self, file: Path, subject: _Subject) -> bool:
        """Whether the certificate in `file` is ours, has life left and is for `subject`."""
        try:
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
            certificate.verify_directly_issued_by(self._certificate)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, a new one is right
            return False
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        left = certificate.not_valid_after_utc - _now(self._clock)
        return left > _RENEW_BEFORE_END and extension.value == _alternative_names(subject)

    def _sign(self, subject: _Subject, key: CertificatePublicKeyTypes, life: timedelta) -> bytes:
        now = _now(self._clock)
        end = min(now + life, self._certificate.not_valid_after_utc)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        if subject.client:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        issuer_key = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(subject.common_name))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_alternative_names(subject), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key.value),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> bytes:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    # The key's digest in the name keeps two installations apart in one trust store.
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _name(f"Dormouse authority {key_id.digest.hex()[:12]}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(key_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _alternative_names(subject: _Subject) -> x509.SubjectAlternativeName:
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in subject.addresses]
    return x509.SubjectAlternativeName([*map(x509.DNSName, subject.dns_names), *addresses])


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(file: Path, content: bytes, *, mode: int) -> None:
    """Replace `file` atomically and durably; it never exists with a wider mode than `mode`."""
    temporary = file.with_name(file.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.wall_ns() / 1_000_000_000, UTC)
