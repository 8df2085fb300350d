"""Errors that say who is to blame, whether the user may see it, whether to retry, which SQLSTATE.

A `DormouseError` is an expected failure that somebody handles. Its message and hint are written for
the client that caused it; the cause chained behind it is for the log only. Anything else that
escapes is a programming error: it is logged where it is caught and reaches a client only as an
internal error without its text.
"""

from enum import StrEnum


class Blame(StrEnum):
    """Who has to act; also the label of the error metrics."""

    USER = "user"
    CLIENT_GONE = "client_gone"
    LIMIT = "limit"
    SERVICE = "service"
    POD = "pod"
    STORAGE = "storage"
    CONTROL = "control"


class DormouseError(Exception):
    """An expected failure, fit to be shown to the client that caused it."""

    sqlstate = "XX000"
    blame = Blame.SERVICE
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str | None = None,
        blame: Blame | None = None,
        retryable: bool | None = None,
        detail: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
        if sqlstate is not None:
            self.sqlstate = sqlstate
        if blame is not None:
            self.blame = blame
        if retryable is not None:
            self.retryable = retryable


class Unavailable(DormouseError):
    """A role that is needed does not answer now; the same call may succeed later."""

    sqlstate = "57P03"
    blame = Blame.SERVICE
    retryable = True
