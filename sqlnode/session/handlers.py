"""The table of the session's own statements: what runs each, and what each returns."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import ResultColumn
from sqlnode.parse import RawStatement
from sqlnode.session import (
    copying,
    cursor_commands,
    explain,
    lock_command,
    notify_commands,
    prepare_commands,
    variables,
)
from sqlnode.session.portal import Portal
from sqlnode.session.utility import Answer, CopyStates, Handler, transaction

if TYPE_CHECKING:
    from sqlnode.session.session import Session


def _refused(feature: str) -> Handler:
    async def refuse(_session: "Session", _portal: Portal, _states: CopyStates) -> Answer:
        raise unsupported(feature)

    return refuse


async def _checkpoint(_session: "Session", _portal: Portal, _states: CopyStates) -> Answer:
    raise SqlError(
        "42501", "must be superuser or have privileges of pg_checkpoint to do CHECKPOINT"
    )


async def _set_constraints(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    if not session.transactions.in_block:
        session.warn("25P01", "SET CONSTRAINTS can only be used in transaction blocks")
    names = portal.planned.raw.node.constraints
    if names:
        name = names[0].range_var.relname
        raise SqlError("42809", f'constraint "{name}" is not deferrable')
    return Answer("SET CONSTRAINTS")  # true: no constraint is deferrable


HANDLERS: dict[str, Handler] = {
    "transaction_stmt": transaction,
    "variable_set_stmt": variables.set_variable,
    "variable_show_stmt": variables.show,
    "discard_stmt": variables.discard,
    "prepare_stmt": prepare_commands.prepare,
    "execute_stmt": prepare_commands.execute,
    "deallocate_stmt": prepare_commands.deallocate,
    "declare_cursor_stmt": cursor_commands.declare,
    "fetch_stmt": cursor_commands.fetch,
    "close_portal_stmt": cursor_commands.close,
    "explain_stmt": explain.explain,
    "copy_stmt": copying.copy,
    "listen_stmt": notify_commands.listen,
    "unlisten_stmt": notify_commands.unlisten,
    "notify_stmt": notify_commands.notify,
    "check_point_stmt": _checkpoint,
    "constraints_set_stmt": _set_constraints,
    "lock_stmt": lock_command.lock,
    "do_stmt": _refused("DO"),
    "call_stmt": _refused("CALL"),
    "load_stmt": _refused("LOAD"),
}

Describer = Callable[["Session", RawStatement], Awaitable[tuple[ResultColumn, ...] | None]]

COLUMNS: dict[str, Describer] = {
    "variable_show_stmt": variables.show_columns,
    "explain_stmt": explain.explain_columns,
    "fetch_stmt": cursor_commands.fetch_columns,
    "execute_stmt": prepare_commands.execute_columns,
}
