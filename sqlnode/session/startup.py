"""From the first byte to the first ReadyForQuery: startup packet, SCRAM, settings.

    StartupMessage ──▶ draining? ─┬─▶ SCRAM with a verifier (or a mock one) ──▶ database? room? ─┐
                                  └─▶ a session that another pod had (see `resuming`) ───────────┴─▶

Whether a user or a database exists is told only to who has authenticated. That the pod is draining
is told first of all, so that a proxy that hears it can still try another pod.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from dormouse.base.errors import DormouseError
from pgwire import backend as replies
from pgwire import sasl
from pgwire.errors import AuthenticationFailed, ProtocolViolation
from pgwire.link import LINK_OPTION, PRIVATE_OPTIONS, RESUME_OPTION, Link
from pgwire.scram import MECHANISM, NONCE_BYTES, ScramServer
from pgwire.startup import (
    CancelRequest,
    GssEncRequest,
    SslRequest,
    StartupMessage,
    parse_options,
)
from sqlnode.errors import SqlError
from sqlnode.session.connection import Connection
from sqlnode.session.interrupts import SessionInterrupts
from sqlnode.session.resuming import read_sealed, resumed_session
from sqlnode.session.session import Session
from sqlnode.session.settings import Settings
from sqlnode.session.tenant import Tenant

SECRET_BYTES = 4
"""Of a cancel key: what protocol 3.0 has room for."""
_NOT_SETTINGS = frozenset({"user", "database", "options", "replication"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the protocol options ask for."""

    link: Link | None
    resumes: bool
    unknown: tuple[str, ...]


def _asked(options: Mapping[str, str]) -> _Asked:
    """Raises ProtocolViolation."""
    value, resumes = options.get(LINK_OPTION), options.get(RESUME_OPTION)
    if resumes is not None and (resumes != "on" or value is None):
        raise ProtocolViolation("invalid link")
    unknown = tuple(name for name in options if name not in PRIVATE_OPTIONS)
    return _Asked(None if value is None else Link.parse(value), resumes is not None, unknown)


async def open_session(tenant: Tenant, connection: Connection) -> Session | None:
    """The session of a client that logs in or is resumed; None where it only wanted something
    cancelled.

    Raises SqlError and ProtocolViolation (to be sent as FATAL), ConnectionClosed.
    """
    message = await _introduction(tenant, connection)
    if message is None:
        return None
    asked = _asked(message.protocol_options)
    sealed = await read_sealed(connection) if asked.resumes else b""
    if tenant.draining:
        raise SqlError("57P03", "the database system is shutting down")
    if message.minor or asked.unknown:
        connection.send(replies.negotiate_protocol_version(asked.unknown))
    user = message.parameters["user"]
    if asked.resumes and asked.link is not None:
        session = resumed_session(tenant, connection, asked.link, user, sealed)
        connection.trust()
        connection.send(replies.AUTHENTICATION_OK)
        _welcome(session)
        return session
    await _authenticate(tenant, connection, user)
    connection.trust()
    database = message.parameters.get("database") or user
    if database != tenant.database:
        raise SqlError("3D000", f'database "{database}" does not exist')
    if message.parameters.get("replication", "false").lower() not in ("false", "off", "no", "0"):
        raise SqlError("0A000", "replication connections are not supported")
    if len(tenant.sessions) >= tenant.sessions_max:
        raise SqlError("53300", "sorry, too many clients already")
    session = _session(tenant, connection, message, asked.link)
    _welcome(session)
    session.tell(tenant.spending.notice())
    return session


async def _introduction(tenant: Tenant, connection: Connection) -> StartupMessage | None:
    while True:
        match await connection.read_startup():
            case SslRequest() | GssEncRequest():
                # TLS began with the first byte; there is none inside it.
                connection.send(b"N")
                connection.flush()
            case CancelRequest(pid, secret):
                tenant.cancel(pid, secret)
                return None
            case StartupMessage() as message:
                connection.end_startup()
                return message


async def _authenticate(tenant: Tenant, connection: Connection, user: str) -> None:
    verifier, doomed = tenant.verifier(user)
    scram = ScramServer(verifier, nonce=secrets.token_bytes(NONCE_BYTES), doomed=doomed)
    connection.send(replies.authentication_sasl([MECHANISM]))
    initial = sasl.parse_initial(await _sasl_body(connection))
    if initial.mechanism != MECHANISM or initial.data is None:
        raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
    connection.send(replies.authentication_sasl_continue(scram.challenge(initial.data)))
    try:
        proof = scram.verify(await _sasl_body(connection))
    except AuthenticationFailed:
        text = f'password authentication failed for user "{user}"'
        raise SqlError("28P01", text) from None
    connection.send(replies.authentication_sasl_final(proof))
    connection.send(replies.AUTHENTICATION_OK)


async def _sasl_body(connection: Connection) -> bytes:
    frame = await connection.read()
    if frame.kind != ord("p"):
        raise ProtocolViolation(f"expected SASL response, got message type {frame.kind}")
    return frame.body


def _session(
    tenant: Tenant, connection: Connection, message: StartupMessage, link: Link | None
) -> Session:
    user = message.parameters["user"]
    return Session(
        tenant,
        connection,
        _settings(tenant, message.parameters, user),
        SessionInterrupts(tenant.clock, tenant.limits.slice_seconds),
        user=user,
        pid=tenant.free_pid(0 if link is None else link.pid),
        secret=secrets.token_bytes(SECRET_BYTES) if link is None else link.cancel_secret,
        link=link,
    )


def _welcome(session: Session) -> None:
    """What a client is told between its authentication and ReadyForQuery."""
    send = session.connection.send
    for name, value in session.settings.reported().items():
        send(replies.parameter_status(name, value, session.codec))
    send(replies.backend_key_data(session.pid, session.secret))


def _settings(tenant: Tenant, parameters: Mapping[str, str], user: str) -> Settings:
    start = dict(tenant.settings)
    options = parameters.get("options", "")
    if options:
        start |= parse_options(options)
    start |= {name: value for name, value in parameters.items() if name not in _NOT_SETTINGS}
    try:
        return Settings(start, internal=tenant.facts(user))
    except DormouseError as error:
        if isinstance(error, SqlError):
            raise
        raise SqlError(error.sqlstate, error.message) from None
