"""A session stream: frames in, frames out.

    read ──▶ every request of the frame ──▶ replies ready at once ─┐
                      │                                            ├─▶ outbox ─▶ one frame
                      ├─▶ task (waits, reads) ──────▶ reply ───────┤
                      └─▶ group commit ─────────────▶ reply ───────┘

One coroutine reads and one writes. What is in the outbox when the writer comes round goes out as
one frame, up to a bound; while the pod does not take frames the outbox stops growing, because the
reader waits for it. Requests in flight are bounded in number and bytes, more are refused (BUSY).
While the group commit is full, or many requests wait for their turn (storage/admission.py), nothing
more is read.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
import grpc.aio

from dormouse.base.ids import PodId, TenantId
from dormouse.base.rpc import caller
from dormouse.base.tasks import cancel, spawn
from proto import kv_pb2 as kv
from storage.caps import in_flight
from storage.engines.interface import EngineError
from storage.metrics import REFUSED, SESSIONS
from storage.operations import Operations
from storage.refusals import Refusal, bad_request, engine_failed
from storage.shard import Shard
from storage.tenants import Tenant
from storage.waiting import InFlight

_OUTBOX_MAX = 4096
_QUEUED_MAX = 128
"""Requests that may wait for their turn before the stream is not read any further; a frame's worth
more may."""
_FRAME_BYTES = 1 << 20
"""A frame of replies is closed once it has this many bytes; a single reply may have more."""
_HELLO_SECONDS = 10
_NOTIFICATION_BYTES_MAX = 8 << 20
"""Of notifications that wait to be sent; past it the stream is cut."""
_CUT_SECONDS = 1.0
"""How long a stream that is cut may take to say so."""

_TAKEN_SECONDS = 5.0
"""How long a pod may take for what it was answered before a stream that ends."""

_LARGE_COMMIT_SECONDS = 2.0
"""How long a stream that ends waits for a commit on its way to its place."""

_log = logging.getLogger(__name__)


class SessionStream:
    """One open stream of a pod."""

    def __init__(self, shard: Shard, context: Any) -> None:
        self._shard = shard
        self._context = context
        self._outbox: list[kv.Reply] = []
        self._ready = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._drained = asyncio.Event()
        self._drained.set()
        self._in_flight: dict[int, InFlight] = {}
        self._in_flight_bytes = 0
        self._operations: Operations | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ending = ""
        self._queued = 0
        """Requests that wait for their turn."""
        self._unqueued = asyncio.Event()
        self._ended = False
        self._tenant: Tenant | None = None
        self._catalog_version = 0
        """What the pod is to be told with the next frame; 0: nothing."""
        self._notifications: deque[kv.Notification] = deque()
        self._notification_bytes = 0
        self._tables: list[kv.TableWord] = []
        """What the pod is to be told of tables."""
        self._cut = False
        """The pod takes nothing: there is no point in telling it why."""

    def __repr__(self) -> str:
        return f"<SessionStream {len(self._in_flight)} in flight, {len(self._outbox)} to send>"

    async def run(self) -> None:
        """Serve the stream to its end."""
        frame = await self._first_frame()
        identity = caller(self._context)
        if identity is None or identity.tenant is None or identity.tenant != frame.hello.tenant_id:
            await self._abort("outside_tenant", grpc.StatusCode.PERMISSION_DENIED)
            return
        tenant = await self._enter(identity.tenant)
        if tenant is None:
            return
        SESSIONS.inc()
        self._tenant = tenant
        self._operations = Operations(self._shard, tenant, PodId(frame.hello.pod_id), self)
        writer = None
        try:
            tenant.channels.listen(self, frame.hello.channels)
            await self._context.write(kv.ServerFrame(hello=self._hello(tenant)))
            writer = spawn(self._write(), name="session writer")
            self._take(frame)
            if not self._ending:
                self._reader = spawn(self._read(), name="session reader")
                await asyncio.wait([self._reader, writer], return_when=asyncio.FIRST_COMPLETED)
            await self._finish()
        finally:
            self._ended = True
            SESSIONS.dec()
            self._shard.leave(tenant, self)
            tasks = [flight.task for flight in self._in_flight.values()]
            try:
                await cancel(*tasks, self._reader, writer)
            finally:
                for request_id in list(self._in_flight):
                    self._drop(request_id)

    def end(self, reason: str) -> None:
        """See `storage.tenants.Session.end`."""
        self._ending = reason
        if self._reader is not None:
            self._reader.cancel()

    def tell_catalog(self, version: int) -> None:
        """See `storage.tenants.Session.tell_catalog`."""
        self._catalog_version = version
        self._ready.set()

    def tell_notification(self, notification: kv.Notification) -> None:
        """See `storage.tenants.Session.tell_notification`."""
        self._notification_bytes += notification.ByteSize()
        if self._notification_bytes <= _NOTIFICATION_BYTES_MAX:
            self._notifications.append(notification)
            self._ready.set()
        elif not self._cut:
            self._notifications.clear()
            REFUSED.labels("notifications").inc()
            _log.warning("stream cut that does not take its notifications")
            self.cut("the pod does not take its notifications")

    def tell_table(self, word: kv.TableWord) -> None:
        """See `storage.tenants.Session.tell_table`."""
        self._tables.append(word)
        self._ready.set()

    def cut(self, reason: str) -> None:
        """See `storage.tenants.Session.cut`."""
        self._cut = True
        self.end(reason)

    def reply(self, reply: kv.Reply) -> None:
        """See `storage.operations.Stream.reply`. The writer runs after everything that is ready
        now, so the replies of one group commit share a frame."""
        if self._drop(reply.id):
            self._outbox.append(reply)
            self._ready.set()

    def later(
        self, request: kv.Request, work: Callable[[InFlight], Coroutine[Any, Any, kv.Reply | None]]
    ) -> None:
        """See `storage.operations.Stream.later`."""
        flight = self._in_flight[request.id]
        flight.task = spawn(self._work(flight, work), name="session request")

    def go_on(self, request: kv.Request, work: Callable[[kv.Request], kv.Reply | None]) -> None:
        """See `storage.operations.Stream.go_on`."""
        if self._tenant is not None:
            handle = partial(self._go_on, work)
            self._shard.admission.go_on(self._tenant.share, handle, request)

    def cancel(self, request_id: int) -> None:
        """See `storage.operations.Stream.cancel`."""
        flight = self._in_flight.get(request_id)
        if flight is not None:
            flight.cancel()

    async def _enter(self, number: TenantId) -> Tenant | None:
        """Begin; None where that is refused. The pod tries again then, and where it is told of
        damage, it tells its clients meanwhile."""
        try:
            return await self._shard.enter(number, self)
        except Refusal as refused:
            refusal = refused
        except EngineError as error:
            self._shard.failures.failed(error)
            refusal = engine_failed(error)
        REFUSED.labels(kv.Error.Code.Name(refusal.code).lower()).inc()
        damaged = refusal.code == kv.Error.DAMAGED
        status = grpc.StatusCode.DATA_LOSS if damaged else grpc.StatusCode.UNAVAILABLE
        await self._context.abort(status, refusal.message)
        return None

    async def _first_frame(self) -> kv.ClientFrame:
        frame = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_HELLO_SECONDS):
                frame = await self._context.read()
        if not isinstance(frame, kv.ClientFrame) or not frame.HasField("hello"):
            await self._abort("no_hello", grpc.StatusCode.INVALID_ARGUMENT)
            raise asyncio.CancelledError
        if (spoken := frame.hello.protocol_version) != kv.PROTOCOL_VERSION:
            text = f"the pod speaks version {spoken}, storage {kv.PROTOCOL_VERSION}"
            await self._abort("version", grpc.StatusCode.FAILED_PRECONDITION, text)
        if frame.ByteSize() > self._shard.limits.frame_bytes_max:
            await self._abort("frame", grpc.StatusCode.RESOURCE_EXHAUSTED)
        return frame

    async def _abort(self, reason: str, code: grpc.StatusCode, text: str = "") -> None:
        REFUSED.labels(reason).inc()
        _log.warning("session refused", extra={"reason": reason, "detail": text})
        await self._context.abort(code, f"session refused: {text or reason}")

    def _hello(self, tenant: Tenant) -> kv.HelloReply:
        limits = self._shard.limits
        return kv.HelloReply(
            protocol_version=kv.PROTOCOL_VERSION,
            catalog_version=tenant.catalog_version,
            frame_bytes_max=limits.frame_bytes_max,
            txn_bytes_max=limits.txn_bytes_max,
            requests_max=limits.requests_max,
            tables=tenant.tables.join(self),
        )

    async def _read(self) -> None:
        read, frame_bytes_max = self._context.read, self._shard.limits.frame_bytes_max
        committer = self._shard.committer
        while isinstance(frame := await read(), kv.ClientFrame):
            if frame.ByteSize() > frame_bytes_max:
                REFUSED.labels("frame").inc()
                self._ending = "a frame of too many bytes"
                return
            self._take(frame)
            if committer.full:
                await committer.room()
            if self._queued > _QUEUED_MAX:
                self._unqueued.clear()
                await self._unqueued.wait()
            if len(self._outbox) > _OUTBOX_MAX:
                self._drained.clear()
                await self._drained.wait()

    def _take(self, frame: kv.ClientFrame) -> None:
        tenant = self._tenant
        if frame.catalog_seen and tenant is not None:
            tenant.readers.saw(self, frame.catalog_seen, tenant.catalog_version)
        if tenant is not None and frame.requests:
            self._queued += len(frame.requests)
            self._shard.admission.admit(tenant.share, self._take_one, frame.requests)

    def _take_one(self, request: kv.Request) -> None:
        """A request's turn has come."""
        self._queued -= 1
        if self._queued == _QUEUED_MAX:
            self._unqueued.set()
        if not self._ended:
            self._answer(request, self._handle)

    def _go_on(self, work: Callable[[kv.Request], kv.Reply | None], request: kv.Request) -> None:
        """The next turn of a request that is in flight has come."""
        if request.id in self._in_flight:
            self._answer(request, work)

    def _answer(self, request: kv.Request, work: Callable[[kv.Request], kv.Reply | None]) -> None:
        """Send what `work` has to say, if it says it at once."""
        try:
            reply = work(request)
        except Refusal as refusal:
            reply = self._refused(request.id, refusal)
        except EngineError as error:
            reply = self._failed(request.id, error)
        except BaseException:
            # Nobody may wait for an answer that does not come.
            self.end("a request could not be handled")
            raise
        if reply is not None:
            self._drop(request.id)
            self._outbox.append(reply)
            self._ready.set()

    def _handle(self, request: kv.Request) -> kv.Reply | None:
        operations, limits, tenant = self._operations, self._shard.limits, self._tenant
        if operations is None or tenant is None:
            raise bad_request("a request before the hello")
        if request.HasField("cancel"):
            self.cancel(request.cancel.request_id)
            return None
        if request.id in self._in_flight:
            self.end("a request id that is in flight already")
            return None
        if request.HasField("recalled"):
            return operations.handle(request)  # whoever waits for it must not wait for room
        size = request.ByteSize()
        if (
            len(self._in_flight) >= limits.requests_max
            or self._in_flight_bytes + size > limits.request_bytes_max
        ):
            raise Refusal(kv.Error.BUSY, "too many requests in flight")
        self._shard.caps.check_request(tenant, size)
        in_flight(tenant, 1, size)
        self._in_flight[request.id] = InFlight(request.id, size)
        self._in_flight_bytes += size
        return operations.handle(request)

    async def _work(
        self, flight: InFlight, work: Callable[[InFlight], Coroutine[Any, Any, kv.Reply | None]]
    ) -> None:
        try:
            reply = await work(flight)
        except Refusal as refusal:
            reply = self._refused(flight.id, refusal)
        except EngineError as error:
            reply = self._failed(flight.id, error)
        if reply is not None:
            self.reply(reply)

    def _refused(self, request_id: int, refusal: Refusal) -> kv.Reply:
        REFUSED.labels(kv.Error.Code.Name(refusal.code).lower()).inc()
        return refusal.reply(request_id)

    def _failed(self, request_id: int, error: EngineError) -> kv.Reply:
        self._shard.failures.failed(error)
        return self._refused(request_id, engine_failed(error))

    def _drop(self, request_id: int) -> bool:
        """A request is not in flight any more; whether it was."""
        flight = self._in_flight.pop(request_id, None)
        if flight is None or self._tenant is None:
            return False
        self._in_flight_bytes -= flight.size
        in_flight(self._tenant, -1, -flight.size)
        return True

    async def _write(self) -> None:
        # A stream that is gone, or that was ended meanwhile, is the reader's to notice.
        with suppress(grpc.aio.InternalError, grpc.aio.AbortError):
            while True:
                await self._ready.wait()
                self._ready.clear()
                await self._flush()

    async def _flush(self) -> None:
        # The writer's frame may be on its way still when the stream is to end, and gRPC takes one
        # at a time.
        async with self._flushing:
            while self._outbox or self._catalog_version or self._notifications or self._tables:
                await self._context.write(self._next_frame())
        self._drained.set()

    def _next_frame(self) -> kv.ServerFrame:
        notifications = self._take_notifications()
        replies, size = [], 0
        # Replies wait for the notifications that came before them.
        for reply in () if self._notifications else self._outbox:
            replies.append(reply)
            size += reply.ByteSize()
            if size >= _FRAME_BYTES:
                break
        del self._outbox[: len(replies)]
        version, self._catalog_version = self._catalog_version, 0
        tables, self._tables = self._tables, []
        return kv.ServerFrame(
            replies=replies,
            catalog_version=version,
            notifications=notifications,
            tables=tables,
        )

    def _take_notifications(self) -> list[kv.Notification]:
        taken, size = [], 0
        while self._notifications and size < _FRAME_BYTES:
            taken.append(self._notifications.popleft())
            size += taken[-1].ByteSize()
        self._notification_bytes -= size
        return taken

    async def _large_commit(self) -> None:
        """Wait a little for a commit that is durable and takes its time; if it takes longer, its
        pod asks what became of it."""
        tenant = self._tenant
        with suppress(TimeoutError):
            async with asyncio.timeout(_LARGE_COMMIT_SECONDS):
                while tenant is not None and tenant.rolling is not None and not tenant.dropping:
                    await tenant.rolling.moved()

    async def _finish(self) -> None:
        """The stream is to end from this side: commits that are on their way are answered first."""
        if not self._ending:
            return
        if not self._cut:
            with suppress(EngineError):  # a lost engine's commits are answered by the next process
                await self._shard.committer.write([])
            await self._large_commit()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TAKEN_SECONDS):
                    await self._flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CUT_SECONDS):
                await self._context.abort(grpc.StatusCode.UNAVAILABLE, self._ending)
