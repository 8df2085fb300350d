"""Statements that are not queries: which module answers each, and what a Describe says of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pgwire.frontend import CopyData, CopyDone, CopyFail
from sqlnode.ddl.dispatch import run_utility
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Batch, Execution, ResultColumn, Row
from sqlnode.kv.errors import CatalogStale
from sqlnode.parse import RawStatement
from sqlnode.session.modes import Mode
from sqlnode.session.pipeline import Planned
from sqlnode.session.portal import Portal
from sqlnode.session.transactions import STALE_RETRIES_MAX
from sqlnode.tree import Utility

if TYPE_CHECKING:
    from sqlnode.session.session import Session

_BEGIN, _START, _COMMIT, _ROLLBACK, _SAVEPOINT, _RELEASE, _ROLLBACK_TO = range(1, 8)
_EXITS = frozenset({_COMMIT, _ROLLBACK, _ROLLBACK_TO})
_OUTSIDE_BLOCKS = frozenset({"VACUUM", "CREATE DATABASE", "DROP DATABASE", "ALTER SYSTEM"})
_READ_ONLY_TAGS = frozenset({"VACUUM", "ANALYZE", "CHECKPOINT"})


class CopyStates(Protocol):
    """What COPY tells the message loop."""

    def copy_in_begun(self) -> None:
        """The client is to send data."""
        ...

    def copy_in_ended(self) -> None:
        """All data are here."""
        ...

    async def read_copy(self) -> CopyData | CopyDone | CopyFail:
        """The client's next message of the COPY."""
        ...


@dataclass(slots=True)
class Answer:
    """What a utility statement answers. With `batches` it returns rows, and `tag` may get their
    count."""

    tag: str
    columns: tuple[ResultColumn, ...] | None = None
    batches: AsyncIterator[Batch] | None = None
    counted: bool = False
    execution: Execution | None = None


async def rows_of(rows: Sequence[Row]) -> AsyncIterator[Batch]:
    """Rows that are there already, as an executable would give them."""
    if rows:
        yield list(rows)


def is_exit(raw: RawStatement) -> bool:
    """Whether a failed transaction takes this statement: it leads out of it."""
    return raw.kind == "transaction_stmt" and raw.node.kind in _EXITS


Handler = Callable[["Session", Portal, CopyStates], Awaitable[Answer]]


async def run(session: "Session", portal: Portal, states: CopyStates) -> Answer:
    """Run a utility statement. Raises SqlError."""
    from sqlnode.session.handlers import HANDLERS  # the handlers use this module

    raw = portal.planned.raw
    handler = HANDLERS.get(raw.kind)
    if handler is not None:
        return await handler(session, portal, states)
    statement = portal.planned.statement
    if not isinstance(statement, Utility):
        raise unsupported(raw.kind.removesuffix("_stmt").replace("_", " ").upper())
    return await _run_ddl(session, statement)


async def _run_ddl(session: "Session", statement: Utility) -> Answer:
    transactions = session.transactions
    if statement.tag in _OUTSIDE_BLOCKS:
        transactions.refuse_block(statement.tag)
    if transactions.read_only and statement.tag not in _READ_ONLY_TAGS:
        raise SqlError("25006", f"cannot execute {statement.tag} in a read-only transaction")
    execution, tag = await _run_fresh(session, statement)
    if execution.catalog is not transactions.catalog:
        transactions.adopt_catalog(execution.catalog)
        session.look_again()
    for severity, sqlstate, message in execution.notices:
        session.notice(severity, sqlstate, message)
    return Answer(tag)


async def _run_fresh(session: "Session", statement: Utility) -> tuple[Execution, str]:
    """Run a utility statement on the newest catalog: another session may just have changed it."""
    for _ in range(STALE_RETRIES_MAX):
        execution = await session.execution()
        try:
            return execution, await run_utility(statement, execution)
        except CatalogStale as stale:
            await session.catch_up(stale)
    execution = await session.execution()
    return execution, await run_utility(statement, execution)


async def columns_of(session: "Session", planned: Planned) -> tuple[ResultColumn, ...] | None:
    """What Describe says of a statement: its columns, None if it returns no rows."""
    from sqlnode.session.handlers import COLUMNS  # the handlers use this module

    if planned.executable is not None:
        return planned.executable.columns
    describe = COLUMNS.get(planned.raw.kind)
    return await describe(session, planned.raw) if describe is not None else None


# --- transactions ------------------------------------------------------------------------------


def mode_of(options: Any) -> Mode:
    """The transaction modes in a list of DefElem. Raises SqlError."""
    isolation: str | None = None
    read_only: bool | None = None
    deferrable: bool | None = None
    for option in options:
        element = option.def_elem
        value = element.arg.a_const
        match element.defname:
            case "transaction_isolation":
                isolation = value.sval.sval
            case "transaction_read_only":
                read_only = value.ival.ival != 0
            case "transaction_deferrable":
                deferrable = value.ival.ival != 0
    return Mode(isolation, read_only, deferrable)


async def transaction(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their relatives."""
    node = portal.planned.raw.node
    transactions = session.transactions
    match node.kind:
        case k if k in (_BEGIN, _START):
            transactions.begin(mode_of(node.options))
            return Answer("BEGIN" if node.kind == _BEGIN else "START TRANSACTION")
        case k if k == _COMMIT:
            await session.end_transaction_portals(committed=transactions.status != "E")
            tag = await transactions.commit(chain=node.chain)
        case k if k == _ROLLBACK:
            await session.end_transaction_portals(committed=False)
            tag = transactions.rollback(chain=node.chain)
        case k if k == _SAVEPOINT:
            transactions.savepoint(node.savepoint_name)
            tag = "SAVEPOINT"
        case k if k == _RELEASE:
            transactions.release(node.savepoint_name)
            tag = "RELEASE"
        case k if k == _ROLLBACK_TO:
            await transactions.rollback_to(node.savepoint_name)
            tag = "ROLLBACK"
        case _:
            raise unsupported("two-phase commit")
    session.look_again()
    return Answer(tag)
