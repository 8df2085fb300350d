"""A receiver of webhooks on loopback that behaves as badly as it is told to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control.authority import Authority
from dormouse.base.clock import SystemClock

CA_FILE = "ca.crt"


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


Answer = bytes | None
"""What is written back; None: nothing, ever."""

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def status(code: int, *headers: str) -> bytes:
    lines = "".join(f"{each}\r\n" for each in headers)
    return f"HTTP/1.1 {code} Whatever\r\n{lines}Content-Length: 0\r\n\r\n".encode()


@dataclass(slots=True)
class Receiver:
    """What came, and what is answered."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    answer: Callable[[Received], Awaitable[Answer]] | Answer = OK
    hangs_up: bool = False
    """After every answer, without a word about that."""
    floods: bool = False
    """Answers go on for as long as anybody reads."""
    flooded: int = 0
    """Bytes of that."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await _read(reader)
                self.requests.append(request)
                answer = self.answer
                text = await answer(request) if callable(answer) else answer
                if text is None:
                    await reader.read()  # until the other side has had enough
                    return
                writer.write(text)
                await writer.drain()
                if self.hangs_up:
                    return
                while self.floods:
                    writer.write(b"x" * 65_536)
                    await writer.drain()
                    self.flooded += 65_536
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()

    def ids(self) -> list[str]:
        return [each.headers["webhook-id"] for each in self.requests]


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(first.split(" ")[1], headers, body)


def tls_of(folder: Path) -> ssl.SSLContext:
    """For a server called `localhost`; the authority is in `folder/ca.crt`."""
    authority = Authority.open(folder / "receiver", SystemClock())
    authority.ensure_sql(folder / "receiver", ["localhost", "hook.test"], ["127.0.0.1"])
    (folder / CA_FILE).write_bytes(authority.certificate_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "receiver" / "sql.crt", folder / "receiver" / "sql.key")
    return context


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Receiver]:
    """A receiver that answers at its `url`."""
    made = Receiver(**options)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    made.url = f"{'http' if tls is None else 'https'}://localhost:{port}/hook"
    try:
        yield made
    finally:
        server.close()
