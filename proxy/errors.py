"""What the proxy says to clients of its own accord. Causes stay in the log."""

import math
from enum import StrEnum
from typing import Any

from dormouse.base.errors import Blame, DormouseError, Unavailable
from pgwire.errors import BadText, ProtocolViolation
from pgwire.notices import Notice, error_response
from proxy.addresses import Address

FORMS_HINT = (
    "Name it as <name>-<id>: in the host name (TLS with SNI), as options=--tenant=<name>-<id>, "
    "as user <user>.<name>-<id>, or as database <name>-<id>.<database>."
)


class Reason(StrEnum):
    """Why a connection was turned away; a metric label."""

    NO_TLS = "no_tls"
    NO_TENANT = "no_tenant"
    TWO_TENANTS = "two_tenants"
    UNKNOWN_TENANT = "unknown_tenant"
    NOT_ALLOWED = "not_allowed"
    THROTTLED = "throttled"
    FULL = "full"
    TENANT_FULL = "tenant_full"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    UNAVAILABLE = "unavailable"
    ENDED = "ended"
    OTHER = "other"


class Rejected(DormouseError):
    """The connection cannot be made as it was asked for."""

    sqlstate = "08004"
    blame = Blame.USER

    def __init__(self, message: str, *, reason: Reason = Reason.OTHER, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.reason = reason


class TooManyConnections(Rejected):
    """The proxy is full, or the tenant has as many connections as it may."""

    sqlstate = "53300"
    blame = Blame.LIMIT
    retryable = True


def reason_of(error: DormouseError) -> Reason:
    """For the metric and the log."""
    if isinstance(error, Rejected):
        return error.reason
    if isinstance(error, ProtocolViolation | BadText):
        return Reason.PROTOCOL
    return Reason.UNAVAILABLE if isinstance(error, Unavailable) else Reason.OTHER


def needs_tls() -> Rejected:
    """A startup message in the clear."""
    return Rejected(
        "connections without TLS are not accepted",
        reason=Reason.NO_TLS,
        sqlstate="28000",
        hint="Connect with sslmode=require, or better sslmode=verify-full.",
    )


def no_tenant() -> Rejected:
    """No form named one."""
    return Rejected("the connection names no tenant", reason=Reason.NO_TENANT, hint=FORMS_HINT)


def conflicting_tenants() -> Rejected:
    """Two forms named two."""
    return Rejected(
        "the connection names two different tenants", reason=Reason.TWO_TENANTS, hint=FORMS_HINT
    )


def unknown_tenant() -> Rejected:
    """Does not tell whether the number or the name was wrong."""
    return Rejected(
        "there is no such tenant",
        reason=Reason.UNKNOWN_TENANT,
        hint="Check both the name and the number in <name>-<id>.",
    )


def not_allowed(address: Address | None) -> Rejected:
    """The tenant's list of networks does not have the client's address; says no more than that."""
    return Rejected(
        f'connections from host "{address}" are not allowed',
        reason=Reason.NOT_ALLOWED,
        sqlstate="28000",
    )


def throttled(seconds: float) -> Rejected:
    """Too many wrong passwords; nobody looked at this one."""
    return Rejected(
        "too many failed login attempts",
        reason=Reason.THROTTLED,
        sqlstate="28000",
        blame=Blame.LIMIT,
        hint=f"Wait {math.ceil(seconds)} s before the next attempt.",
    )


def too_many_clients() -> TooManyConnections:
    """PostgreSQL's words for a full server."""
    return TooManyConnections("sorry, too many clients already", reason=Reason.FULL)


def too_many_for_tenant(name: str) -> TooManyConnections:
    """PostgreSQL's words for a full database."""
    return TooManyConnections(
        f'too many connections for database "{name}"', reason=Reason.TENANT_FULL
    )


def login_timed_out() -> Rejected:
    """PostgreSQL's words for authentication_timeout."""
    return Rejected(
        "canceling authentication due to timeout", reason=Reason.TIMEOUT, sqlstate="57014"
    )


def administrator_ended(hint: str | None = None) -> Rejected:
    """PostgreSQL's words for pg_terminate_backend and a shutdown."""
    return Rejected(
        "terminating connection due to administrator command",
        reason=Reason.ENDED,
        sqlstate="57P01",
        blame=Blame.SERVICE,
        hint=hint,
    )


def pod_gone() -> Rejected:
    """The pod has died, and with it what the session was doing."""
    return Rejected(
        "terminating connection because its server ended",
        reason=Reason.ENDED,
        sqlstate="57P01",
        blame=Blame.POD,
        hint="Connect again and repeat the transaction.",
    )


def packet(error: DormouseError) -> bytes:
    """The error as a FATAL ErrorResponse."""
    return error_response(
        Notice("FATAL", error.sqlstate, error.message, detail=error.detail, hint=error.hint)
    )


SHUTDOWN = packet(administrator_ended("Connect again: it will be served at once."))
POD_GONE = packet(pod_gone())
