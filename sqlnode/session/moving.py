"""What of a session moves to another pod, and what keeps it where it is.

Between transactions a session is little: who it is, what it has set, and its prepared statements.
That is written down as text, sealed (`sqlnode.session.seals`), and held by the proxy, until the
session is taken up somewhere else (`sqlnode.session.resuming`):

    {user, pid, start settings, changed settings, names of the statements, …}      a line
    ["text", [parameter types], by PREPARE?, "shape of its rows"]                  a line for each
    …

The start settings move with the changed ones, so that RESET and DISCARD ALL still lead back to what
the client logged in with. A statement moves as its text: it is planned again at its first use, for
the parameter types it had, and refused where its rows have another shape by then, as PostgreSQL
refuses a cached plan. Its line is made once and is taken over as it is from pod to pod.

There are two occasions. A *give-away* is asked for, and then the session is gone from here: all of
it moves. A *checkpoint* is pushed ahead, for the case that this pod dies. The unnamed statement is
not in it: it changes with nearly every statement of some drivers, and an outdated one would be
worse than none. A client that prepared the unnamed statement in one pipeline, lost its pod, and
binds it in the next is told that it does not exist (26000).

currval() and lastval() move in a give-away and are not in a checkpoint: after the death of their
pod they are not yet defined.

A pod reads what pods of the last release have written: FORMAT changes when that is not so.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgwire.link import SEALED_BYTES_MAX, Purpose
from sqlnode.session.seals import OVERHEAD_BYTES, SealBroken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlnode.execute.api import ResultColumn
    from sqlnode.session.session import Session

FORMAT = 1
CHECKPOINT = "checkpoint"
TOO_MUCH = "it has too much state to move"
RUNNING = "a statement is running"

LASTING: tuple[tuple[str, Callable[["Session"], object]], ...] = (
    ("a cursor WITH HOLD is open", lambda session: session.portals),
    ("it listens to notifications", lambda session: session.notifications.listening),
    ("it holds advisory locks", lambda session: session.advisory.held),
)
"""What ties a session to its pod even between transactions: the reason, and when it is one. They
are asked before every ReadyForQuery outside a transaction, so each has to be cheap."""


def lasting_reason(session: "Session") -> str:
    """Why a session outside a transaction cannot move; empty if it can."""
    for reason, applies in LASTING:
        if applies(session):
            return reason
    return ""


def missing_reason(session: "Session") -> str:
    """Why a session could never move: what it was not given; empty if it has all."""
    if session.link is None:
        return "it has no link to a proxy"
    if session.tenant.seals is None:
        return "its pod has no session key"
    return ""


def present_reason(session: "Session") -> str:
    """Why a session, seen from outside, could not be given away now; empty if it could."""
    if session.busy:
        return RUNNING
    if session.transactions.active:
        return "a transaction is open"
    return missing_reason(session) or lasting_reason(session) or too_much(session, SEALED_BYTES_MAX)


def too_much(session: "Session", bytes_max: int) -> str:
    """TOO_MUCH where the prepared statements alone pass a bound, found without writing them."""
    return TOO_MUCH if session.statements.size > bytes_max else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A session between transactions."""

    user: str
    database: str
    pid: int
    purpose: str
    """What it was sealed for: a `Purpose`, or CHECKPOINT."""
    expires_ns: int
    """Wall time."""
    waits_since_ns: int
    """Since when the client has been silent (wall time)."""
    start: Mapping[str, str]
    """Settings the session began with."""
    changed: Mapping[str, str]
    """Settings it has set."""
    told: Mapping[str, str]
    """Values of reported settings as the client knows them."""
    statements: Mapping[str, bytes]
    """The line of each prepared statement, by name."""
    last_sequence: int = 0
    """OID of the sequence that lastval() speaks of."""
    given: Mapping[str, int] = field(default_factory=dict)
    """currval() of sequences, by OID."""

    def encode(self) -> bytes:
        """As lines."""
        head = {
            "format": FORMAT,
            **{name: getattr(self, name) for name in _HEAD},
            **{name: dict(getattr(self, name)) for name in _MAPS},
            "names": list(self.statements),
        }
        return b"\n".join((_json(head), *self.statements.values()))

    @classmethod
    def decode(cls, plain: bytes) -> "State":
        """The inverse of `encode`, of bytes that are known to be ours. Raises SealBroken where the
        format is not this version's."""
        first, *lines = plain.split(b"\n")
        head = json.loads(first)
        if head.pop("format") != FORMAT:
            raise SealBroken("of another format")
        names = head.pop("names")
        return cls(**head, statements=dict(zip(names, lines, strict=True)))


_HEAD = (
    *("user", "database", "pid", "purpose", "expires_ns", "waits_since_ns"),
    "last_sequence",
)
_MAPS = ("start", "changed", "told", "given")


def seal(session: "Session", purpose: Purpose | None, *, bytes_max: int) -> bytes | None:
    """The sealed state of a session that nothing keeps; None where it is longer than `bytes_max`.

    `purpose` None is for a checkpoint.
    """
    seals = session.tenant.seals
    if seals is None:
        raise RuntimeError("a session without a key cannot be sealed")
    if too_much(session, bytes_max):
        return None
    plain = _state(session, purpose).encode()
    return seals.seal(plain) if len(plain) + OVERHEAD_BYTES <= bytes_max else None


def _state(session: "Session", purpose: Purpose | None) -> State:
    tenant, limits = session.tenant, session.tenant.limits
    now_ns = tenant.clock.wall_ns()
    silent = tenant.clock.monotonic() - session.waits_since
    valid = limits.move_seconds if purpose is Purpose.MOVE else limits.park_seconds
    # They change with every number, so a checkpoint would never be up to date.
    last, given = session.sequences.state() if purpose is not None else (0, {})
    return State(
        last_sequence=last,
        given=given,
        user=session.user,
        database=tenant.database,
        pid=session.pid,
        purpose=CHECKPOINT if purpose is None else purpose.name.lower(),
        expires_ns=now_ns + int(valid * 1e9),
        waits_since_ns=now_ns - int(silent * 1e9),
        start=session.settings.start(),
        changed=session.settings.changed(),
        told=session.told,
        statements=session.statements.lines(unnamed=purpose is not None),
    )


# --- prepared statements -----------------------------------------------------------------------


def encode_line(text: str, types: tuple[int, ...], from_sql: bool, shape: str) -> bytes:
    """A statement as it moves: its text, its parameters' types, whether PREPARE made it, and the
    shape of its rows."""
    return _json((text, types, from_sql, shape))


def decode_line(line: bytes) -> tuple[str, tuple[int, ...], bool, str]:
    """The inverse of `encode_line`."""
    text, types, from_sql, shape = json.loads(line)
    return text, tuple(types), from_sql, shape


def shape_of(columns: "Iterable[ResultColumn] | None") -> str:
    """What tells one shape of rows from another; empty for no rows."""
    if columns is None:
        return ""
    facts = [(each.name, each.type, each.typmod, each.table, each.number) for each in columns]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
