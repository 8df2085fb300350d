"""The SCRAM-SHA-256 verifier of a password, as PostgreSQL stores it (RFC 5803, RFC 7677).

    SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>

A verifier proves a password and is none: who reads the registry cannot log in with it.
"""

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 4096
_SALT_BYTES = 16
_PASSWORD_BYTES = 24


def generate_password() -> str:
    """A new password of 192 random bits, in letters that no URL and no shell changes."""
    # A leading dash would read as an option on a command line.
    while (password := secrets.token_urlsafe(_PASSWORD_BYTES)).startswith("-"):
        pass
    return password


def build_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """The verifier of an ASCII `password` (SASLprep changes nothing in those)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    stored_key = hashlib.sha256(_sign(salted, b"Client Key")).digest()
    server_key = _sign(salted, b"Server Key")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def generate_salt() -> bytes:
    """Random bytes for one verifier."""
    return secrets.token_bytes(_SALT_BYTES)


def _sign(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
