"""A TCP forwarder that fails on demand: cut connections, lose what one side says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dormouse.base.tasks import cancel, spawn


class Cutter:
    """Forwards to `target`; `deaf` sides are read and not passed on."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.lose_requests = False
        self.lose_replies = False
        self.refuse_first = 0
        """So many connections are cut in the middle of their TLS handshake."""
        self.delay_seconds = 0.0
        """How long every reply is held back."""
        self.address = ""

    def lose(self, *, requests: bool) -> None:
        """Lose what one side says, until the next `cut`."""
        self.lose_requests, self.lose_replies = requests, not requests

    def delay(self, seconds: float) -> None:
        """Hold every reply back for so long."""
        self.delay_seconds = seconds

    def cut(self) -> None:
        """Break every connection; new ones are forwarded as usual."""
        self.lose_requests = self.lose_replies = False
        for writer in self._writers:
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse_first:
            self.refuse_first -= 1
            await reader.read(1)
            writer.transport.abort()
            return
        try:
            to_reader, to_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_writer}
        self._tasks |= {
            spawn(self._pump(reader, to_writer, requests=True), name="cutter requests"),
            spawn(self._pump(to_reader, writer, requests=False), name="cutter replies"),
        }

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, requests: bool
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                if not requests:
                    await asyncio.sleep(self.delay_seconds)
                if not (self.lose_requests if requests else self.lose_replies):
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def close(self) -> None:
        self.cut()
        await cancel(*self._tasks)


@asynccontextmanager
async def cutting(target: str) -> AsyncIterator[Cutter]:
    """A forwarder to `target` (host:port) on a free port."""
    cutter = Cutter(target)
    server = await asyncio.start_server(cutter.accept, "127.0.0.1", 0)
    cutter.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield cutter
    finally:
        server.close()
        await cutter.close()
