"""Prepared statements that came with a session from another pod are planned at their first use.

So taking up a session costs the same with one statement as with a hundred, and what has become of
the tables meanwhile is an error of the statement, as it is in PostgreSQL, and not of the session.
"""

from typing import TYPE_CHECKING

from sqlnode.errors import SqlError
from sqlnode.parse import RawStatement, parse
from sqlnode.session import utility
from sqlnode.session.moving import shape_of
from sqlnode.session.pipeline import Planned, inner
from sqlnode.session.prepared import PreparedStatement

if TYPE_CHECKING:
    from sqlnode.session.session import Session


async def plan_resumed(session: "Session", statement: PreparedStatement) -> None:
    """Plan a statement that is `resumed`.

    Raises SqlError: what planning raises, 25P02, and 0A000 where its rows have another shape.
    """
    line = statement.resumed
    if line is None:
        return
    planned = await _plan(session, statement)
    columns = await utility.columns_of(session, planned) if planned is not None else None
    if shape_of(columns) != line.shape:
        raise SqlError("0A000", "cached plan must not change result type")
    statement.was_planned(planned, columns)


async def _plan(session: "Session", statement: PreparedStatement) -> Planned | None:
    types = statement.param_types
    session.look_again()
    if not statement.from_sql:
        planned = session.tenant.plans.find(statement.text, session.context, types)
        if planned is not None:
            return planned
    statements = parse(statement.text)
    if not statements:
        return None
    raw: RawStatement = statements[0]
    if not utility.is_exit(raw):
        session.transactions.refuse_failed()
    session.transactions.start()
    if statement.from_sql:
        return await session.plan(inner(raw, raw.node.query), types)
    return await session.plan(raw, types, alone=True)
