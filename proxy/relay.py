"""The two ends of a session and the bytes between them: the only code that runs per message.

    client ══TLS══ ClientEnd.data_received ──▶ pod.write           pod ══TLS══ PodEnd
                   client.write ◀── PodEnd.data_received

The bytes pass as they come; an `Exchange` follows where messages end and takes out what the pod
says to the proxy. What one side does not read fills the other's write buffer up to a bound, beyond
which the first is no longer read from; so a session holds two bounded buffers however large the
result.

Whatever is not plain passing on is the session's business: the ends call its methods.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from pgwire.errors import ProtocolViolation
from pgwire.exchange import Exchange
from proxy.login import Login, PodRefused, ResumeRefused

if TYPE_CHECKING:
    from proxy.session import Session


class ClientEnd(asyncio.Protocol):
    """The client's end. What comes goes to `other`; while there is none, to the session."""

    __slots__ = ("_exchange", "_session", "other")

    def __init__(self, session: "Session", exchange: Exchange) -> None:
        self._session = session
        self._exchange = exchange
        self.other: asyncio.Transport | None = None

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. The hot path."""
        other = self.other
        if other is None:
            self._session.client_sent(data)
        else:
            self._exchange.requested(data)
            other.write(data)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._session.client_full(full=True)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._session.client_full(full=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._session.client_lost()


class PodEnd(asyncio.Protocol):
    """The pod's end once the session is open. `alert`: the session wants to hear of every piece."""

    __slots__ = ("_client", "_exchange", "_session", "alert", "transport")

    def __init__(
        self,
        session: "Session",
        exchange: Exchange,
        transport: asyncio.Transport,
        client: asyncio.Transport,
    ) -> None:
        self._session = session
        self._exchange = exchange
        self._client = client
        self.transport = transport
        self.alert = False

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. The hot path."""
        exchange = self._exchange
        try:
            out = exchange.answered(data)
        except ProtocolViolation as error:
            self._session.pod_broke(error)
            return
        if out:
            self._client.write(out)
        if self.alert or exchange.taken:
            self._session.pod_sent()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._session.pod_full(full=True)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._session.pod_full(full=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._session.pod_lost()


class PodLogin(asyncio.Protocol):
    """The pod's end until ReadyForQuery; then the session puts a `PodEnd` in its place."""

    __slots__ = ("answered", "login", "lost", "ready", "session", "transport")

    def __init__(self, login: Login) -> None:
        self.login = login
        self.transport: asyncio.Transport | None = None
        self.session: Session | None = None
        """Once it has one: the client that `answered` and all that comes after it is for."""
        self.lost = False
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[bytes] = loop.create_future()
        """The first bytes for the client; or the error that makes the pod no use."""
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done when the session is ready; a ConnectionError if the pod ended it before."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            out = self.login.feed(data)
        except Exception as error:  # noqa: BLE001 - it goes to whoever awaits the login
            self._fail(error)
            return
        if not self.answered.done():
            if self.login.answered:
                self.answered.set_result(out)
        elif out and self.session is not None:
            self.session.transport.write(out)
        if self.login.ready and not self.ready.done():
            self.ready.set_result(None)
            if self.transport is not None:
                self.transport.pause_reading()  # until its place is taken

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self.session is not None:
            self.session.pod_full(full=True)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self.session is not None:
            self.session.pod_full(full=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.lost = True
        self._fail(exc or ConnectionResetError("pod hung up"))

    def close(self) -> None:
        """Close the connection, if there is one; whoever waits for the login waits no more."""
        self._fail(ConnectionResetError("given up"))
        if self.transport is not None:
            self.transport.close()

    def _fail(self, error: Exception) -> None:
        for future in (self.answered, self.ready):
            if not future.done():
                future.set_exception(error)
                future.exception()  # only one of the two is awaited at a time
        if isinstance(error, PodRefused | ResumeRefused):
            self.close()


class _Nobody(asyncio.Protocol):
    """Takes the place of an end whose connection is closing and is nobody's any more."""


NOBODY = _Nobody()
