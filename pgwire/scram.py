"""SCRAM-SHA-256 (RFC 5802, RFC 7677): both ends as state machines, and PostgreSQL's verifier.

    client                                     server (knows salt, StoredKey, ServerKey)
      n,,n=,r=<client nonce>            ──▶
                                        ◀──    r=<client nonce><server nonce>,s=<salt>,i=<count>
      c=biws,r=<both>,p=<proof>         ──▶    H(proof XOR HMAC(StoredKey, messages)) = StoredKey ?
                                        ◀──    v=<HMAC(ServerKey, messages)>

The verifier lets nobody log in who does not know the password. For a user that does not exist the
server plays the same exchange with a verifier made from a secret of its own (`mock_verifier`): the
salt is the same each time, the messages are alike, and the end is the same refusal, so a stranger
does not learn which names exist. Channel binding is not offered: TLS ends at the proxy.

Randomness is an argument: a nonce is 18 random bytes in base64, as PostgreSQL and libpq make it.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pgwire.errors import AuthenticationFailed, ProtocolViolation
from pgwire.saslprep import saslprep

MECHANISM = "SCRAM-SHA-256"
ITERATIONS = 4096
NONCE_BYTES = 18
SALT_BYTES = 16
_KEY_BYTES = 32
_ITERATIONS_MAX = 10_000_000
_NONCE = re.compile(r"[\x21-\x2b\x2d-\x7e]+")


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    @classmethod
    def of_password(cls, password: str, *, salt: bytes, iterations: int = ITERATIONS) -> Self:
        """The verifier of a password; `salt` is SALT_BYTES random bytes."""
        salted = _salted(password, salt, iterations)
        client_key = _hmac(salted, b"Client Key")
        return cls(
            iterations, salt, hashlib.sha256(client_key).digest(), _hmac(salted, b"Server Key")
        )

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The verifier in PostgreSQL's form, None where the text is none:
        `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, base64 inside."""
        match = re.fullmatch(r"SCRAM-SHA-256\$(\d{1,9}):([^$:]+)\$([^$:]+):([^$:]+)", text)
        if match is None:
            return None
        try:
            salt, stored, server = (b64decode(match[n], validate=True) for n in (2, 3, 4))
        except Base64Error:
            return None
        iterations = int(match[1])
        if not iterations or not salt or len(stored) != _KEY_BYTES or len(server) != _KEY_BYTES:
            return None
        return cls(iterations, salt, stored, server)

    def __str__(self) -> str:
        salt, stored, server = (
            b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"{MECHANISM}${self.iterations}:{salt}${stored}:{server}"

    def __repr__(self) -> str:
        return f"Verifier(iterations={self.iterations}, …)"


def mock_verifier(user: str, secret: bytes) -> Verifier:
    """A verifier nobody has the password of, always the same for one name and secret."""
    salt = _hmac(secret, b"salt:" + user.encode())[:SALT_BYTES]
    stored = _hmac(secret, b"stored:" + user.encode())
    return Verifier(ITERATIONS, salt, stored, _hmac(secret, b"server:" + user.encode()))


class ScramServer:
    """One exchange seen from the server. `nonce` is NONCE_BYTES of fresh randomness.

    With `doomed` the exchange runs to its end and then fails whatever the proof is.
    """

    def __init__(self, verifier: Verifier, *, nonce: bytes, doomed: bool = False) -> None:
        self._verifier = verifier
        self._nonce = b64encode(nonce).decode()
        self._doomed = doomed
        self._gs2_header = ""
        self._client_first = ""
        self._server_first = ""
        self._full_nonce = ""

    def challenge(self, client_first: bytes) -> bytes:
        """The server-first message. Raises ProtocolViolation on a malformed client-first."""
        text = _text(client_first)
        flag, comma, rest = text.partition(",")
        if flag.startswith("p="):
            raise ProtocolViolation(
                "malformed SCRAM message", detail="Channel binding is not offered."
            )
        if not comma or flag not in ("n", "y"):
            raise ProtocolViolation("malformed SCRAM message")
        authorisation, comma, bare = rest.partition(",")
        if authorisation or not comma:
            raise ProtocolViolation(
                "client uses authorization identity, but it is not supported", sqlstate="0A000"
            )
        if bare.startswith("m="):
            raise ProtocolViolation(
                "client requires an unsupported SCRAM extension", sqlstate="0A000"
            )
        attributes = _attributes(bare, "n", "r")
        client_nonce = attributes["r"]
        if not _NONCE.fullmatch(client_nonce):
            raise ProtocolViolation("non-printable characters in SCRAM nonce")
        self._gs2_header = f"{flag},{authorisation},"
        self._client_first = bare
        self._full_nonce = client_nonce + self._nonce
        salt = b64encode(self._verifier.salt).decode()
        self._server_first = f"r={self._full_nonce},s={salt},i={self._verifier.iterations}"
        return self._server_first.encode()

    def verify(self, client_final: bytes) -> bytes:
        """The server-final message for a right proof.

        Raises AuthenticationFailed on a wrong one, ProtocolViolation on a malformed message.
        """
        if not self._server_first:
            raise ProtocolViolation("unexpected SCRAM message")
        text = _text(client_final)
        without_proof, found, proof_text = text.rpartition(",p=")
        if not found:
            raise ProtocolViolation("malformed SCRAM message")
        attributes = _attributes(without_proof, "c", "r")
        if attributes["c"] != b64encode(self._gs2_header.encode()).decode():
            raise ProtocolViolation("unexpected SCRAM channel-binding attribute")
        if attributes["r"] != self._full_nonce:
            raise ProtocolViolation("malformed SCRAM message", detail="Nonce does not match.")
        proof = _decoded(proof_text)
        if len(proof) != _KEY_BYTES:
            raise ProtocolViolation("malformed SCRAM message")
        messages = f"{self._client_first},{self._server_first},{without_proof}".encode()
        client_key = _xor(proof, _hmac(self._verifier.stored_key, messages))
        right = hmac.compare_digest(hashlib.sha256(client_key).digest(), self._verifier.stored_key)
        if not right or self._doomed:
            raise AuthenticationFailed("password authentication failed")
        return b"v=" + b64encode(_hmac(self._verifier.server_key, messages))


class ScramClient:
    """One exchange seen from the client. `nonce` is NONCE_BYTES of fresh randomness."""

    def __init__(self, password: str, *, nonce: bytes) -> None:
        self._password = password
        self._nonce = b64encode(nonce).decode()
        self._bare = f"n=,r={self._nonce}"
        self._server_signature = b""

    def first(self) -> bytes:
        """The client-first message."""
        return b"n,," + self._bare.encode()

    def final(self, server_first: bytes) -> bytes:
        """The client-final message. Raises ProtocolViolation on a malformed challenge."""
        text = _text(server_first)
        attributes = _attributes(text, "r", "s", "i")
        nonce = attributes["r"]
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ProtocolViolation("invalid SCRAM response (nonce mismatch)")
        digits = attributes["i"]
        if not digits.isascii() or not digits.isdecimal() or not 0 < int(digits) <= _ITERATIONS_MAX:
            raise ProtocolViolation("malformed SCRAM message (invalid iteration count)")
        salted = _salted(self._password, _decoded(attributes["s"]), int(digits))
        client_key = _hmac(salted, b"Client Key")
        without_proof = f"c=biws,r={nonce}"
        messages = f"{self._bare},{text},{without_proof}".encode()
        signature = _hmac(hashlib.sha256(client_key).digest(), messages)
        self._server_signature = _hmac(_hmac(salted, b"Server Key"), messages)
        return f"{without_proof},p={b64encode(_xor(client_key, signature)).decode()}".encode()

    def check(self, server_final: bytes) -> None:
        """Raises AuthenticationFailed where the server does not know the password either."""
        signature = _attributes(_text(server_final), "v")["v"]
        if not self._server_signature or not hmac.compare_digest(
            _decoded(signature), self._server_signature
        ):
            raise AuthenticationFailed("incorrect server signature")


def _text(data: bytes) -> str:
    if not data.isascii() and not data.startswith(b"n,"):
        raise ProtocolViolation("malformed SCRAM message")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation("malformed SCRAM message") from None
    if "\0" in text:
        raise ProtocolViolation("malformed SCRAM message")
    return text


def _attributes(text: str, *names: str) -> Mapping[str, str]:
    """The leading attributes, which must come in this order; later ones are extensions."""
    found: dict[str, str] = {}
    parts = text.split(",")
    if len(parts) < len(names):
        raise ProtocolViolation("malformed SCRAM message")
    for name, part in zip(names, parts, strict=False):
        if not part.startswith(f"{name}="):
            raise ProtocolViolation(f"malformed SCRAM message: attribute {name} expected")
        found[name] = part[2:]
    return found


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise ProtocolViolation("malformed SCRAM message") from None
