"""The SQL listener of a stamped pod: TLS from the first byte, and only the proxy may speak.

    connection ──TLS, mutual──▶ certificate of the proxy? ──▶ startup, SCRAM ──▶ message loop
                                    └ no: closed without a word

A connection has one task from its first byte to its end. The certificate says that the proxy is
calling; who the client is, SCRAM says, between the client and this pod, or the seal of a session
that another pod of the tenant has had.

A connection counts until it is closed and its task has ended: what was written last has gone out by
then, and nothing of it runs any more.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any

from dormouse.base import logs
from dormouse.base.errors import DormouseError
from dormouse.base.tasks import spawn
from dormouse.base.tls import Identity, Role, peer_identity
from pgwire.errors import ProtocolViolation
from pgwire.notices import error_response
from sqlnode.errors import SqlError
from sqlnode.session.backend import Backend, Terminated
from sqlnode.session.connection import Connection, ConnectionClosed
from sqlnode.session.interrupts import SessionEnded
from sqlnode.session.replies import error_notice, internal_error
from sqlnode.session.session import Session
from sqlnode.session.startup import open_session
from sqlnode.session.tenant import Tenant

_log = logging.getLogger(__name__)
_PROXY = Identity(role=Role.PROXY)
HANDSHAKES_MAX = 1024
"""Connections that have no session yet; more are closed at once. A proxy that moves sessions here
opens one for each before it asks for them."""
TLS_SHUTDOWN_SECONDS = 2.0
"""How long a closed connection waits for the other side to say that it has heard."""
GRACE_SECONDS = 5.0
"""From telling sessions to end until their connections are cut."""


def shutting_down() -> SqlError:
    """What sessions of a draining pod are told."""
    return SqlError("57P01", "terminating connection due to administrator command")


class SqlServer:
    """Accepts connections for a tenant; `on_gone` is called after each connection's end.

    `context` None listens without TLS and trusts whoever connects: for tests, on loopback only.
    """

    def __init__(
        self,
        tenant: Tenant,
        *,
        context: ssl.SSLContext | None,
        on_gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._tenant = tenant
        self._context = context
        self._on_gone = on_gone
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._sent_bytes = 0
        self._empty = asyncio.Event()
        """No connection is open."""
        self._empty.set()
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        self._opening = 0
        self._sessions: dict[Connection, Session] = {}

    async def start(self, host: str, port: int = 0) -> int:
        """Listen; the port. Raises OSError, and ValueError for plain text beyond loopback."""
        if self._context is None and host not in ("127.0.0.1", "::1"):
            raise ValueError("without TLS only loopback may be listened on")
        loop = asyncio.get_running_loop()
        shutdown = None if self._context is None else TLS_SHUTDOWN_SECONDS
        self._server = await loop.create_server(
            self._connection,
            host,
            port,
            ssl=self._context,
            ssl_shutdown_timeout=shutdown,
            backlog=1024,
        )
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Clients that are connected, logged in or not."""
        return len(self._connections)

    @property
    def sent_bytes(self) -> int:
        """Bytes written for clients so far."""
        return self._sent_bytes + sum(each.sent_bytes for each in self._connections)

    def connect(self, transport: asyncio.Transport) -> Connection:
        """Serve a client behind a transport that this server did not make."""
        connection = self._connection()
        connection.connection_made(transport)
        return connection

    def _connection(self) -> Connection:
        return Connection(self._tenant.limits, accept=self._accept, gone=self._gone)

    def _accept(self, connection: Connection) -> None:
        if self._opening >= HANDSHAKES_MAX or not self._is_proxy(connection):
            connection.abort()
            return
        self._opening += 1
        self._connections.add(connection)
        self._empty.clear()
        self._tasks[connection] = spawn(self._serve(connection), name="session")

    def _is_proxy(self, connection: Connection) -> bool:
        if self._context is None:
            return True
        tls: Any = connection.extra("ssl_object")
        who = peer_identity(tls.getpeercert) if tls is not None else None
        if who != _PROXY:
            _log.warning("connection refused", extra={"caller": str(who)})
        return who == _PROXY

    def _gone(self, connection: Connection) -> None:
        session = self._sessions.get(connection)
        if session is not None:
            session.interrupts.end_session(None)
        self._count_out(connection)

    def _count_out(self, connection: Connection) -> None:
        if connection.closed and connection not in self._tasks and connection in self._connections:
            self._connections.discard(connection)
            self._sent_bytes += connection.sent_bytes
            if not self._connections:
                self._empty.set()
            self._on_gone()

    async def _serve(self, connection: Connection) -> None:
        tenant = self._tenant
        try:
            session = await self._open(connection)
            if session is None:
                return
            tenant.sessions[session.pid] = session
            self._sessions[connection] = session
            if not session.resumed:
                tenant.was_used()
            session.interrupts.task = asyncio.current_task()
            with logs.bound(pid=session.pid):
                await self._converse(session)
        finally:
            self._tasks.pop(connection, None)
            self._sessions.pop(connection, None)
            connection.close()
            self._count_out(connection)

    async def _open(self, connection: Connection) -> Session | None:
        try:
            async with asyncio.timeout(self._tenant.limits.startup_seconds):
                return await open_session(self._tenant, connection)
        except ConnectionClosed:
            return None
        except TimeoutError:
            _log.info("startup timed out")
            return None
        except DormouseError as error:
            connection.send(error_response(error_notice(error, severity="FATAL")))
            return None
        except Exception as unexpected:  # noqa: BLE001 - a stranger's bytes must not end the pod
            connection.send(
                error_response(error_notice(internal_error(unexpected), severity="FATAL"))
            )
            return None
        finally:
            self._opening -= 1

    async def _converse(self, session: Session) -> None:
        """The session's life; whatever ends it, its transaction is rolled back."""
        error: DormouseError | None = None
        try:
            await session.meter.drive(Backend(session).run())
        except (ConnectionClosed, Terminated):
            pass  # the client has gone, which is its right
        except SessionEnded as ended:
            error = ended.error
        except ProtocolViolation as violation:
            error = violation
        except Exception as unexpected:  # noqa: BLE001 - one session must not end the pod
            error = internal_error(unexpected)
        finally:
            del self._tenant.sessions[session.pid]
            if session.busy:
                session.busy = False
                self._tenant.statement_ended()
            elif session.transactions.active:
                self._tenant.was_used()
            await session.close()
        if error is not None:
            notice = error_notice(error, severity="FATAL")
            session.connection.send(error_response(notice, session.codec))

    # --- the end -----------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Take no new connections."""
        if self._server is not None:
            self._server.close()

    def end_sessions(self) -> None:
        """End every session with 57P01, at once if it waits for its client."""
        for session in list(self._sessions.values()):
            session.interrupts.end_session(shutting_down())

    async def end_connections(self) -> None:
        """End all that are open now; cut those that are still there after GRACE_SECONDS."""
        self.end_sessions()
        farewell = error_response(error_notice(shutting_down(), severity="FATAL"))
        for connection, task in list(self._tasks.items()):
            if connection not in self._sessions:
                connection.send(farewell)
                task.cancel()
        open_now = set(self._connections)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._empty.wait()
        for connection in open_now & self._connections:
            connection.abort()

    async def close(self) -> None:
        """Stop listening, end every session, and wait until all are gone."""
        self.stop_listening()
        await self.end_connections()
