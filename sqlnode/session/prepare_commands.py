"""PREPARE, EXECUTE and DEALLOCATE."""

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as nodes

from sqlnode.analyse import typenames
from sqlnode.errors import SqlError
from sqlnode.execute.api import ResultColumn
from sqlnode.parse import RawStatement
from sqlnode.session.pipeline import inner
from sqlnode.session.portal import Portal
from sqlnode.session.prepared import PreparedStatement
from sqlnode.session.replanning import plan_resumed
from sqlnode.session.utility import Answer, CopyStates, columns_of
from sqlnode.types.base import Value
from sqlnode.types.registry import by_oid

if TYPE_CHECKING:
    from sqlnode.session.session import Session


async def prepare(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """PREPARE name [(types)] AS statement."""
    raw = portal.planned.raw
    node = raw.node
    if node.name in session.statements:
        raise SqlError("42P05", f'prepared statement "{node.name}" already exists')
    declared = tuple(typenames.resolve(name.type_name)[0] for name in node.argtypes)
    planned = await session.plan(inner(raw, node.query), declared)
    columns = await columns_of(session, planned)
    session.add_statement(
        PreparedStatement(node.name, raw.text, planned, columns, planned.param_types, from_sql=True)
    )
    return Answer("PREPARE")


def _statement(session: "Session", name: str) -> PreparedStatement:
    statement = session.statements.get(name)
    if statement is None:
        raise SqlError("26000", f'prepared statement "{name}" does not exist')
    return statement


async def _planned_statement(session: "Session", name: str) -> PreparedStatement:
    statement = _statement(session, name)
    if statement.resumed is not None:
        await plan_resumed(session, statement)
    return statement


async def execute_columns(session: "Session", raw: RawStatement) -> tuple[ResultColumn, ...] | None:
    """The columns of EXECUTE are its statement's."""
    return (await _planned_statement(session, raw.node.name)).columns


async def execute(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """EXECUTE name [(values)]."""
    raw = portal.planned.raw
    statement = await _planned_statement(session, raw.node.name)
    planned = statement.planned
    if planned is None or planned.executable is None:
        raise SqlError("0A000", "EXECUTE of a utility statement is not supported")
    await session.budget.enter(planned)
    params = await _values(session, raw, statement)
    session.meter.name(planned.raw)
    subject = Portal("", planned, params)
    await session.start_query(subject)
    executable = subject.planned.executable
    if executable is None or subject.execution is None:
        raise RuntimeError("a started query has a plan")
    statement.planned = subject.planned
    if executable.writes:
        await subject.hold()
    columns = subject.planned.columns
    return Answer(
        executable.tag, columns, subject.rest(), counted=True, execution=subject.execution
    )


async def _values(
    session: "Session", raw: RawStatement, statement: PreparedStatement
) -> tuple[Value, ...]:
    """The values of EXECUTE's arguments, converted to the parameters' types."""
    types, given = statement.param_types, raw.node.params
    if len(types) != len(given):
        raise SqlError(
            "42601",
            f'wrong number of parameters for prepared statement "{statement.name}"',
            detail=f"Expected {len(types)} parameters but got {len(given)}.",
        )
    if not types:
        return ()
    select = nodes.SelectStmt(limit_option=nodes.LIMIT_OPTION_DEFAULT, op=nodes.SETOP_NONE)
    for oid, value in zip(types, given, strict=True):
        cast = select.target_list.add().res_target.val.type_cast
        cast.arg.CopyFrom(value)
        cast.type_name.typemod = -1
        for word in ("pg_catalog", by_oid(oid).name):
            cast.type_name.names.add().string.sval = word
    source = RawStatement(select, "select_stmt", raw.text, raw.location, raw.source)
    portal = Portal("", await session.plan(source))
    await session.start_query(portal)
    rows = await portal.take(1)
    return tuple(rows[0])


async def deallocate(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """DEALLOCATE name, DEALLOCATE ALL."""
    node = portal.planned.raw.node
    if node.isall or not node.name:
        session.statements.clear()
        return Answer("DEALLOCATE ALL")
    _statement(session, node.name)
    session.statements.drop(node.name)
    return Answer("DEALLOCATE")
