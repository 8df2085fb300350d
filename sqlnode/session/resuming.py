"""Taking up a session that another pod had: a seal instead of a password.

    startup message, link, RESUME_OPTION ─▶ resume frame ─▶ opened, ours, in time? ─▶ session
                                                              └ no: 28000, the cause in the log

The seal says who the session is: it can only have been made by a pod of this tenant, for a session
that had authenticated. The startup message has to name the same user, so that a proxy that mixes
up two of its sessions does not go unnoticed.
"""

import logging

from pgwire.errors import ProtocolViolation
from pgwire.link import KIND, SEALED_BYTES_MAX, Link
from sqlnode.errors import SqlError
from sqlnode.session import moving
from sqlnode.session.connection import Connection
from sqlnode.session.interrupts import SessionInterrupts
from sqlnode.session.moving import State
from sqlnode.session.prepared import Statements
from sqlnode.session.seals import SealBroken
from sqlnode.session.session import Session
from sqlnode.session.settings import Settings
from sqlnode.session.tenant import Tenant

_log = logging.getLogger(__name__)


async def read_sealed(connection: Connection) -> bytes:
    """The body of the frame that follows the startup message. Raises ProtocolViolation."""
    connection.expect(SEALED_BYTES_MAX)
    frame = await connection.read()
    if frame.kind != KIND:
        raise ProtocolViolation(f"expected a session to resume, got message type {frame.kind}")
    return frame.body


def resumed_session(
    tenant: Tenant, connection: Connection, link: Link, user: str, sealed: bytes
) -> Session:
    """The session in a seal, for `user`. Raises SqlError 28000 where the seal is of no worth,
    57P05 where the client has been silent for longer than its idle_session_timeout."""
    try:
        state = _opened(tenant, user, sealed)
    except SealBroken as broken:
        _log.warning("seal refused", extra={"cause": str(broken), "size": len(sealed)})
        raise SqlError("28000", "the session cannot be resumed") from None
    internal = tenant.facts(state.user)
    settings = Settings.resumed(state.start, state.changed, internal=internal)
    session = Session(
        tenant,
        connection,
        settings,
        SessionInterrupts(tenant.clock, tenant.limits.slice_seconds),
        user=state.user,
        pid=tenant.free_pid(state.pid),
        secret=link.cancel_secret,
        link=link,
    )
    session.resumed = True
    session.told = state.told
    session.statements = Statements(state.statements)
    session.sequences.restore(state.last_sequence, state.given)
    _count_silence(session, state)
    extra = {"pid": session.pid, "sealed_for": state.purpose, "statements": len(state.statements)}
    _log.info("session resumed", extra=extra)
    return session


def _opened(tenant: Tenant, user: str, sealed: bytes) -> State:
    if tenant.seals is None:
        raise SealBroken("this pod has no session key")
    state = State.decode(tenant.seals.open(sealed))
    if state.expires_ns <= tenant.clock.wall_ns():
        raise SealBroken("expired")
    if state.database != tenant.database:
        raise SealBroken("of another database")
    if state.user != user:
        raise SealBroken("of another user")
    if not tenant.has_role(user):
        raise SealBroken("its user is no more")
    return state


def _count_silence(session: Session, state: State) -> None:
    """idle_session_timeout runs on while a session moves or is parked. A checkpoint does not tell
    how long the client has been silent, so after a pod's death it starts anew."""
    if state.purpose == moving.CHECKPOINT:
        return
    clock = session.tenant.clock
    silent_seconds = max(clock.wall_ns() - state.waits_since_ns, 0) / 1e9
    session.waits_since = clock.monotonic() - silent_seconds
    _, timeout_ms = session.idle_timeout()
    if 0 < timeout_ms <= silent_seconds * 1000:
        raise idle_session()


def idle_session() -> SqlError:
    """What a client is told that was silent for longer than idle_session_timeout."""
    return SqlError("57P05", "terminating connection due to idle-session timeout")
