"""DECLARE CURSOR, FETCH, MOVE and CLOSE."""

from typing import TYPE_CHECKING

from sqlnode.errors import SqlError
from sqlnode.execute.api import ResultColumn
from sqlnode.parse import RawStatement
from sqlnode.session.cursors import Fetch, fetch_rows
from sqlnode.session.portal import Portal
from sqlnode.session.utility import Answer, CopyStates, rows_of

if TYPE_CHECKING:
    from sqlnode.session.session import Session

_SCROLL, _HOLD = 0x2, 0x20


async def declare(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """DECLARE: open the query now, at this statement's snapshot."""
    raw = portal.planned.raw
    node = raw.node
    holdable = bool(node.options & _HOLD)
    if not holdable and session.transactions.status == "I":
        raise SqlError("25P01", "DECLARE CURSOR can only be used in transaction blocks")
    if node.portalname in session.portals:
        raise SqlError("42P03", f'cursor "{node.portalname}" already exists')
    planned = portal.planned.inner
    if planned is None or planned.executable is None or planned.executable.columns is None:
        raise SqlError("42P11", "cannot open a statement without rows as a cursor")
    cursor = Portal(
        node.portalname,
        planned,
        portal.params,
        cursor=True,
        scroll=bool(node.options & _SCROLL),
        holdable=holdable,
        memory_bytes_max=session.tenant.limits.statement_memory_bytes,
    )
    await session.start_query(cursor)
    session.shape(cursor, cursor.planned.columns)
    session.add_portal(cursor)
    return Answer("DECLARE CURSOR")


def _cursor(session: "Session", name: str) -> Portal:
    cursor = session.portals.get(name)
    if cursor is None or cursor.columns is None:
        raise SqlError("34000", f'cursor "{name}" does not exist')
    return cursor


async def fetch_columns(session: "Session", raw: RawStatement) -> tuple[ResultColumn, ...] | None:
    """The columns of FETCH are its cursor's."""
    return None if raw.node.ismove else _cursor(session, raw.node.portalname).columns


async def fetch(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """FETCH and MOVE."""
    node = portal.planned.raw.node
    cursor = _cursor(session, node.portalname)
    rows = await fetch_rows(cursor, Fetch.of_node(node))
    if node.ismove:
        return Answer(f"MOVE {len(rows)}")
    return Answer("FETCH", cursor.columns, rows_of(rows), counted=True)


async def close(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """CLOSE and CLOSE ALL."""
    name = portal.planned.raw.node.portalname
    if not name:
        for each in [p.name for p in session.portals.values() if p is not portal]:
            await session.close_portal(each)
        return Answer("CLOSE CURSOR ALL")
    _cursor(session, name)
    await session.close_portal(name)
    return Answer("CLOSE CURSOR")
