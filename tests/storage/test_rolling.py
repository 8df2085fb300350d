"""While a large commit is on its way to its place: what its tenant sees, what waits, what goes on,
and what happens when the disk is full just then."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import uvloop

from dormouse.base import blocks
from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from dormouse.base.rpc import make_channel
from dormouse.base.tls import Identity, Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage import rollforward, server, shard
from storage.engines.interface import Engine, EngineError, EngineFull, Row, ScanRange, Write
from storage.engines.memory import MemoryEngine
from storage.exports import Exports, TransferRefused
from storage.imports import Imports
from storage.layout import (
    FORMAT,
    FORMAT_NOW,
    HORIZON,
    STAGED_SPAN,
    TIME,
    stored_spans,
    tenant_spans,
)
from storage.refusals import Refusal
from storage.shard import Retention, Shard
from tests.storage.gauges import value
from tests.storage.stoppable import StoppableEngine
from tests.storage.test_rollforward import fixed
from tests.storage.test_versions import TENANT, DirectSession, scanned
from tests.support.kv import STORAGE, KvClient, KvError, StorageForTest, storage_running
from tests.support.waiting import until

SHOP, BANK = TenantId(7), TenantId(8)
OLD: dict[bytes, bytes | None] = {b"k%d" % n: b"old" for n in range(6)}
LOAD: dict[bytes, bytes | None] = {b"k%d" % n: b"new" for n in range(2, 9)}
NEW = {**OLD, **LOAD, b"rest": b"new"}
TXN = 5


class Rig:
    """A storage service on an engine in memory that a test can stop, and clients of it."""

    def __init__(self, engine: StoppableEngine, storage: StorageForTest, shop: KvClient) -> None:
        self.engine = engine
        self.storage = storage
        self.shop = shop

    async def load(self, txn: int = TXN, **more: Any) -> "asyncio.Future[Any]":
        """A large commit that has begun and does not go on; its answer."""
        self.engine.holds = True
        return await self.commit(txn, **more)

    async def commit(self, txn: int = TXN, **more: Any) -> "asyncio.Future[Any]":
        await self.shop.stage(txn, LOAD)
        commit = kv.Commit(writes=self.shop.writes({b"rest": b"new"}), **more)
        answer = self.shop.send(txn=txn, commit=commit)
        await until(lambda: answer.done() or value("roll_forwards") == 1)
        return answer

    @asynccontextmanager
    async def control(self) -> AsyncIterator[Any]:
        credentials = self.storage.authority.credentials(Identity(role=Role.CONTROL))
        async with make_channel(self.storage.address, credentials, STORAGE) as channel:
            yield kv_pb2_grpc.StorageAdminStub(channel)


def running(
    monkeypatch: pytest.MonkeyPatch, body: Callable[[Rig], Awaitable[None]], **settings: Any
) -> None:
    monkeypatch.setattr(rollforward, "_PAUSE_MAX_SECONDS", 0.05)
    monkeypatch.setattr(rollforward, "_DAMAGED_SECONDS", 0.05)
    engine = StoppableEngine(MemoryEngine(), turn_bytes=100)

    async def opened(_settings: Any) -> StoppableEngine:
        return engine

    monkeypatch.setattr(server, "open_engine", opened)

    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory", **settings) as storage,
                storage.session(SHOP) as shop,
            ):
                await shop.put(OLD)
                await body(Rig(engine, storage, shop))

    uvloop.run(asyncio.wait_for(whole(), 60))


async def seen(client: KvClient, snapshot: int = 0) -> dict[bytes, bytes | None]:
    return dict(await client.scan(b"", b"\xff", snapshot=snapshot))


async def refused(waiting: Awaitable[Any]) -> str:
    with pytest.raises(KvError) as caught:
        await waiting
    return caught.value.name


def full(tenant: TenantId) -> Callable[[list[Write]], EngineError | None]:
    """No room for rows of a tenant."""
    spans = stored_spans(tenant)

    def fails(batch: list[Write]) -> EngineError | None:
        mine = any(low <= key < high for key, _ in batch for low, high in spans)
        return EngineFull("no room") if mine else None

    return fails


async def bank_time(rig: Rig) -> int:
    """A time that has passed: that of a commit of another tenant."""
    async with rig.storage.session(BANK) as bank:
        return await bank.put({b"k": b""})


async def reads_its_own(
    rig: Rig, loading: "asyncio.Future[Any]", expected: dict[bytes, bytes | None] = NEW
) -> int:
    """Let it go on; its time, when all of it is there."""
    rig.engine.go()
    time = int((await loading).commit_time)
    assert await seen(rig.shop) == expected
    assert value("roll_forwards") == value("roll_forward_bytes") == 0
    return time


def test_nobody_sees_half_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        async with rig.storage.session(SHOP) as other:
            pinned = await other.pin(1)
            loading = await rig.load()
            assert await seen(other) == OLD
            assert await other.get(b"k2", b"k8", b"rest") == [b"old", None, None]
            young = await other.pin(2)
            elsewhere = await other.lock(3, [b"k9"])
            assert elsewhere.snapshot <= young
            locking = [
                other.send(txn=number, lock=kv.Lock(keys=other.keys([key]), mode=kv.KEY_SHARE))
                for number, key in ((4, b"k2"), (5, b"k8"))
            ]
            rig.engine.applies_left = 3  # and then it is in the middle
            rig.engine.go()
            await rig.engine.stopped.wait()
            for snapshot in (0, pinned, young):
                assert await seen(other, snapshot) == OLD
            assert await other.get(b"k2", b"k8", b"k5") == [b"old", None, b"old"]
            assert await seen(rig.shop) == OLD
            assert not loading.done()
            assert not any(each.done() for each in locking)
            rig.engine.resume()
            time = await reads_its_own(rig, loading)
            for reply in await asyncio.gather(*locking):
                assert reply.snapshot >= time
                assert reply.versions == TIME.pack(time)
            assert await seen(other) == NEW
            for snapshot in (pinned, young):
                assert await seen(other, snapshot) == OLD

    running(monkeypatch, body)


def test_the_past_is_read_without_waiting_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        before = await rig.shop.put({b"k9": None})
        loading = await rig.load()

        def at(time: int) -> "asyncio.Future[Any]":
            keys = rig.shop.keys([b"k2", b"k8"])
            return rig.shop.send(get=kv.Get(keys=keys, snapshot=time, as_of=True))

        assert (await at(before)).values == (
            await rig.shop.send(get=kv.Get(keys=rig.shop.keys([b"k2", b"k8"]), snapshot=before))
        ).values
        now = await bank_time(rig)
        waiting = at(now)
        await rig.shop.get(b"k1")
        assert not waiting.done()
        time = await reads_its_own(rig, loading)
        assert time <= now
        assert (await waiting).snapshot >= time
        assert (await at(time)).values != (await at(time - 1)).values
        assert await seen(rig.shop, time - 1) == OLD

    running(monkeypatch, body)


def test_commits_of_the_tenant_wait_and_those_of_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body(rig: Rig) -> None:
        async with rig.storage.session(SHOP) as other, rig.storage.session(BANK) as bank:
            snapshot = await other.pin(1)
            loading = await rig.load()
            free = other.send(txn=2, commit=kv.Commit(writes=other.writes({b"k0": b"next"})))
            writes = other.writes({b"k2": b"mine"})
            conflict = other.send(txn=1, commit=kv.Commit(writes=writes, snapshot=snapshot))
            await other.stage(3, {b"k1": b"large"})
            large = other.send(txn=3, commit=kv.Commit(writes=other.writes({})))
            given_up = other.send(txn=4, commit=kv.Commit(writes=other.writes({b"k9": b"x"})))
            for number in range(20):
                await bank.put({b"k": b"%d" % number})
                await other.increment(b"counter", 1)
            assert await other.commit(other.txn(), {}) < (await other.lock(9, [b"z"])).snapshot + 1
            assert not any(each.done() for each in (loading, free, conflict, large, given_up))
            other.cancel(given_up)
            assert await refused(given_up) == "CANCELLED"
            expected = {**NEW, b"k0": b"next", b"k1": b"large"}
            rig.engine.go()
            times = [(await each).commit_time for each in (loading, free, large)]
            assert times == sorted(times)
            assert await seen(rig.shop) == expected
            assert await refused(conflict) == "CONFLICT"
            assert await seen(bank) == {b"k": b"19"}

    running(monkeypatch, body)


def test_a_serializable_transaction_that_begins_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        loading = await rig.load()
        for txn, key in ((20, b"k2"), (21, b"k8"), (22, b"k1")):
            get = kv.Get(keys=rig.shop.keys([key]), pin=True, validated=True)
            await rig.shop.send(txn=txn, get=get)
        await reads_its_own(rig, loading)

        def commit(txn: int, key: bytes) -> "Awaitable[int]":
            reads = kv.Reads(keys=rig.shop.keys([key]))
            return rig.shop.commit(txn, {b"x%d" % txn: b""}, reads=reads)

        assert await refused(commit(20, b"k2")) == "READ_CONFLICT"
        assert await refused(commit(21, b"k8")) == "READ_CONFLICT"
        assert await commit(22, b"k1")

    running(monkeypatch, body)


def test_who_asks_what_became_of_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        pod = rig.shop.pod
        loading = await rig.load()
        async with rig.storage.session(SHOP, pod=pod) as again:
            asking = again.send(resolve=kv.Resolve(txn=TXN))
            await again.get(b"k0")
            assert not asking.done()
            time = await reads_its_own(rig, loading)
            assert (await asking).commit_time == time

    running(monkeypatch, body)


def test_a_table_lock_waits_for_one_whose_stream_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        rig.engine.holds = True
        async with rig.storage.session(SHOP) as gone:
            await gone.stage(TXN, LOAD)
            gone.send(txn=TXN, commit=kv.Commit(writes=gone.writes({}))).add_done_callback(
                lambda future: future.exception()
            )
            await until(lambda: value("roll_forwards") == 1)
        tables = [kv.TableLock(table=9, mode=kv.TABLE_SHARE)]
        locking = rig.shop.send(txn=1, lock_tables=kv.LockTables(tables=tables))
        rig.shop.send(txn=1, recalled=kv.Recalled(recall=1, table=9))
        await rig.shop.get(b"k0")
        assert not locking.done()
        assert await seen(rig.shop) == OLD
        rig.engine.go()
        await locking
        assert await seen(rig.shop) == {**OLD, **LOAD}

    running(monkeypatch, body)


def test_a_full_disk_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        async with rig.storage.session(SHOP) as other, rig.storage.session(BANK) as bank:
            rig.engine.fails = full(SHOP)
            loading = await rig.commit()
            await until(lambda: value("roll_forwards_stuck") == 1)
            assert await refused(other.commit(1, {b"k0": b"x"})) == "DISK_FULL"
            assert await seen(other) == OLD
            assert await bank.put({b"k": b"1"})
            assert not loading.done()
            rig.engine.fails = lambda batch: None
            time = await reads_its_own(rig, loading)
            assert value("roll_forwards_stuck") == 0
            assert await other.commit(1, {b"k0": b"x"}) > time

    running(monkeypatch, body)


Hurt = Callable[[Row], Write]


def _gone(part: Row) -> Write:
    return part[0], None


def _torn(part: Row) -> Write:
    return part[0], part[1][:-1]


async def hurt(engine: Engine, how: Hurt) -> Row:
    """Damage the first part of what is staged; what it was."""
    [page] = await engine.scan([ScanRange(*STAGED_SPAN, 1, 1)])
    [part] = page.rows
    await engine.apply([how(part)])
    return part


@pytest.mark.parametrize("how", [_gone, _torn])
def test_damage_in_the_middle(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: Hurt
) -> None:
    async def body(rig: Rig) -> None:
        async with rig.storage.session(SHOP) as other, rig.storage.session(BANK) as bank:
            loading = await rig.load()
            part = await hurt(rig.engine, how)
            rig.engine.go()
            await until(lambda: value("roll_forwards_damaged") == 1)
            assert value("roll_forwards_stuck") == 1
            assert await refused(other.commit(1, {b"k0": b"x"})) == "DAMAGED"
            assert await seen(other) == OLD
            assert await bank.put({b"k": b"1"})
            assert not loading.done()
            await rig.engine.apply([part])  # the disk has thought better of it
            await reads_its_own(rig, loading)
            assert value("roll_forwards_damaged") == value("roll_forwards_stuck") == 0

    running(monkeypatch, body)
    assert caplog.text.count("a commit is durable and damaged") == 1


def test_a_disk_that_is_too_full_is_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        rig.engine.bytes_free = 200_000
        assert await refused(await rig.commit()) == "DISK_FULL"
        assert value("roll_forwards") == 0
        assert await rig.shop.put({b"k0": b"old"})  # it holds up nobody
        rig.engine.bytes_free = 2_000_000
        commit = kv.Commit(writes=rig.shop.writes({b"rest": b"new"}))
        loading = rig.shop.send(txn=TXN, commit=commit)  # it is open still
        await reads_its_own(rig, loading)

    running(monkeypatch, body)


def test_a_marker_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        rig.engine.fails = lambda batch: (
            EngineFull("no room") if any(key.startswith(b"u") for key, _ in batch) else None
        )
        before = rig.shop.hello.catalog_version
        assert await refused(await rig.commit(changes_catalog=True)) == "DISK_FULL"
        rig.engine.fails = lambda batch: None
        assert await seen(rig.shop) == OLD
        await rig.shop.put({b"k0": b"old"})
        schema = kv.Commit(writes=rig.shop.writes({b"rest": b"new"}), changes_catalog=True)
        again = rig.shop.send(txn=TXN, catalog_version=before, commit=schema)
        await reads_its_own(rig, again)

    running(monkeypatch, body)


def test_a_tenant_that_is_dropped_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        rig.engine.fails = full(SHOP)
        loading = await rig.commit(changes_catalog=True)
        await until(lambda: value("roll_forwards_stuck") == 1)
        async with rig.control() as control:
            with pytest.raises(grpc.aio.AioRpcError):  # there is no room for this either
                await control.DropTenant(kv.DropTenantRequest(tenant_id=SHOP))
            rig.engine.fails = lambda batch: None
            await control.DropTenant(kv.DropTenantRequest(tenant_id=SHOP))
        with pytest.raises(ConnectionError):
            await loading
        assert value("roll_forwards") == value("roll_forward_bytes") == 0
        for span in tenant_spans(SHOP):
            assert (await rig.engine.measure(*span)).keys == 0
        async with rig.storage.session(SHOP) as anew:
            assert anew.hello.catalog_version == 0
            await anew.put({b"k": b"1"})
            assert await seen(anew) == {b"k": b"1"}

    running(monkeypatch, body)


def test_an_export_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        rig.engine.fails = full(SHOP)
        loading = await rig.commit()
        async with rig.control() as control:
            pages = [page async for page in control.Export(kv.ExportRequest(tenant_id=SHOP))]
        rig.engine.fails = lambda batch: None
        await reads_its_own(rig, loading)
        rows: dict[bytes, bytes | None] = {}
        for page in pages:
            if page.rows.keys:
                found = blocks.unpack_present(page.rows.keys), blocks.unpack(page.rows.values)
                rows.update(zip(*found, strict=True))
        assert rows == OLD

    running(monkeypatch, body)


def test_a_quota_counts_what_it_has_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        async with rig.control() as control:
            quotas = [kv.TenantQuota(tenant_id=SHOP, bytes_max=400)]
            await control.SetQuotas(kv.SetQuotasRequest(quotas=quotas))
            sizes = kv.TenantSizesRequest()
            for _ in range(1000):
                if (await control.TenantSizes(sizes)).sizes:
                    break
                await asyncio.sleep(0.005)
        assert await rig.shop.put({b"y": b"x" * 50})
        await reads_its_own(rig, await rig.commit(), {**NEW, b"y": b"x" * 50})
        assert await rig.shop.put({b"z": b"x" * 92})
        txn = rig.shop.txn()
        assert await refused(rig.shop.commit(txn, {b"!": b""})) == "QUOTA"
        await rig.shop.commit(txn, {b"z": None})

    running(monkeypatch, body, measure_seconds=3600.0)


Restarted = Callable[[Shard, StoppableEngine, ManualClock], Awaitable[None]]


async def _nothing(_engine: Engine) -> None:
    """What happens while no process runs, mostly."""


def restarted(
    body: Restarted,
    *,
    seconds: float = 1.0,
    window_seconds: int = 0,
    before: Callable[[Engine], Awaitable[None]] = _nothing,
) -> None:
    """What a process finds where another one died in the middle of a large commit."""

    async def whole() -> None:
        case = fixed()
        engine = MemoryEngine()
        stoppable = StoppableEngine(engine)
        stoppable.applies_left = 4
        await case.begin(stoppable)
        case.clock.advance(seconds)
        # The collection went on, and has removed something of another tenant.
        await engine.apply([(HORIZON, TIME.pack(case.clock.wall_ns()))])
        await before(engine)
        stoppable = StoppableEngine(engine)
        stoppable.fails = full(TENANT)
        retention = Retention(
            window_seconds=window_seconds, collect_seconds=3600, measure_seconds=3600
        )
        opened = await Shard.open(stoppable, clock=case.clock, retention=retention)
        await until(lambda: value("roll_forwards_stuck") == 1)
        await body(opened, stoppable, case.clock)
        await opened.close()

    uvloop.run(asyncio.wait_for(whole(), 60))


def test_a_session_waits_for_what_was_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "_ENTER_SECONDS", 0.2)

    async def body(opened: Shard, engine: StoppableEngine, _clock: ManualClock) -> None:
        session = DirectSession(opened)
        with pytest.raises(Refusal) as caught:
            await session.open()
        assert caught.value.code == kv.Error.BUSY
        await opened.enter(BANK, session)
        monkeypatch.setattr(shard, "_ENTER_SECONDS", 60)
        engine.fails = lambda batch: None
        await session.open()
        assert await scanned(session, 0, 3, reverse=False) == fixed().new

    restarted(body)


def test_who_comes_to_a_tenant_whose_commit_is_damaged_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollforward, "_DAMAGED_SECONDS", 0.05)
    torn: list[Row] = []

    async def tear(engine: Engine) -> None:
        torn.append(await hurt(engine, _torn))

    async def body(opened: Shard, engine: StoppableEngine, _clock: ManualClock) -> None:
        assert value("roll_forwards_damaged") == 1
        session = DirectSession(opened)
        with pytest.raises(Refusal) as caught:
            await session.open()
        assert caught.value.code == kv.Error.DAMAGED
        await opened.enter(BANK, session)
        engine.fails = lambda batch: None
        await engine.apply(torn)
        await until(lambda: value("roll_forwards") == 0)
        await session.open()
        assert await scanned(session, 0, 3, reverse=False) == fixed().new

    restarted(body, before=tear)


def test_what_its_readers_see_is_kept_however_long_it_takes() -> None:
    async def body(opened: Shard, engine: StoppableEngine, clock: ManualClock) -> None:
        rolling = opened.tenants.open(TENANT).rolling
        assert rolling is not None
        engine.fails = lambda batch: EngineFull("no room") if touches(batch, b"t") else None
        for _ in range(3):
            clock.advance(2 * 86_400)
            await opened.collector.collect()
        rows: dict[bytes, bytes] = {}
        async for page in Exports(opened).pages(TENANT):
            if page.rows.keys:
                found = blocks.unpack_present(page.rows.keys), blocks.unpack(page.rows.values)
                rows.update({k: v for k, v in zip(*found, strict=True) if v is not None})
        assert sorted(rows.items()) == fixed().old
        engine.fails = lambda batch: None
        session = DirectSession(opened)
        await session.open()
        resolved = (await session.call(resolve=kv.Resolve(txn=7))).resolve.commit_time
        assert resolved == rolling.time
        assert await scanned(session, 0, 3, reverse=False) == fixed().new

    restarted(body, seconds=86_400)


def touches(batch: list[Write], letter: bytes) -> bool:
    return any(key.startswith(letter) for key, _ in batch)


def test_a_tenant_that_is_dropped_before_it_was_taken_up() -> None:
    async def body(opened: Shard, engine: StoppableEngine, _clock: ManualClock) -> None:
        with pytest.raises(EngineFull):
            await opened.drop(TENANT)
        engine.fails = lambda batch: None
        await opened.drop(TENANT)
        for span in tenant_spans(TENANT):
            assert (await engine.measure(*span)).keys == 0
        session = DirectSession(opened)
        await session.open()
        assert await scanned(session, 0, 3, reverse=False) == []
        assert opened.tenants.open(TENANT).catalog_version == 0

    restarted(body)


def test_an_import_finds_the_tenant_in_use() -> None:
    async def body(opened: Shard, engine: StoppableEngine, _clock: ManualClock) -> None:
        with pytest.raises(TransferRefused, match="in use"):
            await Imports(opened).begin(TENANT)
        engine.fails = lambda batch: None

    restarted(body)


def test_a_file_of_before_keeps_its_history() -> None:
    async def whole() -> None:
        case, engine = fixed(), MemoryEngine()
        stoppable = StoppableEngine(engine)
        stoppable.applies_left = 0  # without a marker: the last thing that version has written
        await case.begin(stoppable)
        await engine.apply([(FORMAT, TIME.pack(2))])
        await case.check(StoppableEngine(engine), committed=False)
        assert await engine.get([FORMAT]) == [TIME.pack(FORMAT_NOW)]

    uvloop.run(whole())
