"""A client that speaks the protocol byte by byte, from whatever address a test wants it to have."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pgwire import notices
from pgwire.framing import FrameDecoder
from pgwire.notices import Notice
from pgwire.startup import CancelRequest, StartupMessage
from tests.proxy.doubles import PASSWORD, Setup

READY = b"Z\0\0\0\5I"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def context_for(ca: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["postgresql"])
    return context


def error_in(data: bytes) -> Notice:
    """The ErrorResponse that the data is, or ends with."""
    frames = FrameDecoder()
    frames.feed(data)
    last = None
    while (frame := frames.next()) is not None:
        last = frame
    assert last is not None, data
    assert last.kind == ord("E"), data
    return notices.parse(last.body)


class Client:
    """One connection, TLS from its first byte (behind what `header` there is)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.greeting = b""

    async def log_in(
        self, *, user: str = "demo.demo-17", password: str = PASSWORD, **parameters: str
    ) -> "Client":
        """Raises Refused with the error where the session is not opened."""
        self.send_startup(user=user, password=password, **parameters)
        try:
            self.greeting = await self.reader.readuntil(READY)
        except asyncio.IncompleteReadError as error:
            raise Refused(error_in(error.partial)) from None
        return self

    def send_startup(
        self, *, user: str = "demo.demo-17", password: str = PASSWORD, **parameters: str
    ) -> None:
        self.writer.write(StartupMessage({"user": user, **parameters}).build())
        self.writer.write(message(b"p", password.encode() + b"\0"))

    @property
    def key(self) -> CancelRequest:
        """What BackendKeyData said."""
        body = self.greeting[self.greeting.index(b"K\0\0\0\x0c") + 5 :][:8]
        return CancelRequest(int.from_bytes(body[:4], "big"), body[4:])

    async def query(self, text: str = "select 1") -> bytes:
        self.writer.write(message(b"Q", text.encode() + b"\0"))
        return await self.reader.readuntil(READY)

    async def farewell(self) -> Notice:
        """Why the server ends the connection."""
        return error_in(await self.reader.read())

    def close(self) -> None:
        self.writer.close()


class Refused(Exception):
    """The session was not opened; `error` says why."""

    def __init__(self, error: Notice) -> None:
        super().__init__(f"{error.sqlstate} {error.message}")
        self.error = error


@asynccontextmanager
async def connected(
    setup: Setup, *, port: int = 0, source: str = "127.0.0.1", header: bytes = b""
) -> AsyncIterator[Client]:
    """A client at `source`, with TLS; not logged in."""
    plain = await open_socket(port or setup.port, source)
    await asyncio.get_running_loop().sock_sendall(plain, header)
    reader, writer = await asyncio.open_connection(
        sock=plain, ssl=context_for(setup.ca), server_hostname="proxy.dormouse.internal"
    )
    client = Client(reader, writer)
    try:
        yield client
    finally:
        client.close()


async def open_socket(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A plain connection from `source`."""
    plain = socket.socket()
    plain.bind((source, 0))
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    return plain


async def send_plain(setup: Setup, data: bytes, source: str = "127.0.0.1") -> bytes:
    """Send in the clear, and all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", setup.port, local_addr=(source, 0))
    writer.write(data)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
