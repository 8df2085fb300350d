"""What a transaction may be told of isolation, access mode and deferral, and until when. Pure."""

from dataclasses import dataclass

from sqlnode.errors import SqlError
from sqlnode.kv.api import Isolation

ISOLATIONS = {
    "read uncommitted": Isolation.READ_COMMITTED,
    "read committed": Isolation.READ_COMMITTED,
    "repeatable read": Isolation.REPEATABLE_READ,
    "serializable": Isolation.SERIALIZABLE,
}

# (in a subtransaction, after the first query)
_LATE = {
    "transaction_isolation": (
        "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction",
        "SET TRANSACTION ISOLATION LEVEL must be called before any query",
    ),
    "transaction_read_only": (
        "cannot set transaction read-write mode inside a read-only transaction",
        "transaction read-write mode must be set before any query",
    ),
    "transaction_deferrable": (
        "SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction",
        "SET TRANSACTION [NOT] DEFERRABLE must be called before any query",
    ),
}


@dataclass(frozen=True, slots=True)
class Mode:
    """What BEGIN and its relatives may say; None leaves it to the defaults."""

    isolation: str | None = None
    read_only: bool | None = None
    deferrable: bool | None = None


DEFAULTS = Mode()


def refuse_late(name: str, value: str, *, is_inner: bool, has_queried: bool) -> None:
    """A setting of the open transaction is to become another one. Raises SqlError 25001 where it is
    too late for that. Read-only a transaction may become at any time."""
    if name == "transaction_read_only" and value == "on":
        return
    inner, late = _LATE[name]
    if name == "transaction_isolation" and has_queried:
        raise SqlError("25001", late)  # PostgreSQL looks in this order
    if is_inner:
        raise SqlError("25001", inner)
    if has_queried:
        raise SqlError("25001", late)


def refuse_to_import(isolation: str) -> None:
    """Raises SqlError 0A000 where a transaction takes a new snapshot for each statement."""
    if ISOLATIONS[isolation] is Isolation.READ_COMMITTED:
        raise SqlError(
            "0A000",
            "a snapshot-importing transaction must have isolation level SERIALIZABLE or"
            " REPEATABLE READ",
        )
