"""The pod's one connection to storage: requests in, futures out, across broken streams.

All sessions of the pod share one bidirectional stream. A request costs no task: `call` queues it
and returns a future; one writer task, woken once per turn of the event loop, packs what has
gathered into a frame; one reader task resolves the futures.

When the stream breaks, the client opens another (with growing pauses) and gives it a new `epoch`.
Locks, pins and staged writes died with the old stream, so requests that build on them are *bound*
to an epoch and fail with StreamLost; pure reads are sent again; a commit that was sent is in doubt
and is settled with `resolve`. Requests that find storage away for UNAVAILABLE_SECONDS fail with
57P03; those of a tenant that storage lets nobody into, because of damage, at once with XX001.
"""

from __future__ import annotations  # the gRPC types are generic for the type checker only

import asyncio
import contextlib
import logging
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from dormouse.base import keys, tasks
from dormouse.base.errors import Unavailable
from dormouse.base.renewal import LiveCredentials
from dormouse.base.rpc import make_channel
from dormouse.base.tls import Credentials, Identity, Role
from proto import kv_pb2 as kv
from proto.kv_pb2_grpc import KvStub
from sqlnode.kv.api import Isolation
from sqlnode.kv.calls import Call, Calls, Limits
from sqlnode.kv.channels import Channels
from sqlnode.kv.errors import KvRefused, StreamLost, connection_lost, outcome_unknown, sql_error
from sqlnode.kv.following import CatalogFollower
from sqlnode.kv.rowids import Numbers
from sqlnode.kv.tables import PodTables
from sqlnode.kv.transaction import KvTransaction
from sqlnode.kv.usage import KvUsage

if TYPE_CHECKING:
    from dormouse.base.ids import PodId, TenantId
    from sqlnode.kv.advisory import AdvisoryLocks

COUNTERS_TABLE_ID = 2
"""The table id under which a tenant's counters are; one index id for each."""
ROW_ID_COUNTER = 1
GENERATION_COUNTER = 2
UNAVAILABLE_SECONDS = 10.0
"""How long a request waits for storage to come back."""
RESOLVE_SECONDS = 30.0
"""How long a commit in doubt waits for storage to say what became of it."""
_PAUSE_MIN, _PAUSE_MAX = 0.05, 1.0
_LOCKS = frozenset({"lock", "lock_tables", "advisory"})
"""Requests that may wait for others."""

_EOF: Any = vars(grpc.aio)["EOF"]  # the type stubs do not know it

_log = logging.getLogger(__name__)


class KvClient:
    """A stream to storage under a tenant's certificate. `start` it before use, `close` it after."""

    def __init__(
        self,
        address: str,
        credentials: Credentials | LiveCredentials,
        *,
        tenant: TenantId,
        pod: PodId,
        keeps_catalog: bool = False,
    ) -> None:
        """`keeps_catalog`: storage is to count on a copy of the catalog from the first frame on."""
        self.tenant = tenant
        self.pod = pod
        self.epoch = 1
        """Counts streams: what was locked, pinned or staged under another epoch is gone."""
        self.greeted = asyncio.Event()
        """Set once storage has answered for the first time."""
        self._address = address
        self._credentials = credentials
        self._calls = Calls()
        self._request_ids = count(1)
        self._txn_ids = count(1)
        self._wake: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._greeted = False
        self.catalog = CatalogFollower(self._wake_writer, follows=keeps_catalog)
        """What the pod has of the catalog, if it keeps a copy."""
        self.channels = Channels(
            lambda request: self.call(request, retry=True),
            lambda request: self.send(request, epoch=self.epoch),
        )
        """What the pod's sessions listen to."""
        self.tables = PodTables(pod, lambda request: self.send(request, epoch=self.epoch))
        """What the pod knows of tables' locks."""
        self.freeing: dict[int, asyncio.Future[kv.Reply]] = {}
        """By session: its last request that frees something, until it is `settled`."""
        self.holders: dict[AdvisoryLocks, None] = {}
        """The sessions that hold advisory locks beyond their transactions."""
        self._row_ids = self.numbers(ROW_ID_COUNTER, first=1)
        self.generations = self.numbers(GENERATION_COUNTER, first=1)
        """Names for the states of sequences: none is ever used for two."""

    def __repr__(self) -> str:
        return f"<KvClient tenant {self.tenant} epoch {self.epoch} {self._calls!r}>"

    @property
    def limits(self) -> Limits:
        """What storage takes."""
        return self._calls.limits

    @property
    def usage(self) -> KvUsage:
        """What storage has done for this client."""
        return self._calls.usage

    @property
    def system_usage(self) -> KvUsage:
        """Likewise for calls of `system_work`."""
        return self._calls.system_usage

    def start(self) -> None:
        """Open the stream in the background; requests may be made at once."""
        self._task = tasks.spawn(self._run(), name=f"storage stream of tenant {self.tenant}")

    async def close(self) -> None:
        """End the stream; whatever still waits fails with StreamLost."""
        await self.catalog.close()
        await tasks.cancel(self._task)
        self._calls.stream_broke()
        self._calls.fail_waiting(StreamLost(sent=False))

    # --- transactions and counters ---

    def begin(
        self,
        *,
        isolation: Isolation = Isolation.READ_COMMITTED,
        read_only: bool = False,
        as_of: int = 0,
        catalog_version: int = 0,
    ) -> KvTransaction:
        """A new transaction; costs no round trip. End it with `commit` or `rollback`."""
        return KvTransaction(
            self,
            self._row_ids.take,
            isolation=isolation,
            read_only=read_only,
            as_of=as_of,
            catalog_version=catalog_version,
        )

    def numbers(self, counter: int, *, first: int) -> Numbers:
        """Numbers from one of the tenant's durable counters, beginning with `first`."""
        key = keys.index_prefix(self.tenant, COUNTERS_TABLE_ID, counter)
        return Numbers(lambda delta: self.increment(key, delta), first=first)

    # --- requests ---

    def next_txn(self) -> int:
        """A transaction number that this pod never used."""
        return next(self._txn_ids)

    def call(
        self, request: kv.Request, *, epoch: int = 0, retry: bool = False, elsewhere: int = 0
    ) -> asyncio.Future[kv.Reply]:
        """Send a request soon; the future gives the reply or raises KvRefused or StreamLost.

        `epoch` binds it to a stream; `retry` lets it be sent again if its stream breaks, and
        `elsewhere` is the catalog version it proves on any other stream than this one.
        """
        future: asyncio.Future[kv.Reply] = asyncio.get_running_loop().create_future()
        request.id = next(self._request_ids)
        if epoch and epoch != self.epoch:
            future.set_exception(StreamLost(sent=False))
            return future
        self._queue(request, future, bound=epoch != 0, retry=retry, elsewhere=elsewhere)
        return future

    def send(self, request: kv.Request, *, epoch: int) -> None:
        """Send a request whose reply nobody waits for; dropped if its stream is gone."""
        if epoch == self.epoch:
            request.id = next(self._request_ids)
            self._queue(request, None, bound=True, retry=False)

    def free(self, request: kv.Request, *, epoch: int) -> None:
        """Send a request that frees locks of a session, or numbers that it did not need. Nobody
        waits for it here, but `settled` lets the session's client hear of it when they are free."""
        if epoch == self.epoch:
            self.freeing[request.session] = future = self.call(request, epoch=epoch)
            future.add_done_callback(_ignore)

    async def settled(self, session: int) -> None:
        """Wait until what the session freed is free: in order, so the last request counts."""
        if session in self.freeing:
            await asyncio.wait({self.freeing.pop(session)})

    def cancel(self, request_id: int) -> None:
        """Let storage give up waiting for the locks of a request."""
        self.send(kv.Request(cancel=kv.Cancel(request_id=request_id)), epoch=self.epoch)

    async def resolve(self, txn: int) -> int:
        """What became of a transaction whose commit was sent on a broken stream: its commit time,
        0 if it did not commit. SqlError 08007 where storage does not say in time."""
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                while True:
                    request = kv.Request(resolve=kv.Resolve(txn=txn))
                    with contextlib.suppress(Unavailable):
                        return (await self.call(request, retry=True)).resolve.commit_time
        except (TimeoutError, KvRefused, StreamLost) as error:
            raise outcome_unknown() from error

    async def increment(self, key: bytes, delta: int) -> int:
        """Add to a durable counter; its value before. After a broken stream the counter may have
        been raised without anybody being told: gaps, never duplicates."""
        request = kv.Request(increment=kv.Increment(key=key, delta=delta))
        try:
            return (await self.call(request, retry=True)).increment.previous
        except KvRefused as refused:
            raise sql_error(refused) from refused
        except StreamLost as lost:
            raise connection_lost() from lost

    async def current_catalog_version(self) -> int:
        """The version of the tenant's catalog now, by one round trip; 0 if it never changed."""
        # No catalog has this version, so storage names the true one.
        request = kv.Request(get=kv.Get(keys=b"\0\0\0\0"), catalog_version=2**64 - 1)
        try:
            await self.call(request, retry=True)
        except KvRefused as refused:
            if refused.code == kv.Error.CATALOG_STALE:
                return refused.version
            raise sql_error(refused) from refused
        except StreamLost as lost:
            raise connection_lost() from lost
        return 0

    def _queue(
        self,
        request: kv.Request,
        future: asyncio.Future[kv.Reply] | None,
        *,
        bound: bool,
        retry: bool,
        elsewhere: int = 0,
    ) -> None:
        is_lock = request.WhichOneof("op") in _LOCKS
        size = request.ByteSize() + 8
        self._calls.add(Call(request, future, bound, retry, size, is_lock, elsewhere))
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # --- the stream ---

    async def _run(self) -> None:
        server = Identity(role=Role.STORAGE)
        pause = _PAUSE_MIN
        loop = asyncio.get_running_loop()
        down_since: float | None = None
        async with make_channel(self._address, self._credentials, server) as channel:
            while True:
                self._greeted = damaged = False
                try:
                    await self._session(channel)
                except (grpc.aio.AioRpcError, grpc.aio.UsageError, _StreamEnded) as error:
                    _log.warning("storage stream broke", extra={"reason": _reason(error)})
                    damaged = _is_damage(error)
                self.epoch += 1
                self._calls.stream_broke()
                self.channels.stream_broke()
                self.tables.stream_broke()
                for holder in list(self.holders):
                    holder.stream_broke()
                if self._greeted:
                    pause, down_since = _PAUSE_MIN, None
                down_since = down_since or loop.time()
                if damaged:
                    self._calls.fail_waiting(KvRefused(kv.Error(code=kv.Error.DAMAGED)))
                elif loop.time() - down_since > UNAVAILABLE_SECONDS:
                    self._calls.fail_waiting(Unavailable("storage does not answer"))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _PAUSE_MAX)

    async def _session(self, channel: grpc.aio.Channel) -> None:
        stub: Any = KvStub(channel)
        stream = stub.Session()
        writer = tasks.spawn(self._write(stream), name=f"storage writer of {self.tenant}")
        try:
            while True:
                frame = await stream.read()
                if frame is _EOF:
                    raise _StreamEnded(await stream.details(), await stream.code())
                if frame.HasField("hello"):
                    self._hello(frame.hello)
                if frame.catalog_version:
                    self.catalog.told(frame.catalog_version)
                self.tables.told(frame.tables)
                self.channels.told(frame.notifications)
                for reply in frame.replies:
                    self._calls.answer(reply)
                self._wake_writer()
        finally:
            stream.cancel()
            await tasks.cancel(writer)

    def _hello(self, hello: kv.HelloReply) -> None:
        if hello.protocol_version != kv.PROTOCOL_VERSION:
            raise _StreamEnded(f"storage speaks version {hello.protocol_version}", None)
        self._greeted = True
        self.greeted.set()
        self.catalog.told(hello.catalog_version)
        self.tables.greeted(hello)
        self.channels.greeted()
        limits = self._calls.limits
        limits.frame_bytes_max = hello.frame_bytes_max or limits.frame_bytes_max
        limits.txn_bytes_max = hello.txn_bytes_max or limits.txn_bytes_max
        limits.requests_max = hello.requests_max or limits.requests_max

    async def _write(self, stream: Any) -> None:
        loop = asyncio.get_running_loop()
        hello = kv.Hello(
            protocol_version=kv.PROTOCOL_VERSION,
            tenant_id=self.tenant,
            pod_id=self.pod,
            channels=self.channels.names,
        )
        frame = self._calls.next_frame() or kv.ClientFrame()
        frame.hello.CopyFrom(hello)
        frame.catalog_seen = self.catalog.seen
        self.catalog.take()
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # A stream that is gone is the reader's to notice.
            while True:
                await stream.write(frame)
                while (following := self._next_frame()) is None:
                    self._wake = loop.create_future()
                    await self._wake
                frame = following

    def _next_frame(self) -> kv.ClientFrame | None:
        frame, seen = self._calls.next_frame(), self.catalog.take()
        if seen:
            frame = frame or kv.ClientFrame()
            frame.catalog_seen = seen
        return frame


class _StreamEnded(Exception):
    """Storage ended the stream, or speaks another protocol."""

    def __init__(self, details: str, code: grpc.StatusCode | None) -> None:
        super().__init__(details if code is None else f"{code}: {details}")
        self._code = code

    def code(self) -> grpc.StatusCode | None:
        """As that of grpc's own error."""
        return self._code


def _ignore(future: asyncio.Future[kv.Reply]) -> None:
    if not future.cancelled():
        future.exception()


def _is_damage(error: Exception) -> bool:
    """Whether storage lets nobody in, for it cannot read what all need of the tenant's data."""
    return (
        isinstance(error, grpc.aio.AioRpcError | _StreamEnded)
        and error.code() == grpc.StatusCode.DATA_LOSS
    )


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code()}: {error.details()}"
    return str(error)
