"""How a receiver knows that a delivery is ours: HMAC-SHA256, after Standard Webhooks 1.0
(https://www.standardwebhooks.com).

    signed     <webhook-id>.<webhook-timestamp>.<body>
    header     webhook-signature: v1,<base64> v1,<base64>     one for each secret that is valid
    secret     whsec_<base64 of 256 random bits>

For a day after a rotation both secrets sign, so a receiver may change over whenever it likes. The
time is that of the attempt, and a receiver refuses an old one: a delivery that somebody recorded
cannot be played again later. The id is the event's and stays the same in every attempt, so that a
receiver knows what it has had already.
"""

import base64
import hmac
import secrets
from collections.abc import Sequence

_SECRET_BYTES = 32
_PREFIX = "whsec_"


def generate_secret() -> bytes:
    """A new secret."""
    return secrets.token_bytes(_SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """As receivers know it."""
    return _PREFIX + base64.b64encode(secret).decode("ascii")


def signatures(secrets: Sequence[bytes], *, message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`; `timestamp` in unix seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(secret, signed, "sha256") for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode('ascii')}" for digest in digests)
