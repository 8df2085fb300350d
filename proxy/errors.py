"""What the proxy says to clients of its own accord. Causes stay in the log."""

from dormouse.base.errors import Blame, DormouseError
from pgwire.notices import Notice, error_response

FORMS_HINT = (
    "Name it as <name>-<id>: in the host name (TLS with SNI), as options=--tenant=<name>-<id>, "
    "as user <user>.<name>-<id>, or as database <name>-<id>.<database>."
)


class Rejected(DormouseError):
    """The connection cannot be made as it was asked for."""

    sqlstate = "08004"
    blame = Blame.USER


class TooManyConnections(DormouseError):
    """The proxy is full."""

    sqlstate = "53300"
    blame = Blame.LIMIT
    retryable = True


def needs_tls() -> Rejected:
    """A startup message in the clear."""
    return Rejected(
        "connections without TLS are not accepted",
        sqlstate="28000",
        hint="Connect with sslmode=require, or better sslmode=verify-full.",
    )


def no_tenant() -> Rejected:
    """No form named one."""
    return Rejected("the connection names no tenant", hint=FORMS_HINT)


def conflicting_tenants() -> Rejected:
    """Two forms named two."""
    return Rejected("the connection names two different tenants", hint=FORMS_HINT)


def unknown_tenant() -> Rejected:
    """Does not tell whether the number or the name was wrong."""
    return Rejected(
        "there is no such tenant", hint="Check both the name and the number in <name>-<id>."
    )


def packet(error: DormouseError) -> bytes:
    """The error as a FATAL ErrorResponse."""
    return error_response(
        Notice("FATAL", error.sqlstate, error.message, detail=error.detail, hint=error.hint)
    )


SHUTDOWN = error_response(
    Notice(
        "FATAL",
        "57P01",
        "terminating connection due to administrator command",
        hint="Connect again: it will be served at once.",
    )
)
POD_GONE = error_response(
    Notice(
        "FATAL",
        "57P01",
        "terminating connection because its server ended",
        hint="Connect again and repeat the transaction.",
    )
)
