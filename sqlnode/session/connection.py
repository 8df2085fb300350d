"""One client's byte stream as a session uses it: frames in, bytes out, bounds on both.

In: what a client sends ahead waits in the decoder. Beyond `input_bytes_max` the socket is no longer
read, until the session asks for a message that is not whole yet: then it must be read, however long
the message is (its own bound is the decoder's).

Out: replies gather in a list and go out in one write when the session waits for the client, flushes
or has gathered enough. A client that does not read makes `drain` wait, and nothing else does.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

from pgwire.framing import Frame, FrameDecoder
from pgwire.sasl import AUTHENTICATION_BYTES_MAX
from pgwire.startup import StartupDecoder, StartupPacket
from sqlnode.config import PodLimits

GATHER_BYTES = 64 << 10
"""Replies are written at the latest when this many bytes wait."""


class ConnectionClosed(Exception):
    """The client is gone; there is nobody to tell."""


class Connection(asyncio.Protocol):
    """A client connection. `accept` is called when it is open, `gone` when it is lost."""

    def __init__(
        self,
        limits: PodLimits,
        *,
        accept: Callable[["Connection"], None],
        gone: Callable[["Connection"], None],
    ) -> None:
        self._limits = limits
        self._accept = accept
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._startup: StartupDecoder | None = StartupDecoder()
        self._decoder = FrameDecoder(body_bytes_max=AUTHENTICATION_BYTES_MAX)
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = False
        self._read_paused = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self.closed = False
        self.on_writable: Callable[[], None] | None = None
        """Called when a client that did not read reads again."""
        self.sent_bytes = 0
        """Bytes written for the client, the proxy's own left out."""
        self.next_frame = self._decoder.next
        """The next whole message, None if there is none yet. Raises ProtocolViolation."""
        self.next_run = self._decoder.run
        """next_run(kind) → the bodies of the messages of that kind that are here, end to end."""

    # --- asyncio's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # Not `isinstance`: the event loop's own transports are no subclasses.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._limits.output_bytes_max)
        self._accept(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._startup is not None:
            self._startup.feed(data)
        else:
            self._decoder.feed(data)
        # The event loop reads many times in a row before a session that was woken goes on.
        if self._waiter is not None and not self._waiter.done():
            _wake(self._waiter)
        elif self._buffered() > self._limits.input_bytes_max and not self._read_paused:
            self._read_paused = True
            self._channel().pause_reading()

    def _buffered(self) -> int:
        return (self._startup or self._decoder).buffered

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: a half-closed client is a gone one."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.closed = True
        for waiter in (self._waiter, self._writable):
            if waiter is not None:
                _wake(waiter)
        self._gone(self)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._write_paused = False
        if self._writable is not None:
            _wake(self._writable)
        if self.on_writable is not None:
            self.on_writable()

    # --- the session's side -----------------------------------------------------------------

    def extra(self, name: str) -> Any:
        """The transport's extra information."""
        return self._channel().get_extra_info(name)

    async def read_startup(self) -> StartupPacket:
        """The next startup packet. Raises ProtocolViolation, ConnectionClosed."""
        if self._startup is None:
            raise RuntimeError("startup is over")
        while (packet := self._startup.next()) is None:
            await self._more()
        return packet

    def end_startup(self) -> None:
        """From here on messages have type bytes."""
        if self._startup is not None:
            self._decoder.feed(self._startup.rest())
            self._startup = None

    def expect(self, body_bytes_max: int) -> None:
        """The next message may be this long."""
        self._decoder.body_bytes_max = body_bytes_max

    @property
    def buffered(self) -> int:
        """Bytes that are here and not yet asked for."""
        return self._buffered()

    def trust(self) -> None:
        """The client has authenticated: it may send long messages."""
        self._decoder.body_bytes_max = self._limits.message_bytes_max

    async def read(self) -> Frame:
        """The next message; what has gathered is written first if it is not here yet.

        Raises ProtocolViolation, ConnectionClosed.
        """
        while (frame := self._decoder.next()) is None:
            self.flush()
            await self._more()
        return frame

    async def _more(self) -> None:
        if self.closed:
            raise ConnectionClosed
        if self._read_paused:
            self._read_paused = False
            self._channel().resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def send(self, data: bytes) -> None:
        """Add to what is to be written."""
        self._out.append(data)
        self._out_bytes += len(data)

    def send_private(self, data: bytes) -> None:
        """Add what is for the proxy and not for the client."""
        self.send(data)
        self.sent_bytes -= len(data)

    def flush(self) -> None:
        """Write what has gathered. Does nothing on a closed connection."""
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out = []
            self._out_bytes = 0
            self.sent_bytes += len(data)
            if not self.closed:
                self._channel().write(data)

    @property
    def produced_bytes(self) -> int:
        """Bytes for the client so far, those that wait to be written too."""
        return self.sent_bytes + self._out_bytes

    @property
    def following(self) -> int:
        """The kind of the message that comes next, 0 if none is here."""
        return self._decoder.following

    @property
    def write_paused(self) -> bool:
        """Whether the client leaves much unread."""
        return self._write_paused

    @property
    def crowded(self) -> bool:
        """Whether enough has gathered for `drain` to be worth calling."""
        return self._out_bytes >= GATHER_BYTES or self._write_paused

    async def drain(self) -> None:
        """Write, and wait until the client has read most of it. Raises ConnectionClosed."""
        self.flush()
        while self._write_paused and not self.closed:
            self._writable = asyncio.get_running_loop().create_future()
            try:
                await self._writable
            finally:
                self._writable = None
        if self.closed:
            raise ConnectionClosed

    def close(self) -> None:
        """Write what has gathered and close."""
        self.flush()
        if self._transport is not None and not self.closed:
            self._transport.close()

    def abort(self) -> None:
        """Close without waiting for the client to read."""
        self._out = []
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):  # the transport is gone already
                self._transport.abort()

    def _channel(self) -> asyncio.Transport:
        if self._transport is None:
            raise RuntimeError("not connected yet")
        return self._transport


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
