"""LOCK TABLE."""

from typing import TYPE_CHECKING, Any

from proto import kv_pb2 as kv
from sqlnode.catalog.descriptors import Table
from sqlnode.ddl.change import Change, undefined_relation, undefined_schema
from sqlnode.errors import SqlError
from sqlnode.kv.errors import CatalogStale
from sqlnode.session.transactions import STALE_RETRIES_MAX, Block
from sqlnode.session.utility import Answer

if TYPE_CHECKING:
    from sqlnode.session.portal import Portal
    from sqlnode.session.session import Session
    from sqlnode.session.utility import CopyStates


async def lock(session: "Session", portal: "Portal", _states: "CopyStates") -> Answer:
    """Lock tables one after the other. Raises SqlError 25P01, 42P01, 42809, 42501, 55P03,
    40P01, 57014."""
    node = portal.planned.raw.node
    if session.transactions.block is Block.NONE:
        raise SqlError("25P01", "LOCK TABLE can only be used in transaction blocks")
    for wrapped in node.relations:
        await _lock_newest(session, wrapped.range_var, node.mode, nowait=node.nowait)
    return Answer("LOCK TABLE")


async def _lock_newest(session: "Session", target: Any, mode: int, *, nowait: bool) -> None:
    """Lock what has the name when the lock is got: it may go, or be another, meanwhile."""
    for attempt in range(STALE_RETRIES_MAX + 1):
        execution = await session.execution()
        table = _table(Change(execution), target, mode)
        if table is None:
            return
        try:
            await execution.transaction.lock_tables([(table.oid, mode)], nowait=nowait)
        except CatalogStale as stale:
            if attempt == STALE_RETRIES_MAX:
                raise
            await session.catch_up(stale)
        except SqlError as error:
            if nowait and error.sqlstate == "55P03":
                text = f'could not obtain lock on relation "{table.name}"'
                raise SqlError("55P03", text) from error
            raise
        else:
            return


def _table(names: Change, target: Any, mode: int) -> Table | None:
    """The table to lock; None for one of the catalog's, whose rows nobody writes."""
    found = names.find_table(target)
    if found is None:
        path = names.execution.functions.search_path()
        if names.catalog.index(target.relname, target.schemaname or None, search_path=path):
            raise SqlError(
                "42809",
                f'cannot lock relation "{target.relname}"',
                detail="This operation is not supported for indexes.",
            )
        if target.schemaname and target.schemaname not in names.catalog.schemas:
            raise undefined_schema(target.schemaname)
        raise undefined_relation(target)
    if not found.virtual:
        return found
    if mode != kv.ACCESS_SHARE:
        raise SqlError("42501", f"permission denied for table {found.name}")
    return None
