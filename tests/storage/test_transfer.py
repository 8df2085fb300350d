"""A tenant's rows out of storage and into another tenant: one state, all of it, or nothing."""

import asyncio
import itertools
import logging
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop

from dormouse.base import blocks
from dormouse.base.clock import SystemClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.keys import tenant_prefix
from dormouse.base.rpc import make_channel
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Identity, Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.cache import Record
from storage.committer import Submission
from storage.config import Limits, ObjectStorage
from storage.engines.interface import EngineError, Measure
from storage.engines.memory import MemoryEngine
from storage.exports import Exports, TransferRefused
from storage.imports import Expected, Imports
from storage.layout import record_key, time_of
from storage.shard import Retention, Shard
from storage.supersede import version_writes
from storage.tenants import Tenant
from tests.support.kv import STORAGE, KvClient, StorageForTest, storage_running
from tests.support.storageprocess import Child, prepare

A, B = TenantId(7), TenantId(8)
ACCOUNTS, MONEY = 40, 100
Body = Callable[[StorageForTest, Any], Awaitable[None]]


@asynccontextmanager
async def administering(storage: StorageForTest) -> AsyncIterator[Any]:
    credentials = storage.authority.credentials(Identity(role=Role.CONTROL))
    async with make_channel(storage.address, credentials, STORAGE) as channel:
        yield kv_pb2_grpc.StorageAdminStub(channel)


def running(body: Body, engine: str = "memory", **options: Any) -> None:
    async def run(folder: Path) -> None:
        if engine == "slatedb":
            options["objects"] = ObjectStorage(url=f"file://{folder}/objects")
            (folder / "objects").mkdir()
        async with (
            storage_running(folder, engine=engine, **options) as storage,
            administering(storage) as admin,
        ):
            await body(storage, admin)

    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(run(Path(folder)))


def unpacked(rows: kv.TenantRows) -> dict[bytes, bytes]:
    if not rows.keys:
        return {}
    pairs = blocks.unpack_present(rows.keys), blocks.unpack_present(rows.values)
    return dict(zip(*pairs, strict=True))


async def nothing() -> None:
    pass


async def exported(
    admin: Any, tenant: TenantId, meanwhile: Callable[[], Awaitable[None]] = nothing
) -> tuple[list[kv.ExportPage], dict[bytes, bytes]]:
    """What an export brings; `meanwhile` happens between its first page and the others."""
    export = admin.Export(kv.ExportRequest(tenant_id=tenant))
    pages: list[kv.ExportPage] = []
    while isinstance(page := await export.read(), kv.ExportPage):
        if not pages:
            await meanwhile()
        pages.append(page)
    rows: dict[bytes, bytes] = {}
    for page in pages:
        rows |= unpacked(page.rows)
    return pages, rows


async def begin(admin: Any, tenant: TenantId) -> None:
    await admin.BeginImport(kv.BeginImportRequest(tenant_id=tenant))


async def send(admin: Any, tenant: TenantId, page: kv.ExportPage) -> None:
    request = kv.ImportRowsRequest(tenant_id=tenant, rows=page.rows, counters=page.counters)
    await admin.ImportRows(request)


async def finish(admin: Any, tenant: TenantId, pages: list[kv.ExportPage]) -> None:
    await admin.FinishImport(
        kv.FinishImportRequest(
            tenant_id=tenant,
            rows=sum(len(unpacked(page.rows)) for page in pages),
            counters=sum(len(unpacked(page.counters)) for page in pages),
            has_catalog=pages[0].has_catalog,
        )
    )


async def refused(work: Awaitable[Any], word: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await work
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert word in (error.value.details() or "")


async def closed(storage: StorageForTest, tenant: TenantId) -> None:
    """The tenant takes no session."""
    with pytest.raises(grpc.aio.AioRpcError, match="still being imported"):
        async with storage.session(tenant):
            pass


async def left(admin: Any, tenant: TenantId) -> None:
    """Wait until storage has seen the tenant's last session end."""
    for _ in range(2000):
        if not (await admin.TenantStats(kv.TenantStatsRequest(tenant_id=tenant))).sessions:
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


async def drained(call: Any) -> None:
    while isinstance(await call.read(), kv.ExportPage):
        pass


class Transfers:
    """Money that moves between accounts, for ever."""

    def __init__(self, client: KvClient) -> None:
        self._client = client
        self._done = 0
        self._one_done = asyncio.Event()

    async def run(self) -> None:
        for number in itertools.count(1):
            one, other = b"%03d" % (number % ACCOUNTS), b"%03d" % (number * 7 % ACCOUNTS)
            if one != other:
                await self._move(number, one, other)
                self._done += 1
                self._one_done.set()

    async def _move(self, amount: int, one: bytes, other: bytes) -> None:
        txn = self._client.txn()
        reply = await self._client.lock(txn, sorted([one, other]))
        values = blocks.unpack_present(reply.values)
        balances = dict(zip(sorted([one, other]), map(int, values), strict=True))
        moved = {one: b"%d" % (balances[one] - amount), other: b"%d" % (balances[other] + amount)}
        await self._client.commit(txn, moved)

    async def begin_and_end(self) -> None:
        """Wait for one that begins from now on."""
        goal = self._done + 2  # the next one may be on its way to the disk
        while self._done < goal:
            self._one_done.clear()
            await self._one_done.wait()


@pytest.mark.parametrize("engine", ["memory", "sqlite", "slatedb"])
def test_an_export_under_load_is_one_state_and_becomes_another_tenant(engine: str) -> None:
    async def body(storage: StorageForTest, admin: Any) -> None:
        async with storage.session(A) as client:
            await client.put({b"%03d" % each: b"%d" % MONEY for each in range(ACCOUNTS)})
            for each in range(ACCOUNTS):  # a page ends after every few accounts
                bulk: dict[bytes, bytes | None] = {b"%03d-bulk" % each: bytes(300_000)}
                await client.commit(client.txn(), bulk, changes_catalog=True)
            await client.increment(b"sequence", 42)
            transfers = Transfers(client)
            load = spawn(transfers.run(), name="transfers")
            states = [await exported(admin, A, transfers.begin_and_end) for _ in range(4)]
            assert not load.done()
            await cancel(load)
            for _, rows in states:
                assert len(rows) == 2 * ACCOUNTS
                accounts = [int(rows[b"%03d" % each]) for each in range(ACCOUNTS)]
                assert sum(accounts) == ACCOUNTS * MONEY
        pages, rows = states[-1]
        assert len({tuple(sorted(each.items())) for _, each in states}) > 1
        await begin(admin, B)
        for page in pages:
            await send(admin, B, page)
        await finish(admin, B, pages)
        async with storage.session(B) as client:
            assert client.hello.catalog_version > 0
            assert dict(await client.scan(b"", b"\xff")) == rows
            assert await client.increment(b"sequence", 1) == 42
            await client.put({b"000": b"5"})
            assert await client.get(b"000") == [b"5"]

    # Nothing is kept of what was overwritten but for the export's sake.
    running(body, engine, history_seconds=0.0, recovery_window_seconds=0, collect_seconds=0.01)


def test_nothing_is_usable_before_the_end() -> None:
    async def body(storage: StorageForTest, admin: Any) -> None:
        async with storage.session(A) as client:
            await client.put({b"a": b"1", b"b": b"2"})
            await refused(begin(admin, A), "in use")
        pages, _ = await exported(admin, A)
        async with storage.session(B) as client:
            assert await client.get(b"a") == [None]  # and storage remembers that
            await refused(begin(admin, B), "in use")
        await left(admin, A)
        await left(admin, B)
        await refused(begin(admin, A), "rows")
        await refused(send(admin, B, pages[1]), "not being imported")
        await begin(admin, B)
        await begin(admin, B)
        await closed(storage, B)
        with pytest.raises(grpc.aio.AioRpcError):
            await exported(admin, B)
        await refused(finish(admin, B, pages), "0 rows")
        await send(admin, B, pages[1])
        await send(admin, B, pages[1])
        await finish(admin, B, pages)
        await finish(admin, B, pages)  # whoever did not hear the answer asks again
        async with storage.session(B) as client:
            assert await client.get(b"a", b"b") == [b"1", b"2"]

    running(body)


def test_a_broken_import_can_be_dropped_and_begun_anew() -> None:
    async def body(storage: StorageForTest, admin: Any) -> None:
        async with storage.session(A) as client:
            await client.put({b"a": b"1"})
        pages, _ = await exported(admin, A)
        await begin(admin, B)
        await send(admin, B, pages[1])
        await admin.DropTenant(kv.DropTenantRequest(tenant_id=B))
        async with storage.session(B) as client:
            assert await client.get(b"a") == [None]
        await left(admin, B)
        await begin(admin, B)
        await finish(admin, B, [kv.ExportPage()])

    running(body)


def test_an_export_ends_with_its_tenant_and_its_pin_with_the_export(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(storage: StorageForTest, admin: Any) -> None:
        async with storage.session(A) as client:
            for part in range(15):  # more than gRPC keeps on the way
                await client.put({b"%d-%d" % (part, n): b"x" * 20_000 for n in range(200)})
        export = admin.Export(kv.ExportRequest(tenant_id=A))
        await export.read()
        await admin.DropTenant(kv.DropTenantRequest(tenant_id=A))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await drained(export)
        assert error.value.code() is grpc.StatusCode.ABORTED
        async with storage.session(B) as client:
            for part in range(8):
                await client.put({b"%d-%d" % (part, n): b"x" * 20_000 for n in range(200)})
        for _ in range(20):  # more than may run at once: those that were given up are gone
            given_up = admin.Export(kv.ExportRequest(tenant_id=B))
            await given_up.read()
            given_up.cancel()
            await asyncio.sleep(0.01)
        assert await exported(admin, B)

    with caplog.at_level(logging.ERROR):
        running(body, limits=Limits(frame_bytes_max=8 << 20))
    assert not caplog.records


@pytest.mark.parametrize("moment", ["begun", "written"])
def test_a_kill_leaves_a_tenant_that_nobody_can_use(tmp_path: Path, moment: str) -> None:
    async def run() -> None:
        authority = prepare(tmp_path)
        child = Child(tmp_path)
        storage = child.storage(authority)
        async with administering(storage) as admin:
            async with storage.session(A) as client:
                await client.put({b"a": b"1"})
            pages, _ = await exported(admin, A)
            await begin(admin, B)
            if moment == "written":
                await send(admin, B, pages[1])
        child.end(signal.SIGKILL)
        child = Child(tmp_path)
        storage = child.storage(authority)
        async with administering(storage) as admin:
            await closed(storage, B)
            await begin(admin, B)  # it goes on
            await send(admin, B, pages[1])
            await finish(admin, B, pages)
            async with storage.session(B) as client:
                assert await client.get(b"a") == [b"1"]
        assert child.end(signal.SIGTERM)[0] == 0

    uvloop.run(run())


async def overwritten(shard: Shard, tenant: Tenant, number: int) -> None:
    """Give the tenant's rows that value, as a commit does."""
    keys = [tenant_prefix(tenant.id) + name for name in (b"a", b"b", b"c")]
    found = await shard.engine.get(keys)
    records: dict[bytes, Record] = {
        key: (0, None) if value is None else (time_of(value), value[8:])
        for key, value in zip(keys, found, strict=True)
    }
    time, value = shard.clock.next(), b"%d" % number * 600_000
    new = version_writes([(key, value) for key in keys], records, time)
    tenant.last_overwrite = time
    durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: EngineError | None) -> None:
        assert error is None
        shard.versions.visible = time
        durable.set_result(None)

    record = record_key(tenant.id, PodId(0), number)
    submission = Submission(new.batch, done, time=time, record=record, ended=new.ended)
    shard.committer.submit(submission)
    await durable


def test_history_stays_for_as_long_as_an_export_runs() -> None:
    async def run() -> None:
        shard = await Shard.open(MemoryEngine(), clock=SystemClock(), retention=Retention())
        tenant = shard.tenants.open(A)
        await overwritten(shard, tenant, 1)
        rows: dict[bytes, bytes] = {}
        pages = Exports(shard).pages(A)
        for number in range(2, 8):
            rows |= unpacked((await anext(pages, kv.ExportPage())).rows)
            await overwritten(shard, tenant, number)
            await shard.collector.collect()
        assert {key: value[:1] for key, value in rows.items()} == dict.fromkeys(
            (b"a", b"b", b"c"), b"1"
        )
        assert not tenant.pins
        await shard.close()

    uvloop.run(run())


class Counting(MemoryEngine):
    """Counts when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.may.set()
        self.counts = 0

    async def measure(self, start: bytes, end: bytes) -> Measure:
        self.counts += 1
        await self.may.wait()
        return await super().measure(start, end)


def test_counting_goes_on_without_who_asked() -> None:
    async def run() -> None:
        engine = Counting()
        shard = await Shard.open(engine, clock=SystemClock(), retention=Retention())
        imports = Imports(shard)
        await imports.begin(A)
        rows = kv.TenantRows(keys=blocks.pack([b"k1", b"k2"]), values=blocks.pack([b"", b"x"]))
        await imports.write(A, rows, kv.TenantRows())
        with pytest.raises(TransferRefused, match="2 rows and 0 counters are there, 3 and 0"):
            await imports.finish(A, Expected(3, 0, has_catalog=True))
        before = engine.counts
        engine.may.clear()
        expected = Expected(2, 0, has_catalog=True)
        for _ in range(3):
            assert not await imports.finish(A, expected, wait_seconds=0)
        with pytest.raises(TransferRefused, match="being written to"):
            await imports.write(A, rows, kv.TenantRows())
        engine.may.set()
        assert await imports.finish(A, expected)
        assert await imports.finish(A, expected)
        assert engine.counts == before + 2  # rows and counters, once
        await imports.begin(B)
        engine.may.clear()
        assert not await imports.finish(B, Expected(0, 0, has_catalog=False), wait_seconds=0)
        await shard.drop(B)  # which does not wait for the count
        with pytest.raises(TransferRefused, match="dropped"):
            await imports.finish(B, Expected(0, 0, has_catalog=False))
        await shard.close()

    uvloop.run(run())
