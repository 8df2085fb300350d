"""SET, RESET, SHOW and DISCARD."""

import re
from typing import TYPE_CHECKING, Any

from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import ResultColumn
from sqlnode.parse import RawStatement
from sqlnode.session.portal import Portal
from sqlnode.session.settings import find, unrecognised
from sqlnode.session.utility import Answer, CopyStates, mode_of, rows_of
from sqlnode.types import oids

if TYPE_CHECKING:
    from sqlnode.session.session import Session

_VALUE, _DEFAULT, _CURRENT, _MULTI, _RESET, _RESET_ALL = range(1, 7)
_DISCARD_ALL, _DISCARD_PLANS, _DISCARD_SEQUENCES, _DISCARD_TEMP = range(1, 5)
_QUOTED_LISTS = frozenset({"search_path", "temp_tablespaces"})
_LISTS = _QUOTED_LISTS | {"DateStyle"}
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")


async def set_variable(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """SET, SET LOCAL, SET TRANSACTION, RESET."""
    node = portal.planned.raw.node
    settings = session.settings
    in_block = session.transactions.in_block
    if node.is_local and node.kind != _MULTI and not in_block:
        session.warn("25P01", "SET LOCAL can only be used in transaction blocks")
    match node.kind:
        case k if k == _VALUE:
            value = argument(node.name, node.args)
            if find(node.name) is find("role") and value in ("none", session.user):
                value = "none"
            settings.set(node.name, value, local=node.is_local)
        case k if k == _CURRENT:
            settings.set(node.name, settings[node.name], local=node.is_local)
        case k if k == _MULTI:
            await _set_transaction(session, node)
        case k if k == _RESET_ALL:
            settings.reset_all()
        case _:
            if find(node.name) is find("transaction_isolation") and not in_block:
                session.warn("25P01", "RESET TRANSACTION can only be used in transaction blocks")
            settings.reset(node.name, local=node.is_local)
    session.context.refresh()
    return Answer("RESET" if node.kind in (_RESET, _RESET_ALL) else "SET")


async def _set_transaction(session: "Session", node: Any) -> None:
    if node.name == "TRANSACTION SNAPSHOT" and node.is_local:
        raise SqlError("0A000", "SET LOCAL TRANSACTION SNAPSHOT is not implemented")
    if node.name.startswith("TRANSACTION") and not session.transactions.in_block:
        session.warn("25P01", "SET TRANSACTION can only be used in transaction blocks")
    if node.name == "TRANSACTION SNAPSHOT":
        await session.transactions.import_snapshot(argument(node.name, node.args))
        session.look_again()
        return
    mode = mode_of(node.args)
    if node.name == "TRANSACTION":
        session.transactions.set_mode(mode)
        return
    settings, local = session.settings, node.is_local
    if mode.isolation is not None:
        settings.set("default_transaction_isolation", mode.isolation, local=local)
    if mode.read_only is not None:
        text = "on" if mode.read_only else "off"
        settings.set("default_transaction_read_only", text, local=local)
    if mode.deferrable is not None:
        text = "on" if mode.deferrable else "off"
        settings.set("default_transaction_deferrable", text, local=local)


def argument(name: str, args: Any) -> str:
    """The value of SET as one text, lists as PostgreSQL flattens them. Raises SqlError."""
    setting = find(name)
    canonical = setting.name if setting is not None else name
    if len(args) > 1 and canonical not in _LISTS:
        raise SqlError("22023", f"SET {canonical} takes only one argument")
    words = [_constant(arg) for arg in args]
    if canonical in _QUOTED_LISTS:
        words = [_quoted(word) for word in words]
    return ", ".join(words)


def _constant(node: Any) -> str:
    kind = node.WhichOneof("node")
    if kind == "type_cast":  # SET TIME ZONE INTERVAL '…'
        return str(node.type_cast.arg.a_const.sval.sval)
    value = node.a_const
    match value.WhichOneof("val"):
        case "ival":
            return str(value.ival.ival)
        case "fval":
            return str(value.fval.fval)
        case "sval":
            return str(value.sval.sval)
        case "boolval":
            return "on" if value.boolval.boolval else "off"
    raise unsupported("this value in SET")


def _quoted(word: str) -> str:
    return word if _PLAIN_NAME.fullmatch(word) else '"' + word.replace('"', '""') + '"'


async def show_columns(_session: "Session", raw: RawStatement) -> tuple[ResultColumn, ...]:
    """The columns of SHOW."""
    if raw.node.name == "all":
        return tuple(ResultColumn(name, oids.TEXT) for name in ("name", "setting", "description"))
    setting = find(raw.node.name)
    return (ResultColumn(setting.name if setting is not None else raw.node.name, oids.TEXT),)


async def show(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """SHOW and SHOW ALL."""
    raw = portal.planned.raw
    columns = await show_columns(session, raw)
    if raw.node.name == "all":
        return Answer("SHOW", columns, rows_of(list(session.settings.everything())))
    value = session.settings.get(raw.node.name)
    if value is None:
        raise unrecognised(raw.node.name)
    return Answer("SHOW", columns, rows_of([(value,)]))


async def discard(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """DISCARD ALL, PLANS, SEQUENCES, TEMP."""
    target = portal.planned.raw.node.target
    if target == _DISCARD_PLANS:
        return Answer("DISCARD PLANS")  # plans are the pod's; nothing of the session's to drop
    if target == _DISCARD_SEQUENCES:
        session.sequences.discard()
        return Answer("DISCARD SEQUENCES")
    if target == _DISCARD_TEMP:
        return Answer("DISCARD TEMP")
    session.transactions.refuse_block("DISCARD ALL")
    for name in list(session.portals):
        if session.portals[name] is not portal:
            await session.close_portal(name)
    session.statements.clear()
    session.notifications.unlisten_all()
    session.advisory.unlock_all()
    session.sequences.discard()
    session.settings.reset_all()
    session.context.refresh()
    return Answer("DISCARD ALL")
