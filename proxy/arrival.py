"""A client connection from its first byte until its session is open.

    socket ─▶ (header) ─▶ preamble ─▶ TLS ─▶ startup ─▶ route ─▶ let in? ─▶ pod ─▶ login ─▶ session
                         └─ startup_timeout ─┘         └────── login_timeout ──────┘

    let in?   not throttled, known tenant, address allowed, room left; only then is anything woken

A task leads the connection through all this and then ends; what remains is the `Session`.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import cast

from dormouse.base import logs
from dormouse.base.errors import DormouseError, Unavailable
from dormouse.base.ids import TenantAddress
from pgwire.errors import ProtocolViolation
from pgwire.startup import (
    STARTUP_BYTES_MAX,
    CancelRequest,
    StartupDecoder,
    StartupMessage,
    StartupPacket,
)
from proxy import errors, metrics
from proxy.access import check_access
from proxy.addresses import Address
from proxy.attempts import Attempt
from proxy.dialer import SHUTDOWN_SECONDS, Dialer
from proxy.door import Door
from proxy.guests import Guest
from proxy.peers import Peers
from proxy.preamble import ClientGone, Opening, open_connection, read_proxy_header
from proxy.proxyprotocol import BadHeader
from proxy.routing import Route, route
from proxy.session import Session
from proxy.stopwatch import Stopwatch
from proxy.throttle import Outcome

SEND_SECONDS = 2.0
UNREAD_PIECES_MAX = 16
WRONG_PASSWORD = "28P01"

_log = logging.getLogger(__name__)


class LoginRefused(ClientGone):
    """The pod has told the client why it may not log in, and hung up."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class StartupEnd(asyncio.Protocol):
    """A client that has TLS and has not said yet what it wants."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self.packet: asyncio.Future[StartupPacket] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self._decoder = StartupDecoder()
        self._on_lost = on_lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._decoder.feed(data)
        if self.packet.done() or self.transport is None:
            return
        try:
            packet = self._decoder.next()
        except Exception as error:  # noqa: BLE001 - it goes to whoever awaits the packet
            self.packet.set_exception(error)
        else:
            if packet is None:
                return
            self.packet.set_result(packet)
        self.transport.pause_reading()

    def rest(self) -> bytes:
        """What the client has sent beyond the packet (it may not have waited)."""
        return self._decoder.rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if not self.packet.done():
            self.packet.set_exception(exc or ConnectionResetError("client hung up"))
            self.packet.exception()  # nobody may be waiting any more
        self._on_lost()


class Arrival:
    """See the module. `run` once; `on_gone` is called when the client's connection is no more."""

    __slots__ = (
        "__weakref__",
        "_counted_out",
        "_door",
        "_ending",
        "_guest",
        "_name",
        "_on_gone",
        "_peers",
        "_session",
        "_socket",
        "_startup",
        "_task",
        "_tenant",
        "_transport",
    )

    def __init__(
        self,
        door: Door,
        peers: Peers,
        client: socket.socket,
        guest: Guest,
        *,
        name: str,
        on_gone: Callable[[], None],
    ) -> None:
        self._door = door
        self._peers = peers
        self._guest = guest
        self._on_gone = on_gone
        self._counted_out = False
        self._socket: socket.socket | None = client
        self._name = name
        self._startup: StartupEnd | None = None
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._task: asyncio.Task[object] | None = None
        self._ending: DormouseError | None = None
        """Set where the task is cancelled: what to tell the client."""
        self._tenant: TenantAddress | None = None
        guest.cut = self._cut

    def __repr__(self) -> str:
        return f"<Arrival {self._name} {self._guest} {self._session}>"

    async def run(self, address: Address, *, balanced: bool) -> None:
        """Bring the connection up to its session, or end it.

        `address` is the peer's; where it is a load balancer (`balanced`), its header tells the
        client's.
        """
        self._task = asyncio.current_task()
        with logs.bound(session=self._name):
            try:
                if balanced:
                    address = await self._read_header() or address
                with logs.bound(client=str(address)):
                    await self._admit(address)
            except ClientGone as error:
                _log.debug("client gone", extra={"cause": repr(error)})
                self._close()
            except BaseException:
                self._close()
                raise
            finally:
                self._task = None

    async def _read_header(self) -> Address | None:
        """The client the header tells of. Raises ClientGone where there is no header."""
        if self._socket is None:
            raise RuntimeError("an arrival runs once")
        try:
            async with asyncio.timeout(self._door.limits.proxy_header_timeout):
                told = await read_proxy_header(self._socket)
        except (BadHeader, TimeoutError) as error:
            reason = "header_late" if isinstance(error, TimeoutError) else "header_bad"
            metrics.HUNG_UP.labels(reason).inc()
            _log.warning("no PROXY header", extra={"reason": reason, "cause": repr(error)})
            raise ClientGone from error
        except OSError as error:
            raise ClientGone from error
        metrics.PROXY_HEADERS.labels("no" if told is None else "yes").inc()
        return told

    async def _admit(self, address: Address) -> None:
        if not self._door.guests.come_from(self._guest, address):
            metrics.HUNG_UP.labels("handshakes").inc()
            _log.warning("too many handshakes of one address")
            raise ClientGone
        try:
            await self._log_in()
        except DormouseError as error:
            await self._reject(error)
        except TimeoutError:
            await self._reject(errors.login_timed_out())
        except OSError as error:  # ssl.SSLError is one
            raise ClientGone from error
        except asyncio.CancelledError:
            if self._ending is None or self._task is None:
                raise
            self._task.uncancel()
            await self._reject(self._ending)

    async def _log_in(self) -> None:
        door, polite = self._door, self._guest.polite
        begun = door.clock.monotonic()
        limits = door.limits
        async with asyncio.timeout(limits.polite_timeout if polite else limits.startup_timeout):
            packet = await self._start()
        metrics.HANDSHAKE_SECONDS.observe(door.clock.monotonic() - begun)
        if isinstance(packet, CancelRequest):
            await self._peers.cancel(packet)
            self._close()  # PostgreSQL answers nothing, and the client waits for the end
            return
        if polite:
            raise errors.too_many_clients()
        async with asyncio.timeout(limits.login_timeout):
            await self._serve(packet)

    # Up to the startup message

    async def _start(self) -> StartupMessage | CancelRequest:
        if self._socket is None:
            raise RuntimeError("an arrival runs once")
        opening = await open_connection(self._socket)
        if isinstance(opening, CancelRequest):
            return opening
        startup = await self._upgrade(self._socket)
        if opening is Opening.DIRECT and self._ssl_object().selected_alpn_protocol() is None:
            raise ProtocolViolation(
                "received direct TLS connection request without ALPN protocol negotiation extension"
            )
        packet = await startup.packet
        if isinstance(packet, StartupMessage | CancelRequest):
            return packet
        raise ProtocolViolation("unsupported request inside TLS")

    async def _upgrade(self, client: socket.socket) -> StartupEnd:
        startup = self._startup = StartupEnd(self._gone)
        self._socket = None  # the transport's from here on, whatever comes of it
        limits = self._door.limits
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: startup,
            client,
            ssl=self._door.client_tls.context,
            ssl_handshake_timeout=limits.startup_timeout,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
        if startup.transport is None:
            raise ClientGone
        self._transport = startup.transport
        self._transport.set_write_buffer_limits(limits.buffer_bytes)
        return startup

    def _ssl_object(self) -> ssl.SSLObject:
        if self._transport is None:
            raise ClientGone
        connection: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        return connection

    # From the startup message to the session

    async def _serve(self, startup: StartupMessage) -> None:
        watch = Stopwatch(self._door.clock)
        routed = route(startup, self._door.client_tls.name_of(self._ssl_object()))
        metrics.ROUTED.labels(routed.form.value).inc()
        self._tenant = routed.tenant
        with logs.bound(tenant=routed.tenant.id):
            key = (self._guest.neighbourhood, routed.tenant.id)
            async with self._door.attempts.attempt(key) as attempt:
                known = await self._door.tenants.check(routed.tenant)
                # From here until the guest has asked for the tenant nothing is awaited: a change of
                # the tenant's rules is either known already, or finds the guest.
                check_access(known, self._guest.address)
                self._door.guests.ask_for(self._guest, known)
                watch.lap("resolve")
                woken = await self._try_login(routed, watch, attempt)
            self._door.guests.settle(self._guest)
            if woken:
                watch.observe_wake()
            seconds = watch.total()
            metrics.LOGIN_SECONDS.labels("yes" if woken else "no").observe(seconds)
            extra = {"form": routed.form.value, "seconds": round(seconds, 4), "woken": woken}
            _log.info("session open", extra=extra)

    async def _try_login(self, routed: Route, watch: Stopwatch, attempt: Attempt) -> bool:
        try:
            woken = await self._relay_login(routed, watch)
        except LoginRefused as error:
            if error.sqlstate == WRONG_PASSWORD:
                attempt.outcome = Outcome.FAILED
                metrics.FAILED_LOGINS.inc()
            _log.info("login refused by the pod", extra={"sqlstate": error.sqlstate})
            raise
        attempt.outcome = Outcome.SUCCEEDED
        return woken

    async def _relay_login(self, routed: Route, watch: Stopwatch) -> bool:
        """Returns whether the tenant was woken for it."""
        if self._transport is None or self._startup is None:
            raise ClientGone
        session = self._session = Session(
            self._door,
            name=self._name,
            tenant=routed.tenant.id,
            user=routed.startup.parameters["user"],
            transport=self._transport,
            on_gone=self._gone,
        )
        dialer = Dialer(self._door, session.tenant, session.link, watch)
        address, pod = await dialer.dial(routed.startup)
        session.join(address, pod, self._startup.rest())
        self._startup = None
        try:
            await pod.ready
        except OSError as error:
            if dialer.login is not None and dialer.login.failed:  # the pod has said what is wrong
                raise LoginRefused(dialer.login.sqlstate) from error
            if self._transport.is_closing():
                raise ClientGone from error
            raise Unavailable("the database ended the connection during login") from error
        watch.lap("login")
        session.settle(pod, woken=dialer.woken)
        return dialer.woken

    # Ends

    def _gone(self) -> None:
        """The client's connection is no more."""
        if not self._counted_out:
            self._counted_out = True
            self._on_gone()

    def _cut(self, error: DormouseError) -> None:
        """End the connection, and tell the client why as far as it can be told."""
        if self._task is not None:
            self._ending = error
            self._task.cancel()
        elif self._session is not None:
            self._session.shut_down(errors.packet(error))
        else:
            self._close()

    async def _reject(self, error: DormouseError) -> None:
        reason = errors.reason_of(error).value
        metrics.REFUSED.labels(reason, error.sqlstate, error.blame.value).inc()
        told = {"sqlstate": error.sqlstate, "reason": reason, "told": error.message}
        if self._tenant is not None:
            told["tenant"] = str(self._tenant)
        _log.info("connection refused", extra=told | {"cause": error.__cause__})
        answer = errors.packet(error)
        if self._transport is not None:
            self._transport.write(answer)
        elif self._socket is not None:
            await _send_in_the_clear(self._socket, answer)
        self._close()

    def _close(self) -> None:
        """Close whatever is open. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._session is not None:
            self._session.close()
        elif self._transport is not None:
            self._transport.close()
        if self._transport is None:
            self._gone()


async def _send_in_the_clear(client: socket.socket, answer: bytes) -> None:
    """Send, and read what the client may still have to say.

    A socket that is closed with unread bytes is reset, and a reset takes the answer with it.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await loop.sock_sendall(client, answer)
            client.shutdown(socket.SHUT_WR)
            for _ in range(UNREAD_PIECES_MAX):
                if not await loop.sock_recv(client, STARTUP_BYTES_MAX):
                    break
    except (OSError, TimeoutError) as error:
        _log.debug("client gone", extra={"cause": repr(error)})
