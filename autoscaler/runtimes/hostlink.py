"""One connection to a pod host: its Unix socket, its greeting checked, frames in and out."""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Self

from dormouse.base.frames import FrameReader, encode
from dormouse.base.unixsocket import short_name
from proto.podhost_pb2 import HostCommand, HostEvent

PROTOCOL_VERSION = 1
_READ_BYTES = 64 << 10


class WrongProtocol(Exception):
    """The peer speaks another version of the protocol, or nonsense."""


class HostGone(Exception):
    """Nobody listens on the socket, and nobody will: a host listens before its socket has a name,
    and its name goes with it, unless it was killed."""


class HostLink:
    """A connected host of a known generation; made by `open`."""

    def __init__(
        self, generation: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.generation = generation
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()

    def __repr__(self) -> str:
        return f"<HostLink {self.generation}>"

    @classmethod
    async def open(cls, path: Path, generation: int) -> Self:
        """Connect. Raises HostGone, and OSError where the host may yet answer."""
        try:
            connection = await _connect(path)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise HostGone(str(path)) from error
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        return cls(generation, reader, writer)

    async def read(self) -> list[HostEvent]:
        """The next events, in order; none at the end of the connection.

        Raises BadFrame and WrongProtocol, after either of which the connection is of no more use.
        """
        while data := await self._reader.read(_READ_BYTES):
            if events := [HostEvent.FromString(each) for each in self._frames.feed(data)]:
                for event in events:
                    self._check(event)
                return events
        return []

    def send(self, command: HostCommand) -> None:
        """Send a command, which is lost where the connection has ended."""
        # Commands are a few bytes each and few (forks and kills are limited by the caller), so the
        # transport's buffer stays small even where the host does not read for a while.
        self._writer.write(encode(command.SerializeToString()))

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _check(self, event: HostEvent) -> None:
        if not event.HasField("hello"):
            return
        if event.hello.protocol_version != PROTOCOL_VERSION:
            version = event.hello.protocol_version
            raise WrongProtocol(f"pod host speaks version {version}, not {PROTOCOL_VERSION}")
        if event.hello.generation != self.generation:
            text = f"generation {event.hello.generation} on the socket of {self.generation}"
            raise WrongProtocol(text)


async def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        with short_name(path) as name:
            await asyncio.get_running_loop().sock_connect(connection, name)
    except BaseException:
        connection.close()
        raise
    return connection
