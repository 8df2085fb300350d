"""One session stream to storage, plainly: what the benchmark's client and the tests' build on."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Self

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.keys import tenant_prefix
from dormouse.base.tasks import cancel, spawn
from proto import kv_pb2 as kv


class KvError(Exception):
    """An error reply."""

    def __init__(self, error: kv.Error) -> None:
        super().__init__(f"{kv.Error.Code.Name(error.code)}: {error.message}")
        self.error = error
        self.name = kv.Error.Code.Name(error.code)


class KvStream:
    """Requests of the same turn of the event loop travel in one frame."""

    def __init__(self, stub: Any, tenant: TenantId, pod: int) -> None:
        self.tenant = tenant
        self.pod = pod
        self.prefix = tenant_prefix(tenant)
        self.hello = kv.HelloReply()
        self._stub = stub
        self._call: Any = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._outbox: list[kv.Request] = []
        self._ready = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Raises ConnectionError where storage refuses."""
        self._call = self._stub.Session(wait_for_ready=True)
        hello = kv.Hello(
            protocol_version=kv.PROTOCOL_VERSION, tenant_id=self.tenant, pod_id=self.pod
        )
        await self._call.write(kv.ClientFrame(hello=hello))
        frame = await self._call.read()
        if not isinstance(frame, kv.ServerFrame):
            raise ConnectionError(await self._call.details())
        self.hello = frame.hello
        self._reader = spawn(self._read(), name="kv reader")
        self._writer = spawn(self._write(), name="kv writer")
        return self

    async def close(self) -> None:
        self._call.cancel()
        await cancel(self._reader, self._writer)

    def send(self, **fields: Any) -> "asyncio.Future[Any]":
        """Send one request, e.g. `txn=5, get=kv.Get(...)`; resolves to the operation's own reply,
        or raises KvError, or ConnectionError where the stream ends first."""
        request = kv.Request(id=next(self._ids), **fields)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._reader is not None and self._reader.done():
            future.set_exception(ConnectionError("the stream ended"))
            return future
        self._waiting[request.id] = future
        self._outbox.append(request)
        self._ready.set()
        return future

    def keys(self, keys: Iterable[bytes]) -> bytes:
        """A block of keys that are given without the tenant's prefix."""
        return blocks.pack([self.prefix + key for key in keys])

    def writes(self, writes: Mapping[bytes, bytes | None]) -> kv.Writes:
        """Likewise of writes."""
        return kv.Writes(keys=self.keys(writes), values=blocks.pack(list(writes.values())))

    def next_frame(self) -> kv.ClientFrame:
        """What has gathered to be sent."""
        requests, self._outbox = self._outbox, []
        return kv.ClientFrame(requests=requests)

    async def took(self, frame: kv.ServerFrame) -> None:
        """A frame came, whose replies are about to be handed out."""

    async def _write(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            await self._call.write(self.next_frame())

    async def _read(self) -> None:
        try:
            while isinstance(frame := await self._call.read(), kv.ServerFrame):
                await self.took(frame)
                for reply in frame.replies:
                    self._answer(reply)
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError("the stream ended"))
                    future.exception()

    def _answer(self, reply: kv.Reply) -> None:
        future = self._waiting.pop(reply.id)
        result = reply.WhichOneof("result")
        if future.done():
            return
        if result == "error":
            future.set_exception(KvError(reply.error))
        else:
            future.set_result(getattr(reply, result or "error"))
