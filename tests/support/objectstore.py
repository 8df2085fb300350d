"""An S3 server of the tests' own (moto), and a door before it that can be out of order."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from enum import Enum, auto
from typing import Any

from dormouse.base.tasks import cancel, spawn
from storage.config import ObjectStorage

_READY_SECONDS = 30
_BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 40\r\n"
    b"Connection: close\r\n\r\n<Error><Code>SlowDown</Code></Error>    "
)


def object_storage(port: int, folder: str, **more: Any) -> ObjectStorage:
    """What an engine needs to keep its data in `folder` of the bucket of `s3_running`."""
    options = {
        "aws_endpoint": f"http://127.0.0.1:{port}",
        "aws_allow_http": "true",
        "aws_region": "us-east-1",
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "timeout": "2s",
        "connect_timeout": "1s",
    }
    return ObjectStorage(url=f"s3://bucket/{folder}", options=options, **more)


@contextlib.contextmanager
def s3_running() -> Iterator[int]:
    """An S3 server with an empty bucket named `bucket`; its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _make_bucket(f"http://127.0.0.1:{port}/bucket", server)
        yield port
    finally:
        server.kill()
        server.wait()


def _make_bucket(url: str, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until or server.poll() is not None:
                raise
            time.sleep(0.05)


class Weather(Enum):
    """How the object store does."""

    FINE = auto()
    BUSY = auto()
    """Every request is answered 503."""
    SILENT = auto()
    """Requests are taken and never answered."""
    DEAF = auto()
    """Requests are carried out, and their answers get lost."""


class Door:
    """Passes requests on to the store, as long as the weather is fine."""

    def __init__(self, store_port: int) -> None:
        self._store_port = store_port
        self.weather = Weather.FINE
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Door"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            if self.weather is Weather.BUSY:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(_BUSY)
                await writer.drain()
                return
            store = await asyncio.open_connection("127.0.0.1", self._store_port)
            with contextlib.closing(store[1]):
                to = spawn(self._copy(reader, store[1], {Weather.SILENT}), name="to the store")
                back = spawn(
                    self._copy(store[0], writer, {Weather.DEAF, Weather.SILENT}), name="from it"
                )
                try:
                    await asyncio.wait([to, back], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await cancel(to, back)

    async def _copy(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        swallowed: set[Weather],
    ) -> None:
        while chunk := await source.read(1 << 16):
            if self.weather is Weather.BUSY:
                return
            if self.weather not in swallowed:
                target.write(chunk)
                await target.drain()
