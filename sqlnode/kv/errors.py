"""From what storage answers to what a client of the database is told: one table.

Two outcomes are not errors of a statement and have types of their own: `CatalogStale` (read the
catalog again and analyse anew) and `StreamLost` (the connection to storage broke under a request).
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime

from dormouse.base.errors import Blame, DormouseError
from proto import kv_pb2 as kv
from sqlnode import sqlstate
from sqlnode.errors import SqlError


class KvRefused(Exception):
    """Storage refused a request."""

    def __init__(self, error: kv.Error) -> None:
        super().__init__(f"{kv.Error.Code.Name(error.code)}: {error.message}")
        self.code = error.code
        self.key = error.key
        self.version = error.version
        self.used = error.used
        self.limit = error.limit


class StreamLost(Exception):
    """The stream broke. `sent`: the request may have reached storage."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the storage stream broke")
        self.sent = sent


class CatalogStale(DormouseError):
    """A statement was planned with an outdated catalog, or rows were written for a shape that their
    table no longer has. `version`: a catalog at least this new knows better."""

    sqlstate = sqlstate.SERIALIZATION_FAILURE
    blame = Blame.SERVICE
    retryable = True

    def __init__(self, version: int) -> None:
        super().__init__(
            "could not serialize access due to a concurrent change of the schema",
            hint="The transaction might succeed if retried.",
        )
        self.version = version


@dataclass(frozen=True, slots=True)
class _Answer:
    sqlstate: str
    message: str
    blame: Blame
    retryable: bool = False
    hint: str | None = None


_SERIALIZE = sqlstate.SERIALIZATION_FAILURE
_LOST = "could not serialize access: the storage connection was lost"

_ANSWERS: dict[int, _Answer] = {
    kv.Error.OUTSIDE_TENANT: _Answer(sqlstate.INTERNAL_ERROR, "storage refused a key", Blame.POD),
    kv.Error.BAD_REQUEST: _Answer(sqlstate.INTERNAL_ERROR, "storage refused a request", Blame.POD),
    kv.Error.BUSY: _Answer(
        sqlstate.INSUFFICIENT_RESOURCES,
        "too many requests to storage",
        Blame.LIMIT,
        True,
        "Try again, with fewer statements at the same time.",
    ),
    kv.Error.CONFLICT: _Answer(
        _SERIALIZE, "could not serialize access due to concurrent update", Blame.USER, True
    ),
    kv.Error.KEY_EXISTS: _Answer(
        sqlstate.UNIQUE_VIOLATION, "duplicate key value violates unique constraint", Blame.USER
    ),
    kv.Error.DEADLOCK: _Answer(
        sqlstate.DEADLOCK_DETECTED,
        "deadlock detected",
        Blame.USER,
        True,
        "See server log for query details.",
    ),
    kv.Error.LOCK_NOT_AVAILABLE: _Answer(
        sqlstate.LOCK_NOT_AVAILABLE, "could not obtain lock on row", Blame.USER, True
    ),
    kv.Error.LOCK_TIMEOUT: _Answer(
        sqlstate.LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout", Blame.USER, True
    ),
    kv.Error.SNAPSHOT_TOO_OLD: _Answer(
        _SERIALIZE, "could not serialize access: snapshot too old", Blame.USER, True
    ),
    kv.Error.NOT_EXPORTED: _Answer(
        sqlstate.INVALID_PARAMETER_VALUE, "invalid snapshot identifier", Blame.USER
    ),
    kv.Error.SNAPSHOT_IN_FUTURE: _Answer(
        sqlstate.INVALID_PARAMETER_VALUE, "dormouse.as_of is in the future", Blame.USER
    ),
    kv.Error.TOO_LARGE: _Answer(
        sqlstate.PROGRAM_LIMIT_EXCEEDED,
        "transaction is too large",
        Blame.LIMIT,
        False,
        "Write in several smaller transactions.",
    ),
    kv.Error.TOO_MANY_TXNS: _Answer(
        sqlstate.CONFIGURATION_LIMIT_EXCEEDED,
        "too many open transactions in the database",
        Blame.LIMIT,
        True,
        "End transactions that are open without need.",
    ),
    kv.Error.TOO_MANY_LOCKS: _Answer(
        sqlstate.OUT_OF_MEMORY,
        "out of shared memory",
        Blame.LIMIT,
        True,
        "Lock fewer rows at a time, or end transactions that hold many locks.",
    ),
    kv.Error.TOO_MUCH_STAGED: _Answer(
        sqlstate.CONFIGURATION_LIMIT_EXCEEDED,
        "too much is being written to the database at the same time",
        Blame.LIMIT,
        True,
        "Wait for other large transactions to end, or write in smaller ones.",
    ),
    kv.Error.CANCELLED: _Answer(
        sqlstate.QUERY_CANCELED, "canceling statement due to user request", Blame.USER
    ),
    kv.Error.QUOTA: _Answer(
        sqlstate.DISK_FULL,
        "could not extend the database: storage limit reached",
        Blame.LIMIT,
        False,
        "Delete rows, or drop or truncate tables, or have the limit raised.",
    ),
    kv.Error.DISK_FULL: _Answer(
        sqlstate.DISK_FULL,
        "could not extend the database: No space left on device",
        Blame.STORAGE,
        True,
        "The disk of the storage service is full. Writing is possible again once there is room.",
    ),
    kv.Error.DAMAGED: _Answer(
        sqlstate.DATA_CORRUPTED,
        "invalid page in the database",
        Blame.STORAGE,
        False,
        "Rows on the storage service's disk are damaged. Have the database restored from a backup.",
    ),
    kv.Error.IO: _Answer(sqlstate.IO_ERROR, "storage could not write or read", Blame.STORAGE, True),
    kv.Error.READ_CONFLICT: _Answer(
        _SERIALIZE,
        "could not serialize access due to read/write dependencies among transactions",
        Blame.USER,
        True,
        "The transaction might succeed if retried.",
    ),
    kv.Error.TXN_ENDED: _Answer(_SERIALIZE, _LOST, Blame.STORAGE, True),
}


def sql_error(refused: KvRefused) -> DormouseError:
    """What the client is told of a refusal."""
    if refused.code == kv.Error.CATALOG_STALE:
        return CatalogStale(refused.version)
    answer = _ANSWERS.get(refused.code)
    if answer is None:
        answer = _Answer(sqlstate.INTERNAL_ERROR, "storage failed", Blame.STORAGE)
    detail = None
    if refused.code == kv.Error.QUOTA:
        detail = f"The database stores {refused.used} bytes of rows and may store {refused.limit}."
    error = SqlError(answer.sqlstate, answer.message, detail=detail, hint=answer.hint)
    error.blame, error.retryable = answer.blame, answer.retryable
    return error


async def answered(sent: Awaitable[kv.Reply], *, past: bool) -> kv.Reply:
    """A reply of storage, or what the client is told instead. `past`: a time was asked for that
    lies in the past."""
    try:
        return await sent
    except KvRefused as refused:
        if past and refused.code == kv.Error.SNAPSHOT_TOO_OLD:
            raise _past_too_old(refused.version) from refused
        raise sql_error(refused) from refused
    except StreamLost as lost:
        raise connection_lost() from lost


def _past_too_old(oldest: int) -> SqlError:
    """The time that dormouse.as_of names cannot be read any more; `oldest` can (nanoseconds)."""
    error = SqlError(
        sqlstate.SNAPSHOT_TOO_OLD,
        "dormouse.as_of is older than the history that is kept",
        detail=f"The oldest time that can be read is {utc_text(oldest)}.",
    )
    error.blame = Blame.USER
    return error


def utc_text(time_ns: int) -> str:
    """A time of storage, rounded up to what a timestamp can name."""
    seconds, micros = divmod(-(-time_ns // 1000), 1_000_000)
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}.{micros:06d}+00"


def read_conflict() -> DormouseError:
    """A serializable transaction has seen that a key was not there, and now it is."""
    return sql_error(KvRefused(kv.Error(code=kv.Error.READ_CONFLICT)))


def write_conflict() -> DormouseError:
    """Somebody has written since the snapshot what is to be written now."""
    return sql_error(KvRefused(kv.Error(code=kv.Error.CONFLICT)))


def connection_lost() -> SqlError:
    """A transaction's locks or snapshot went with the stream: it can only be begun again."""
    error = SqlError(_SERIALIZE, _LOST, hint="The transaction might succeed if retried.")
    error.blame, error.retryable = Blame.STORAGE, True
    return error


def outcome_unknown() -> SqlError:
    """Storage did not come back in time to say what became of a commit."""
    error = SqlError(
        sqlstate.TRANSACTION_RESOLUTION_UNKNOWN,
        "the storage connection was lost during commit and the outcome is unknown",
        hint="Look at the data before the transaction is repeated.",
    )
    error.blame = Blame.STORAGE
    return error
