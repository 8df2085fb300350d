"""An installation's certificate authority for tests: real keys, real certificates, no files needed.

authority = Authority()
server = authority.credentials(Identity(role=Role.STORAGE))
client = authority.credentials(Identity(tenant=TenantId(7)))
"""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dormouse.base.ids import PodId
from dormouse.base.tls import Credentials, Identity, pod_name

_DAY = datetime.timedelta(days=1)


class Authority:
    """A self-signed authority that lives as long as the test."""

    def __init__(self, name: str = "dormouse test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        """The authority's own certificate."""

    def credentials(self, identity: Identity) -> Credentials:
        """A fresh key and certificate for `identity`, good for servers and clients on 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Credentials(
            key=key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            certificate=self.certificate(identity, key.public_key()),
            authority=self.pem,
        )

    def certificate(
        self,
        identity: Identity,
        public_key: ec.EllipticCurvePublicKey,
        *,
        pod: PodId | None = None,
    ) -> bytes:
        """A certificate (PEM) for `identity` over a key that somebody else holds; of one pod, where
        it is named."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)])
        names = x509.SubjectAlternativeName(
            [
                x509.DNSName(identity.server_name),
                *([x509.DNSName(pod_name(pod))] if pod else []),
                x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")),
            ]
        )
        certificate = (
            self._builder(subject, public_key)
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, folder: Path, identity: Identity) -> None:
        """Write `<common name>.key`, `<common name>.crt` and `ca.crt`, as roles read them."""
        folder.mkdir(parents=True, exist_ok=True)
        credentials = self.credentials(identity)
        (folder / f"{identity.common_name}.key").write_bytes(credentials.key)
        (folder / f"{identity.common_name}.crt").write_bytes(credentials.certificate)
        (folder / "ca.crt").write_bytes(self.pem)

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
        )
