"""The two ends of a session and the bytes between them: the only code that runs per message.

    client ══TLS══ End.data_received ──▶ pod.write           pod ══TLS══ End
                   client.write ◀── End.data_received

Nothing is parsed here. What one side does not read fills the other's write buffer up to a bound,
beyond which the first is no longer read from; so a session holds two bounded buffers however large
the result. Each end keeps the last six bytes that came: if those are a ReadyForQuery, the stream
stands between two messages and an error of our own may follow; anywhere else it could be taken
for a part of somebody's row.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from proxy.login import Login, PodRefused

_READY = b"Z\x00\x00\x00\x05"
_TAIL_BYTES = 6
_TERMINATE = b"X\x00\x00\x00\x04"


class End(asyncio.Protocol):
    """One end of a relay: what comes goes to the other end's transport."""

    __slots__ = ("lost", "on_lost", "other", "tail", "transport")

    def __init__(self, on_lost: Callable[["End"], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: asyncio.Transport | None = None
        self.tail = b""
        self.lost = False
        self.on_lost = on_lost

    @property
    def between_messages(self) -> bool:
        """Whether the last that came was a whole ReadyForQuery."""
        return self.tail.startswith(_READY)

    @property
    def said_goodbye(self) -> bool:
        """Whether the last that came was a Terminate: the other side ends because it was asked."""
        return self.tail.endswith(_TERMINATE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. The hot path."""
        self.tail = data[-_TAIL_BYTES:]
        self.other.write(data)  # type: ignore[union-attr]  # set before reading starts

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: this end's buffer is full, so the other is not read."""
        if self.other is not None:
            self.other.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self.other is not None and not self.other.is_closing():
            self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.lost = True
        self.on_lost(self)


class PodLogin(End):
    """The pod's end until ReadyForQuery; then the transport gets a plain `End`."""

    __slots__ = ("_login", "answered", "ready")

    def __init__(self, login: Login, on_lost: Callable[[End], None]) -> None:
        super().__init__(on_lost)
        self._login = login
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[bytes] = loop.create_future()
        """The first bytes for the client; or the error that makes the pod no use."""
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done when the session is ready; a ConnectionError if the pod ended it before."""

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.tail = data[-_TAIL_BYTES:]
        if self.ready.done():  # the few bytes until the plain end takes over
            if self.other is not None:
                self.other.write(data)
            return
        try:
            out = self._login.feed(data)
        except Exception as error:  # noqa: BLE001 - it goes to whoever awaits the login
            self._fail(error)
            return
        if not self.answered.done():
            if self._login.answered:
                self.answered.set_result(out)
        elif self.other is not None:
            self.other.write(out)
        if self._login.ready:
            self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._fail(exc or ConnectionResetError("pod hung up"))
        super().connection_lost(exc)

    def _fail(self, error: Exception) -> None:
        for future in (self.answered, self.ready):
            if not future.done():
                future.set_exception(error)
                future.exception()  # only one of the two is awaited at a time
        if self.transport is not None and isinstance(error, PodRefused):
            self.transport.close()
