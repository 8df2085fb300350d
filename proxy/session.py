"""One client connection, from its first byte to its last.

    socket ─▶ preamble ─▶ TLS ─▶ startup ─▶ route ─▶ known? ─▶ pod (wake) ─▶ login ─▶ relay
             └──── startup_timeout ────┘   └──────────── login_timeout ───────────┘

A task leads the connection up to the relay and then ends: an open session costs its two transports
and this object, no task. From there on the two ends call `_lost`.
"""

import asyncio
import functools
import logging
import socket
import ssl
from collections.abc import Callable

from dormouse.base import logs
from dormouse.base.errors import DormouseError, Unavailable
from dormouse.base.ids import TenantId
from pgwire.errors import ProtocolViolation
from pgwire.startup import STARTUP_BYTES_MAX, CancelRequest, StartupMessage
from proto.autoscaler_pb2 import PodAddress
from proxy import errors, metrics
from proxy.cancelkeys import Target
from proxy.dialer import SHUTDOWN_SECONDS, Dialer, cancel
from proxy.door import Door
from proxy.preamble import ClientGone, Opening, open_connection
from proxy.relay import End, PodLogin, StartupEnd
from proxy.routing import Route, route

SEND_SECONDS = 2.0
UNREAD_PIECES_MAX = 16

_log = logging.getLogger(__name__)


class Session:
    """See the module. `run` once."""

    __slots__ = (
        "__weakref__",
        "_client",
        "_counted_out",
        "_door",
        "_key",
        "_name",
        "_on_gone",
        "_pod",
        "_pod_address",
        "_socket",
        "_startup",
        "_tenant",
        "_transport",
    )

    def __init__(
        self, door: Door, client: socket.socket, name: str, on_gone: Callable[[], None]
    ) -> None:
        self._door = door
        self._on_gone = on_gone
        self._counted_out = False
        self._socket: socket.socket | None = client
        self._name = name
        self._startup: StartupEnd | None = None
        self._transport: asyncio.Transport | None = None
        self._tenant: TenantId | None = None
        self._client: End | None = None
        self._pod: End | None = None
        self._pod_address: PodAddress | None = None
        self._key: CancelRequest | None = None

    def __repr__(self) -> str:
        return f"<Session {self._name} tenant={self._tenant} pod={self._pod_address}>"

    async def run(self, *, welcome: bool = True) -> None:
        """Bring the connection up to the relay, or end it. Not `welcome`: it gets 53300."""
        with logs.bound(session=self._name):
            try:
                await self._log_in(welcome=welcome)
            except DormouseError as error:
                await self._reject(error)
            except TimeoutError:
                await self._reject(
                    errors.Rejected("canceling authentication due to timeout", sqlstate="57014")
                )
            except (ClientGone, OSError) as error:  # ssl.SSLError is an OSError
                _log.debug("client gone", extra={"cause": repr(error)})
                self._close()
            except BaseException:
                self._close()
                raise

    async def _log_in(self, *, welcome: bool) -> None:
        async with asyncio.timeout(self._door.limits.startup_timeout):
            packet = await self._start()
        if isinstance(packet, CancelRequest):
            self._close()  # PostgreSQL answers nothing, and the client waits for the end
            await self._cancel(packet)
            return
        if not welcome:
            raise errors.TooManyConnections("sorry, too many clients already")
        async with asyncio.timeout(self._door.limits.login_timeout):
            await self._serve(packet)

    # Up to the startup message

    async def _start(self) -> StartupMessage | CancelRequest:
        if self._socket is None:
            raise RuntimeError("a session runs once")
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

    # From the startup message to the relay

    async def _serve(self, startup: StartupMessage) -> None:
        begun = self._door.clock.monotonic()
        routed = route(startup, self._door.client_tls.name_of(self._ssl_object()))
        metrics.ROUTED.labels(routed.form.value).inc()
        with logs.bound(tenant=routed.tenant.id):
            await self._door.tenants.check(routed.tenant)
            self._tenant = routed.tenant.id
            new_key = functools.partial(self._new_key, routed.tenant.id)
            dialer = Dialer(self._door, routed.tenant.id, new_key)
            await self._relay_login(dialer, routed)
            seconds = self._door.clock.monotonic() - begun
            metrics.LOGIN_SECONDS.labels(dialer.woken_label()).observe(seconds)
            extra = {"form": routed.form.value, "seconds": round(seconds, 4), "woken": dialer.woken}
            _log.info("session open", extra=extra)

    async def _relay_login(self, dialer: Dialer, routed: Route) -> None:
        address, pod = await dialer.dial(routed.startup)
        self._pod_address = address
        self._door.pods.session_opened(address)
        self._door.sessions.add(self)
        metrics.SESSIONS.inc()
        self._join(pod)
        try:
            await pod.ready
        except OSError as error:
            told = dialer.login is not None and dialer.login.failed  # by the pod, what is wrong
            if told or self._transport is None or self._transport.is_closing():
                raise ClientGone from error
            raise Unavailable("the database ended the connection during login") from error
        self._settle(pod)

    def _join(self, pod: PodLogin) -> None:
        """Connect the two ends; what has come in the meantime goes first."""
        if self._transport is None or self._startup is None or pod.transport is None:
            raise ClientGone
        pod.transport.set_write_buffer_limits(self._door.limits.buffer_bytes)
        client = End(self._lost)
        client.transport, client.other = self._transport, pod.transport
        pod.other = self._transport
        pod.on_lost = self._lost
        self._client, self._pod = client, pod
        self._transport.set_protocol(client)
        self._transport.write(pod.answered.result())
        if rest := self._startup.rest():
            pod.transport.write(rest)
        self._startup = None
        self._transport.resume_reading()

    def _settle(self, pod: PodLogin) -> None:
        """The login is over: nothing looks at the bytes any more."""
        if pod.transport is None or pod.lost:
            raise ClientGone
        plain = End(self._lost)
        plain.transport, plain.other, plain.tail = pod.transport, pod.other, pod.tail
        self._pod = plain
        pod.transport.set_protocol(plain)

    def _new_key(self, tenant: TenantId, pod: PodAddress, pid: int, secret: bytes) -> bytes:
        request = CancelRequest(pid, secret)
        self._key = self._door.keys.add(Target(tenant, pod.sql_address, request))
        return self._key.secret

    async def _cancel(self, shown: CancelRequest) -> None:
        target = self._door.keys.find(shown)
        metrics.CANCELS.labels("no" if target is None else "yes").inc()
        if target is not None:
            await cancel(self._door, target)

    # Ends

    def _lost(self, end: End) -> None:
        if end is self._pod and not self._is_over():
            metrics.PODS_LOST.inc()
            if end.between_messages and self._transport is not None:
                self._transport.write(errors.POD_GONE)
        if end is self._pod or end is self._client:
            self._close()
        if end is self._client:
            self._gone()

    def _is_over(self) -> bool:
        """Whether the client has ended the session, so that the pod's end is no loss."""
        closing = self._transport is None or self._transport.is_closing()
        return closing or (self._client is not None and self._client.said_goodbye)

    def _gone(self) -> None:
        """The client's connection is no more."""
        if not self._counted_out:
            self._counted_out = True
            self._on_gone()

    def shut_down(self) -> None:
        """The proxy ends: tell the client, as far as it can be told."""
        if self._transport is not None and self._pod is not None and self._pod.between_messages:
            self._transport.write(errors.SHUTDOWN)
        self._close()

    async def _reject(self, error: DormouseError) -> None:
        metrics.REFUSED.labels(error.sqlstate, error.blame.value).inc()
        _log.info(
            "connection refused",
            extra={"sqlstate": error.sqlstate, "reason": error.message, "cause": error.__cause__},
        )
        answer = errors.packet(error)
        if self._transport is not None:
            self._transport.write(answer)
        elif self._socket is not None:
            await _send_in_the_clear(self._socket, answer)
        self._close()

    def _close(self) -> None:
        """Close both ends, once what is written has gone out; forget the session. Idempotent."""
        if self._key is not None:
            self._door.keys.remove(self._key)
            self._key = None
        if self in self._door.sessions:
            self._door.sessions.discard(self)
            metrics.SESSIONS.dec()
            if self._pod_address is not None:
                self._door.pods.session_closed(self._pod_address)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._pod is not None and self._pod.transport is not None:
            self._pod.transport.close()
        if self._transport is not None:
            self._transport.close()
        else:
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
