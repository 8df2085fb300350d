"""The authorities on disk: their keys, their certificates, and how far a rotation is.

    ca.key, ca.crt        the first authority
    ca-2.key, ca-2.crt    the second, made by a rotation; and so on
    state.json            which is current, and the rotation under way; without it: `ca`, and none

Every change of the state is one atomic, durable replacement of `state.json`: files that it names
are there before, and files that it names no longer go after. So a crash at any moment leaves either
the old state or the new one, and perhaps a file that nobody names.
"""

import json
import os
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from control.trust.rotation import Phase, Rights, Rotation, following, rights
from dormouse.base.clock import Clock

CA_LIFE = timedelta(days=3650)
CLOCK_SKEW = timedelta(minutes=5)
_FIRST = "ca"
_STATE = "state.json"


class AuthorityError(Exception):
    """The authority's files are incomplete, or a key was handed in that it does not certify."""


class Generations:
    """The authorities in a folder. Reads them, and makes the first one where there is none."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """A lost certificate of the first authority is made again from its key, under the same
        name. A lost key raises AuthorityError: a new one would cut off everything it has certified.
        """
        self._folder = folder
        self._clock = clock
        self.finished = 0
        """The operation of the last rotation that came to its end."""
        self.current, self.rotation = self._read_state()
        if self.current == _FIRST and not self._key_file(_FIRST).exists():
            if sorted(folder.glob("ca*.*")):
                raise AuthorityError(f"{folder}: ca.key is missing, but other files are there")
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(self._key_file(_FIRST), key_pem(make_key()), mode=0o600)
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self._certificates: dict[str, x509.Certificate] = {}
        named = {self.current}
        if self.rotation is not None:
            named |= {self.rotation.old, self.rotation.new}
        for name in named:
            self._load(name)

    def __repr__(self) -> str:
        return f"<Generations current={self.current} rotation={self.rotation}>"

    @property
    def rights(self) -> Rights:
        """Which of them does what just now."""
        return rights(self.current, self.rotation)

    def key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """The private key of an authority."""
        return self._keys[name]

    def certificate(self, name: str) -> x509.Certificate:
        """Its certificate."""
        return self._certificates[name]

    def pem(self, names: tuple[str, ...]) -> bytes:
        """Their certificates, one after the other."""
        encoded = (self._certificates[name].public_bytes(_PEM) for name in names)
        return b"".join(encoded)

    # Rotating

    def introduce(self, *, clients_ns: int, operation: int) -> Rotation:
        """Make the next authority and begin to trust it."""
        if self.rotation is not None:
            raise AuthorityError("a rotation is under way")
        number = int(self.current.partition("-")[2] or 1) + 1
        name = f"{_FIRST}-{number}"
        # What is left of a try that was cut short before anybody knew of it is made anew.
        self._certificate_file(name).unlink(missing_ok=True)
        write_file(self._key_file(name), key_pem(make_key()), mode=0o600)
        self._load(name)
        rotation = Rotation(
            old=self.current,
            new=name,
            phase=Phase.INTRODUCED,
            phase_ns=self._clock.wall_ns(),
            clients_ns=clients_ns,
            operation=operation,
        )
        self._write_state(self.current, rotation)
        return rotation

    def advance(self) -> Rotation | None:
        """Enter the next phase; None: that was the last, and the old authority's key is gone."""
        rotation = self._under_way()
        phase = following(rotation.phase)
        if phase is not None:
            entered = replace(rotation, phase=phase, phase_ns=self._clock.wall_ns())
            self._write_state(self.current, entered)
            return entered
        self.finished = rotation.operation
        self._write_state(rotation.new, None)
        self._key_file(rotation.old).unlink(missing_ok=True)
        self._certificate_file(rotation.old).unlink(missing_ok=True)
        return None

    def hasten(self, clients_ns: int) -> Rotation:
        """Show clients the new authority's certificates from then on, if that is sooner."""
        rotation = self._under_way()
        sooner = replace(rotation, clients_ns=min(clients_ns, rotation.clients_ns))
        self._write_state(self.current, sooner)
        return sooner

    def _under_way(self) -> Rotation:
        if self.rotation is None:
            raise AuthorityError("no rotation is under way")
        return self.rotation

    # Files

    def _read_state(self) -> tuple[str, Rotation | None]:
        try:
            document = json.loads((self._folder / _STATE).read_text(encoding="ascii"))
            self.finished, found = int(document["finished"]), document["rotation"]
            if found is None:
                return str(document["current"]), None
            rotation = Rotation(**{**found, "phase": Phase(found["phase"])})
            return str(document["current"]), rotation
        except FileNotFoundError:
            return _FIRST, None
        except (ValueError, KeyError, TypeError):
            raise AuthorityError(f"{self._folder / _STATE} cannot be read") from None

    def _write_state(self, current: str, rotation: Rotation | None) -> None:
        document = {
            "current": current,
            "rotation": asdict(rotation) if rotation is not None else None,
            "finished": self.finished,
        }
        text = json.dumps(document, indent=1) + "\n"
        write_file(self._folder / _STATE, text.encode("ascii"), mode=0o600)
        self.current, self.rotation = current, rotation

    def _key_file(self, name: str) -> Path:
        return self._folder / f"{name}.key"

    def _certificate_file(self, name: str) -> Path:
        return self._folder / f"{name}.crt"

    def _load(self, name: str) -> None:
        key_file, certificate_file = self._key_file(name), self._certificate_file(name)
        if not key_file.exists():
            raise AuthorityError(f"{self._folder}: {name}.key is missing")
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise AuthorityError(f"{key_file}: not an elliptic-curve key")
        if not certificate_file.exists():
            write_file(certificate_file, _self_signed(key, now_of(self._clock)), mode=0o644)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        if certificate.public_key() != key.public_key():
            raise AuthorityError(f"{self._folder}: {name}.* do not belong together")
        self._keys[name], self._certificates[name] = key, certificate


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
    # The key's digest in the name keeps two installations apart in one trust store, and the
    # authorities before and after a rotation in one chain.
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = common_name(f"Dormouse authority {key_id.digest.hex()[:12]}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(key_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(_PEM)


_PEM = serialization.Encoding.PEM


def common_name(text: str) -> x509.Name:
    """A subject that is a common name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def make_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as files hold it."""
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def write_file(file: Path, content: bytes, *, mode: int) -> None:
    """Replace `file` atomically and durably; it never exists with a wider mode than `mode`."""
    temporary = file.with_name(file.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def now_of(clock: Clock) -> datetime:
    """The time of day."""
    return datetime.fromtimestamp(clock.wall_ns() / 1_000_000_000, UTC)
