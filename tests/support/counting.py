"""Storage behind a counter: passes a pod's stream on and records how often the pod has waited.

    async with counting(storage, tenant) as counter:
        ...                       # a pod that was told counter.address
        counter.round_trips       # [["scan", "get"], ["get"]]

What a pod asks before it has any answer belongs to one round trip, in however many frames it comes.
Answers are held back for a moment, so that questions that do not wait for them come before them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dormouse.base.ids import TenantId
from dormouse.base.rpc import Access, make_channel, make_server
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Identity, Role
from proto import kv_pb2 as kv
from proto.kv_pb2_grpc import KvServicer, KvStub, add_KvServicer_to_server
from tests.support.kv import STORAGE, StorageForTest

_UNANSWERED = frozenset({"end", "cancel"})
"""Nobody waits for these."""
_HELD_BACK_SECONDS = 0.02


class Counter(KvServicer):
    """See the module."""

    def __init__(self, stub: Any) -> None:
        self.address = ""
        self.round_trips: list[list[str]] = []
        """The operations the pod has waited for, those of one round trip together."""
        self._stub = stub
        self._answered = True

    async def Session(self, requests: Any, context: Any) -> AsyncIterator[kv.ServerFrame]:  # noqa: N802
        """See proto/kv.proto."""
        call = self._stub.Session()
        pump = spawn(self._pass_on(requests, call), name="counter requests")
        try:
            while isinstance(frame := await call.read(), kv.ServerFrame):
                await asyncio.sleep(_HELD_BACK_SECONDS)
                self._answered = self._answered or bool(frame.replies)
                yield frame
        finally:
            call.cancel()
            await cancel(pump)

    async def _pass_on(self, requests: Any, call: Any) -> None:
        async for frame in requests:
            self._count(frame)
            await call.write(frame)

    def _count(self, frame: kv.ClientFrame) -> None:
        asked = [str(each.WhichOneof("op")) for each in frame.requests]
        waited = [name for name in asked if name not in _UNANSWERED]
        if waited and self._answered:
            self._answered = False
            self.round_trips.append([])
        self.round_trips[-1:] = [[*trip, *waited] for trip in self.round_trips[-1:]]


@asynccontextmanager
async def counting(storage: StorageForTest, tenant: TenantId) -> AsyncIterator[Counter]:
    """A counter in front of storage, for one tenant's pods."""
    session = "/dormouse.kv.v1.Kv/Session"
    server = make_server({session: Access(any_tenant=True)})
    upstream = storage.authority.credentials(Identity(tenant=tenant))
    async with make_channel(storage.address, upstream, STORAGE) as channel:
        counter = Counter(KvStub(channel))
        add_KvServicer_to_server(counter, server)
        credentials = storage.authority.credentials(Identity(role=Role.STORAGE))
        port = server.add_secure_port("127.0.0.1:0", credentials.for_grpc_server())
        counter.address = f"127.0.0.1:{port}"
        await server.start()
        try:
            yield counter
        finally:
            await server.stop(0)
