"""Errors and notices as the client gets them."""

import logging

from dormouse.base.errors import DormouseError
from pgwire.notices import Notice
from sqlnode.errors import SqlError

_log = logging.getLogger(__name__)

_LEVELS = {
    name: rank
    for rank, name in enumerate(
        ("debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error")
    )
}


def error_notice(error: DormouseError, *, severity: str = "ERROR", offset: int = 0) -> Notice:
    """The fields of an error. `offset` is where the statement's text starts in the client's."""
    if not isinstance(error, SqlError):
        return Notice(severity, error.sqlstate, error.message, error.detail, error.hint)
    return Notice(
        severity,
        error.sqlstate,
        error.message,
        detail=error.detail,
        hint=error.hint,
        position=0 if error.position is None else error.position + offset + 1,
        where=error.where,
        schema=error.schema,
        table=error.table,
        column=error.column,
        datatype=error.datatype,
        constraint=error.constraint,
    )


def internal_error(error: BaseException) -> DormouseError:
    """What the client is told of a programming error: nothing of its text. It is logged here."""
    _log.error("internal error in a session", exc_info=error)
    return DormouseError("internal error")


def wanted(severity: str, client_min_messages: str) -> bool:
    """Whether a notice of this severity goes to the client (INFO always does)."""
    if severity == "INFO":
        return True
    level = "debug1" if severity.startswith("DEBUG") else severity.lower()
    return _LEVELS.get(level, 0) >= _LEVELS[client_min_messages]
