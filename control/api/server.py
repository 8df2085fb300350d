"""The HTTP server: uvicorn with TLS that can be replaced, and with a limit on every wait.

    accept ─▶ counted ─▶ TLS ─▶ head of a request ─▶ its body ─▶ work ─▶ answer is read ─▶ idle
                │       10 s         10 s           10 s, gate              30 s           30 s
                └ full: see connections.py             a byte now and then extends none of these

Uvicorn itself waits for ever for a head that comes a byte at a time, for a client that does not
read, and a minute for a handshake. Whoever is too slow with a head is told (408), the others are
cut. A connection counts from the moment it is accepted.

At the end nobody new is accepted, for the successor does that (docs/machine.md); but whoever has
been, and has not got as far as a first request, is waited for: nobody else will answer it.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from control.api.connections import Connections
from control.api.gate import address_group
from control.api.problems import Problem
from control.api.tls import ApiTls
from control.buckets import Allowance, Buckets
from control.metrics import HTTP_CONNECTIONS, HTTP_CUT
from dormouse.base import tasks

_BACKLOG = 1024
_GRACE_SECONDS = 5
_UNHEARD_SECONDS = 1.0
"""How long the end waits for first requests of those who are connected."""
_IDLE_SECONDS = 30
_HEAD_BYTES_MAX = 32 * 1024
_RETRY_SECONDS = 0.1
_SHUTDOWN_SECONDS = 1.0
"""How long the other side may take to agree to an end of TLS."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may take."""

    connections_max: int
    connections_per_address: int
    handshake_seconds: float
    head_seconds: float
    """From a connection's begin, or from the first byte of a later request."""
    unread_seconds: float
    """For which a client may leave unread what was sent to it."""


class _Hall:
    """Everybody who is connected."""

    def __init__(self, limits: Limits, tls: ApiTls | None) -> None:
        self.limits = limits
        self.tls = tls
        self._present: Connections[_Connection] = Connections(
            total_max=limits.connections_max, per_address_max=limits.connections_per_address
        )
        self._lines = Buckets(Allowance(rate=1.0, burst=5.0))
        self._unheard: set[_Connection] = set()
        """They have not asked anything yet."""
        self._all_heard = asyncio.Event()

    def enter(self, newcomer: "_Connection") -> bool:
        """Whether the newcomer is let in."""
        admission = self._present.admit(newcomer, address_group(newcomer.address))
        if admission.full is not None:
            gone = admission.evicted or newcomer
            self.cut(gone, "evicted" if admission.is_let_in else admission.full)
        HTTP_CONNECTIONS.set(len(self._present))
        if admission.is_let_in:
            self._unheard.add(newcomer)
        return admission.is_let_in

    def leave(self, who: "_Connection") -> None:
        """It has ended."""
        self._present.leave(who)
        self._hear(who)
        HTTP_CONNECTIONS.set(len(self._present))

    def note(self, who: "_Connection", *, is_busy: bool) -> None:
        """Whether it has a request in work."""
        if is_busy:
            self._hear(who)
        (self._present.busy if is_busy else self._present.idle)(who)

    def cut(self, who: "_Connection", reason: str) -> None:
        """End a connection, and say so; in the log a few times a second at most."""
        HTTP_CUT.labels(reason).inc()
        if not self._lines.take(reason, asyncio.get_running_loop().time()):
            _log.info("connection cut", extra={"reason": reason, "address": who.address})
        self._hear(who)
        who.abort()

    async def all_heard(self, seconds: float) -> None:
        """Wait for the first request of everybody who is connected, so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._unheard:
                    self._all_heard.clear()
                    await self._all_heard.wait()

    def _hear(self, who: "_Connection") -> None:
        self._unheard.discard(who)
        if not self._unheard:
            self._all_heard.set()


class _Connection:
    """A connection from the moment it is accepted; HTTP begins when TLS is there."""

    def __init__(self, client: socket.socket, address: str, http: "_Http") -> None:
        self.address = address
        self._http = http
        self._client: socket.socket | None = client
        """Until there is a transport, which owns it then."""
        self._beginning: asyncio.Task[None] | None = None

    def begin(self, hall: _Hall) -> None:
        """Go on by itself; `hall` has let it in."""
        self._beginning = tasks.spawn(self._begin(hall), name="connection")

    def abort(self) -> None:
        """End it at once."""
        transport: asyncio.Transport | None = self._http.transport
        if transport is not None:
            transport.abort()
        elif self._beginning is not None:
            self._beginning.cancel()
        if self._client is not None:
            self._client.close()

    async def _begin(self, hall: _Hall) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        self._http.enter(self, hall)
        has_tls = hall.tls is not None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._http,
                client,
                ssl=hall.tls.context if hall.tls is not None else None,
                ssl_handshake_timeout=hall.limits.handshake_seconds if has_tls else None,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS if has_tls else None,
            )
        except OSError:  # a time-out is one, and whatever TLS has to say
            HTTP_CUT.labels("handshake").inc()
            hall.leave(self)
        except asyncio.CancelledError:
            hall.leave(self)
            raise


class _Http(H11Protocol):
    """Uvicorn's protocol with a limit on a head and on what is left unread."""

    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def enter(self, arrival: _Connection, hall: _Hall) -> None:
        """Whose HTTP it is."""
        self._arrival = arrival
        self._hall = hall

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See H11Protocol."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        self._look(has_bytes=True)

    def on_response_complete(self) -> None:
        """See H11Protocol."""
        super().on_response_complete()
        self._look(has_bytes=bool(self.conn.trailing_data[0]))

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        seconds = self._hall.limits.unread_seconds
        self._unread = self.loop.call_later(seconds, self._hall.cut, self._arrival, "unread")

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        _cancel(self._unread)

    def send_400_response(self, msg: str) -> None:
        """See H11Protocol: for what is no HTTP, wherever in a request it comes."""
        cycle: RequestResponseCycle | None = self.cycle
        HTTP_CUT.labels("bad_request").inc()
        if cycle is not None:
            cycle.disconnected = True  # whatever it answers, nobody is to hear it
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            detail = "this is no HTTP request, or its head is too large"
            self._answer(Problem(HTTPStatus.BAD_REQUEST, "bad_request", detail))
        self._close()

    def timeout_keep_alive_handler(self) -> None:
        """See H11Protocol."""
        super().timeout_keep_alive_handler()
        self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        _cancel(self._head)
        _cancel(self._unread)
        self._hall.leave(self._arrival)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def _look(self, *, has_bytes: bool) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        is_busy = cycle is not None and not cycle.response_complete
        self._hall.note(self._arrival, is_busy=is_busy)
        if is_busy:
            _cancel(self._head)
            self._head = None
        elif has_bytes and self._head is None:
            self._await_head()

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self._hall.limits.head_seconds, self._too_slow)

    def _too_slow(self) -> None:
        """Tell whoever began to say something; end it at once where it does not listen either."""
        self._head = None
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            detail = "the head of the request did not come in time"
            self._answer(Problem(HTTPStatus.REQUEST_TIMEOUT, "head_timeout", detail))
            HTTP_CUT.labels("head").inc()
            self._close()
        else:
            self._hall.cut(self._arrival, "head")

    def _close(self) -> None:
        """Let what is written be read for a moment, and no longer."""
        self.transport.close()
        self.loop.call_later(_SHUTDOWN_SECONDS, self.transport.abort)

    def _answer(self, problem: Problem) -> None:
        response = problem.response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        events = (
            h11.Response(status_code=response.status_code, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")


class _Server(uvicorn.Server):
    """Uvicorn that accepts as above, and leaves the signals to the role."""

    def __init__(self, config: uvicorn.Config, hall: _Hall) -> None:
        super().__init__(config)
        self._hall = hall

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See `uvicorn.Server.capture_signals`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.startup`."""
        self.servers = []  # of asyncio's: there is nothing to count them by before TLS
        self._accepting = [
            tasks.spawn(self._accept(each), name="accept API clients") for each in sockets or ()
        ]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.shutdown`."""
        await tasks.cancel(*self._accepting)
        await self._hall.all_heard(_UNHEARD_SECONDS)
        await super().shutdown(sockets)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                client, address = await loop.sock_accept(listener)
            except ConnectionError:
                continue  # it went away while it waited
            except OSError as error:  # out of descriptors: those who leave make room
                _log.error("accept failed", extra={"cause": repr(error)})
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            http = _Http(config=self.config, server_state=self.server_state, app_state={})
            newcomer = _Connection(client, str(address[0]), http)
            if self._hall.enter(newcomer):
                newcomer.begin(self._hall)


@contextlib.asynccontextmanager
async def serve_http(
    app: ASGIApp, sockets: Sequence[socket.socket], *, limits: Limits, tls: ApiTls | None
) -> AsyncIterator[None]:
    """Serve `app` on listening sockets, which are closed at the end."""
    config = uvicorn.Config(
        app,
        http=_Http,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # what strangers send is counted, and does not fill the log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_HEAD_BYTES_MAX,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        backlog=_BACKLOG,
    )
    server = _Server(config, _Hall(limits, tls))
    serving = tasks.spawn(server.serve(sockets=list(sockets)), name="HTTP API")
    try:
        while not server.started:
            if serving.done():
                raise RuntimeError("the HTTP server ended at once")
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await serving


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
