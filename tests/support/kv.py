"""Storage for tests: a service in this process behind real mutual TLS, and a plain client.

    with tempfile.TemporaryDirectory() as folder:
        async with storage_running(Path(folder), engine="memory") as storage:
            async with storage.session(TenantId(7)) as kv:
                await kv.put({b"key": b"value"})

Keys are given without the tenant's prefix; the client puts it in front.
"""

import asyncio
import itertools
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.kvstream import KvError as KvError
from bench.kvstream import KvStream
from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.rpc import make_channel
from dormouse.base.tls import Identity, Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.config import StorageSettings
from storage.server import serve
from tests.support.certificates import Authority

STORAGE = Identity(role=Role.STORAGE)
_pods = itertools.count(1)


class KvClient(KvStream):
    """One session stream with what the tests ask for."""

    def __init__(self, stub: Any, tenant: TenantId, pod: int) -> None:
        super().__init__(stub, tenant, pod)
        self._txns = itertools.count(1_000_000)  # far from what tests number by hand
        self._seen = 0
        self.told: list[int] = []
        """Catalog versions storage has told of."""
        self.heard: list[tuple[str, str]] = []
        """(channel, payload) of every notification."""
        self.reading = asyncio.Event()
        self.reading.set()
        """Cleared, nothing more is taken from the stream."""

    def txn(self) -> int:
        """A fresh transaction number."""
        return next(self._txns)

    def saw_catalog(self, version: int) -> None:
        """Keep the catalog from now on, or have a newer version of it."""
        self._seen = version
        self._ready.set()

    def cancel(self, future: "asyncio.Future[Any]") -> None:
        """Ask storage to give up a request that waits."""
        request_id = next(each for each, waiting in self._waiting.items() if waiting is future)
        self._outbox.append(kv.Request(id=next(self._ids), cancel=kv.Cancel(request_id=request_id)))
        self._ready.set()

    async def get(
        self, *keys: bytes, snapshot: int = 0, txn: int = 0, pin: bool = False
    ) -> list[bytes | None]:
        reply = await self.send(
            txn=txn, get=kv.Get(keys=self.keys(keys), snapshot=snapshot, pin=pin)
        )
        return blocks.unpack(reply.values)

    async def pin(self, txn: int) -> int:
        """Pin the newest snapshot and answer it."""
        reply = await self.send(txn=txn, get=kv.Get(keys=self.keys([]), pin=True))
        return int(reply.snapshot)

    async def scan(
        self, start: bytes, end: bytes, *, snapshot: int = 0, reverse: bool = False, rows: int = 0
    ) -> list[tuple[bytes, bytes]]:
        """All pages of a range."""
        low, high = self.prefix + start, self.prefix + end
        found: list[tuple[bytes, bytes]] = []
        while True:
            page = await self.send(
                scan=kv.Scan(
                    start=low,
                    end=high,
                    snapshot=snapshot,
                    reverse=reverse,
                    rows_max=rows,
                    strip=len(self.prefix),
                )
            )
            keys, values = blocks.unpack_present(page.keys), blocks.unpack_present(page.values)
            found += zip(keys, values, strict=True)
            if not page.resume:
                return found
            snapshot = page.snapshot
            low, high = (low, page.resume) if reverse else (page.resume, high)

    async def lock(
        self,
        txn: int,
        keys: Sequence[bytes],
        *,
        mode: int = kv.UPDATE,
        wait: int = kv.WAIT,
        snapshot: int = 0,
        timeout_ms: int = 0,
    ) -> kv.LockReply:
        reply = await self.send(
            txn=txn,
            lock=kv.Lock(
                keys=self.keys(keys),
                mode=kv.LockMode.ValueType(mode),
                wait=kv.WaitPolicy.ValueType(wait),
                snapshot=snapshot,
                timeout_ms=timeout_ms,
            ),
        )
        if not isinstance(reply, kv.LockReply):
            raise TypeError(reply)
        return reply

    async def stage(self, txn: int, writes: Mapping[bytes, bytes | None]) -> int:
        reply = await self.send(txn=txn, stage=kv.Stage(writes=self.writes(writes)))
        return int(reply.bytes_staged)

    async def commit(
        self,
        txn: int,
        writes: Mapping[bytes, bytes | None],
        *,
        absent: Sequence[bytes] = (),
        **more: Any,
    ) -> int:
        """The commit time."""
        commit = kv.Commit(writes=self.writes(writes), **more)
        if absent:
            commit.absent = self.keys(absent)
        return int((await self.send(txn=txn, commit=commit)).commit_time)

    async def put(self, writes: Mapping[bytes, bytes | None]) -> int:
        """Write in a transaction of its own, whatever was there."""
        return await self.commit(self.txn(), writes)

    async def end(self, txn: int) -> None:
        await self.send(txn=txn, end=kv.End())

    async def resolve(self, txn: int) -> int:
        return int((await self.send(resolve=kv.Resolve(txn=txn))).commit_time)

    async def increment(self, key: bytes, delta: int) -> int:
        increment = kv.Increment(key=self.prefix + key, delta=delta)
        return int((await self.send(increment=increment)).previous)

    async def take(self, key: bytes, count: int = 1, **shape: Any) -> range:
        """Numbers of a sequence; empty at its end."""
        shape = {"start": 1, "increment": 1, "min": 1, "max": 2**63 - 1} | shape
        taken = kv.Sequence.Take(count=count, **shape)
        reply = await self.send(sequence=kv.Sequence(key=self.prefix + key, take=taken))
        step = shape["increment"]
        return range(reply.first, reply.first + reply.count * step, step)

    async def set_sequence(self, key: bytes, value: int, *, is_called: bool = True) -> None:
        put = kv.Sequence.Put(value=value, is_called=is_called)
        await self.send(sequence=kv.Sequence(key=self.prefix + key, put=put))

    async def look(self, key: bytes, *, increment: int = 1) -> tuple[int, bool, int]:
        """Last value, whether it is called, and what can be given without a write."""
        look = kv.Sequence.Look(start=1, increment=increment)
        reply = await self.send(sequence=kv.Sequence(key=self.prefix + key, look=look))
        return reply.last_value, reply.is_called, reply.log_count

    async def give_back(self, key: bytes, unused: range) -> None:
        back = {"next": unused[0], "last": unused[-1], "increment": unused.step}
        sequence = kv.Sequence(key=self.prefix + key)
        getattr(sequence, "return").MergeFrom(kv.Sequence.Return(**back))
        await self.send(sequence=sequence)

    def next_frame(self) -> kv.ClientFrame:
        frame = super().next_frame()
        frame.catalog_seen, self._seen = self._seen, 0
        return frame

    async def took(self, frame: kv.ServerFrame) -> None:
        await self.reading.wait()
        self.heard += [(each.channel, each.payload) for each in frame.notifications]
        if frame.catalog_version:
            self.told.append(frame.catalog_version)


@dataclass(frozen=True, slots=True)
class StorageForTest:
    """Where a storage service answers, and the authority of its installation."""

    address: str
    metrics: str
    authority: Authority

    def metric(self, name: str) -> float:
        """The sum of a metric, or the value of one of its labels."""
        with urllib.request.urlopen(self.metrics) as page:
            lines = page.read().decode().splitlines()
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(name))

    @asynccontextmanager
    async def session(self, tenant: TenantId, *, pod: int = 0) -> AsyncIterator[KvClient]:
        credentials = self.authority.credentials(Identity(tenant=tenant))
        async with make_channel(self.address, credentials, STORAGE) as channel:
            client = await KvClient(kv_pb2_grpc.KvStub(channel), tenant, pod or next(_pods)).open()
            try:
                yield client
            finally:
                await client.close()


@asynccontextmanager
async def storage_running(
    folder: Path, *, authority: Authority | None = None, **settings: Any
) -> AsyncIterator[StorageForTest]:
    """A storage service in this process, on a free port, with its files under `folder`."""
    authority = authority or Authority()
    certs = folder / "certs"
    authority.write(certs, STORAGE)
    chosen = StorageSettings(data=folder / "data", certs=certs, **settings)
    async with serve(chosen) as up:
        yield StorageForTest(up.ready["address"], up.ready["metrics"], authority)
