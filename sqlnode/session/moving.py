"""A session that is between transactions, as bytes another pod can take up.

What moves: the settings the session has set, and its prepared statements by text and declared
types. What cannot is refused with the reason: an open transaction, a statement that runs, a cursor
that outlived its transaction. The token stands for the password at the next pod: it names tenant,
user and the digest of the state, is signed with the key of this pod's tenant certificate, carries
that certificate, and is short-lived.

    token = base64(claims) "." base64(signature)      claims = JSON, signed as they stand
"""

import base64
import hashlib
import json
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from dormouse.base.clock import Clock

if TYPE_CHECKING:
    from sqlnode.session.session import Session

FORMAT = 1
STATE_BYTES_MAX = 4 << 20
"""A session with more than this to move stays where it is."""


def refusal(session: "Session | None") -> str:
    """Why a session cannot move now; empty if it can."""
    if session is None:
        return "no such session"
    if session.busy:
        return "a statement is running"
    if session.transactions.active:
        return "a transaction is open"
    if any(portal.outlives for portal in session.portals.values()):
        return "a cursor WITH HOLD is open"
    return ""


def serialise(session: "Session") -> bytes:
    """The state of a session that `refusal` has nothing against."""
    document = {
        "format": FORMAT,
        "user": session.user,
        "database": session.tenant.database,
        "start_settings": dict(session.settings.start()),
        "settings": dict(session.settings.changed()),
        "statements": [
            {
                "name": statement.name,
                "text": statement.text,
                "types": list(statement.declared),
                "sql": statement.from_sql,
            }
            for statement in session.statements.values()
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def token(
    session: "Session",
    state: bytes,
    *,
    key: ec.EllipticCurvePrivateKey,
    certificate: bytes,
    clock: Clock,
    seconds: float,
) -> bytes:
    """The signed claim to take up this very state, for `seconds` from now."""
    claims = {
        "format": FORMAT,
        "tenant": session.tenant.id,
        "user": session.user,
        "state": hashlib.sha256(state).hexdigest(),
        "expires_ns": clock.wall_ns() + int(seconds * 1e9),
        "certificate": certificate.decode("ascii"),
    }
    text = json.dumps(claims, separators=(",", ":")).encode()
    signature = key.sign(text, ec.ECDSA(hashes.SHA256()))
    return base64.b64encode(text) + b"." + base64.b64encode(signature)
