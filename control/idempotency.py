"""Requests that are sent again: the same key and body get the same answer, and nothing is done
twice.

    claim ── written in the transaction of the change (see control/journal.py): one of several
      │      requests at a time wins, and one that died halfway is known to have been done
      ▼
    answer ─ kept beside it, sealed under a key made of the client's own API key, which is kept
             nowhere: a secret in it can be repeated to whoever sends that key, and to nobody else

Only what changed something is kept; a refused request may be sent again and is tried again, and so
is one that was answered "not now" (503). After an hour the answer is forgotten, after a day the
claim.

Whoever signs up has no API key. What only he has is the idempotency key itself, if it is random, so
one that anybody could guess is refused there. The answer is sealed under it, and the table holds
nothing but its hash together with the client's address: from elsewhere it finds nothing.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control.database import Database
from control.journal import Claim
from dormouse.base.clock import Clock

CLAIM_SECONDS = 86_400
ANSWER_SECONDS = 3_600
CLAIMS_MAX = 10_000
"""Of one API key."""

STRANGERS = 0
"""Stands for the API key of those who have none; ids of keys count from 1."""

STRANGERS_NAME_MIN = 22
"""Characters of a stranger's idempotency key: 128 random bits in base64."""

IN_WORK_SECONDS = 60
"""A claim that is younger and has no answer is somebody's who is still at work, or has died."""

_NONCE_BYTES = 12
_PRUNE_ROWS = 1000


class TooManyClaims(Exception):
    """The API key has used as many idempotency keys in a day as it may."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it was given."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Found:
    """What became of the request that used the key up."""

    is_same: bool
    """It was the same request."""

    resource: str
    """What it made, below `/v1/`."""

    answer: Answer | None
    """None: no longer there, not yet, or never given."""

    is_in_work: bool = False
    """There may be an answer soon."""


class Idempotency:
    """The table `idempotency`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, claim: Claim, secret: str) -> Found | None:
        """What the claimed key was used for; None where it is free. `secret` is what only the
        client has. Raises TooManyClaims.
        """
        now_ns = self._clock.wall_ns()
        oldest_ns = now_ns - CLAIM_SECONDS * 1_000_000_000
        row = await self._database.read_one(
            "SELECT request_hash, made_ns, resource, status, answer FROM idempotency"
            " WHERE key_id = ? AND name = ?",
            (claim.key_id, claim.name),
        )
        if row is not None and row[1] <= oldest_ns:
            await self._database.write(
                "DELETE FROM idempotency WHERE key_id = ? AND name = ? AND made_ns <= ?",
                (claim.key_id, claim.name, oldest_ns),
            )
            row = None
        if row is None:
            await self._check_room(claim)
            return None
        request_hash, made_ns, resource, status, sealed = row
        age_seconds = (now_ns - made_ns) / 1_000_000_000
        answer = None
        if sealed is not None and age_seconds < ANSWER_SECONDS:
            answer = _open(sealed, status, _sealing_key(secret, claim.name))
        return Found(
            is_same=hmac.compare_digest(request_hash, claim.request_hash),
            resource=resource,
            answer=answer,
            is_in_work=status is None and age_seconds < IN_WORK_SECONDS,
        )

    async def forget(self, claim: Claim) -> None:
        """Free the key of a request that has had no answer: it may be sent again."""
        await self._database.write(
            "DELETE FROM idempotency WHERE key_id = ? AND name = ? AND status IS NULL",
            (claim.key_id, claim.name),
        )

    async def keep(self, claim: Claim, secret: str, answer: Answer) -> None:
        """Keep the answer of the request that used the key up."""
        sealed = _seal(answer, _sealing_key(secret, claim.name))
        await self._database.write(
            "UPDATE idempotency SET status = ?, answer = ? WHERE key_id = ? AND name = ?",
            (answer.status, sealed, claim.key_id, claim.name),
        )

    async def prune(self) -> int:
        """Forget answers and claims that are old enough, a bounded number at a time; how many."""
        now_ns = self._clock.wall_ns()
        answers = await self._database.write_all(
            "UPDATE idempotency SET answer = NULL WHERE rowid IN (SELECT rowid FROM idempotency"
            " WHERE made_ns < ? AND answer IS NOT NULL LIMIT ?) RETURNING 1",
            (now_ns - ANSWER_SECONDS * 1_000_000_000, _PRUNE_ROWS),
        )
        claims = await self._database.write_all(
            "DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency"
            " WHERE made_ns < ? ORDER BY made_ns LIMIT ?) RETURNING 1",
            (now_ns - CLAIM_SECONDS * 1_000_000_000, _PRUNE_ROWS),
        )
        return len(answers) + len(claims)

    async def _check_room(self, claim: Claim) -> None:
        row = await self._database.read_one(
            "SELECT count(*) FROM idempotency WHERE key_id = ?", (claim.key_id,)
        )
        if row is not None and row[0] >= CLAIMS_MAX:
            raise TooManyClaims(row[0])


def hash_request(method: str, path: str, body: bytes) -> bytes:
    """What makes a request the same one."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()


def strangers_name(address: str, name: str) -> str:
    """What is kept of the idempotency key of a client without an API key."""
    return hashlib.sha256(f"dormouse stranger\0{address}\0{name}".encode()).hexdigest()


def _sealing_key(secret: str, name: str) -> bytes:
    # The secret has at least 128 random bits, so one HMAC of it is a key.
    return hmac.digest(secret.encode(), b"dormouse idempotency " + name.encode(), "sha256")


def _seal(answer: Answer, key: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    text = json.dumps({"headers": dict(answer.headers), "body": answer.body}).encode()
    return nonce + AESGCM(key).encrypt(nonce, text, None)


def _open(sealed: bytes, status: int, key: bytes) -> Answer | None:
    try:
        text = AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    except InvalidTag:
        return None
    document = json.loads(text)
    return Answer(status, document["headers"], document["body"])
