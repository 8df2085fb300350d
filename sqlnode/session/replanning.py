"""Prepared statements that came with a session from another pod are planned at their first use.

So taking up a session costs the same with one statement as with a hundred, and what has become of
the tables meanwhile is an error of the statement, as it is in PostgreSQL, and not of the session.
"""

from typing import TYPE_CHECKING

from sqlnode.errors import SqlError
from sqlnode.parse import parse
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
    shape = statement.resumed
    if shape is None:
        return
    planned = await _plan(session, statement)
    columns = await utility.columns_of(session, planned) if planned is not None else None
    if shape_of(columns) != shape:
        raise SqlError("0A000", "cached plan must not change result type")
    statement.was_planned(planned, columns)


async def _plan(session: "Session", statement: PreparedStatement) -> Planned | None:
    types, transactions = statement.param_types, session.transactions
    session.look_again()
    planned = None
    if not statement.from_sql:
        planned = session.tenant.plans.find(statement.text, session.context, types)
    statements = [planned.raw] if planned is not None else parse(statement.text)
    if not statements:
        return None
    raw = statements[0]
    if not utility.is_exit(raw):
        transactions.refuse_failed()
    transactions.start()
    if planned is not None:
        return planned
    if statement.from_sql:
        return await session.plan(inner(raw, raw.node.query), types)
    return await session.plan(raw, types, alone=True)
