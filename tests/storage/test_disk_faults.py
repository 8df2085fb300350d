"""What storage does when its disk fails: a real process, a real file, faults by tests.support."""

import asyncio
import errno
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import uvloop

from dormouse.base.ids import TenantId
from dormouse.base.rpc import make_channel
from dormouse.base.tasks import spawn
from dormouse.base.tls import Identity, Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.layout import STAGED_SPAN, tenant_spans
from tests.support.diskfaults import damage, pages_with, places_of
from tests.support.kv import STORAGE, KvClient, KvError
from tests.support.storagerig import SHOP, Rig
from tests.support.waiting import until

BANK = TenantId(8)
Writes = dict[bytes, bytes | None]
Where = Callable[[Path, bytes], list[int]]


@dataclass
class Told:
    """What clients were told of the transactions they sent, by number."""

    written: dict[int, bytes] = field(default_factory=dict)
    acked: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)

    async def write(self, client: KvClient, txn: int, size: int = 3000, *, staged: bool) -> None:
        """A pair of rows in one transaction."""
        value = self.written[txn] = b"%d " % txn + os.urandom(size)
        try:
            if staged:
                await client.stage(txn, {b"left%d" % txn: value})
                await client.commit(txn, {b"right%d" % txn: value})
            else:
                await client.commit(txn, {b"left%d" % txn: value, b"right%d" % txn: value})
            self.acked.add(txn)
        except KvError as error:
            self.refused[txn] = error.name
            await client.end(txn)

    async def verify(self, client: KvClient) -> None:
        """Everything acknowledged is there, nothing that was refused, nothing by halves."""
        left = dict(await client.scan(b"left", b"leftz"))
        right = dict(await client.scan(b"right", b"rightz"))
        there = {int(key.removeprefix(b"left")): value for key, value in left.items()}
        assert {int(key.removeprefix(b"right")): value for key, value in right.items()} == there
        assert there.keys() >= self.acked
        assert not there.keys() & self.refused.keys()
        assert all(self.written[txn] == value for txn, value in there.items())


async def refused(call: Awaitable[object]) -> str:
    with pytest.raises(KvError) as caught:
        await call
    return caught.value.name


def test_a_full_disk_refuses_writes_until_there_is_room(rig: Rig) -> None:
    told = Told()

    async def writer(client: KvClient, first: int, enough: Callable[[], bool]) -> None:
        number = first
        while not enough():
            await told.write(client, number, staged=number % 3 == 0)
            number += 4

    async def body(client: KvClient) -> None:
        await client.put({b"row": b"0"})

        async def all_write(base: int, enough: Callable[[], bool]) -> None:
            await asyncio.gather(*[writer(client, base + n, enough) for n in range(4)])

        await all_write(1000, lambda: len(told.acked) > 40)
        rig.disk.full(room=300_000)
        await all_write(2000, lambda: len(told.refused) > 40)
        assert set(told.refused.values()) == {"DISK_FULL"}
        assert await client.get(b"row") == [b"0"]
        assert rig.metric('dormouse_storage_engine_errors_total{kind="full"}') > 0
        before = len(told.acked)
        rig.disk.heals()
        await all_write(3000, lambda: len(told.acked) > before + 40)
        await told.verify(client)

    rig.run(body)
    rig.kill()
    rig.run(told.verify)
    log = rig.end()
    assert '"level": "error"' not in log


def test_the_log_says_that_the_disk_is_full_once_and_that_it_is_over(rig: Rig) -> None:
    async def body(client: KvClient) -> None:
        await client.put({b"row": b"0"})
        rig.disk.full()
        for txn in range(1, 21):
            assert await refused(client.commit(txn, {b"row": os.urandom(9000)})) == "DISK_FULL"
            await client.end(txn)
        assert rig.metric('dormouse_storage_writes_failing{kind="full"}') == 1
        rig.disk.heals()
        await client.put({b"row": b"1"})
        assert rig.metric("dormouse_storage_writes_failing") == 0

    rig.run(body)
    log = rig.end()
    assert log.count("the engine failed") == 1
    assert "SQLITE_FULL" in log
    assert log.count("writes go through again") == 1


def test_what_finds_no_room_takes_none_from_others(rig: Rig) -> None:
    async def body(client: KvClient) -> None:
        for number in range(20):
            await client.stage(1, {b"k%d" % number: os.urandom(1 << 20)})
        await client.put({b"row": b"0"})
        before = rig.metric("dormouse_storage_log_bytes")
        rig.disk.full(room=10 << 20)
        assert await refused(client.commit(1, {})) == "DISK_FULL"
        # The log it was written to has been cut back: there is room again.
        assert rig.metric("dormouse_storage_log_bytes") < before + (1 << 20)
        for number in range(100):
            await client.put({b"row%d" % number: os.urandom(10_000)})
        await client.end(1)
        rig.disk.full()

        async def fill() -> None:
            for number in range(64):  # what is free inside of the log first
                await client.stage(2, {b"x%d" % number: os.urandom(1 << 20)})

        assert await refused(fill()) == "DISK_FULL"
        rig.disk.heals()
        await client.stage(3, {b"x": os.urandom(1 << 20)})
        rig.disk.fails("write", errno.ENOSPC)
        await client.end(3)
        await until(lambda: rig.disk.met("write") > 0)  # it could not be removed
        rig.disk.heals()

    rig.run(body)

    def staged() -> int:
        with sqlite3.connect(f"file:{rig.file}?mode=ro", uri=True) as file:
            between = "SELECT count(*) FROM kv WHERE k >= ? AND k < ?"
            [(count,)] = file.execute(between, STAGED_SPAN)
        file.close()
        return int(count)

    uvloop.run(until(lambda: staged() == 0))  # and nothing of it stays
    rig.end()


def test_a_file_that_cannot_grow_is_caught_up_later(rig: Rig) -> None:
    """Checkpoints fail, commits do not: they lie in the log."""
    told = Told()

    async def write(client: KvClient) -> None:
        base = 1 + len(told.acked)
        for number in range(base, base + 20):
            await told.write(client, number, 300_000, staged=False)
        assert not told.refused

    rig.disk.fails("write", errno.ENOSPC, suffix=".sqlite")
    rig.run(write)
    assert rig.disk.met("write")
    assert rig.metric("dormouse_storage_log_bytes") > 10 << 20
    rig.kill()  # which does not help, and does no harm
    rig.run(told.verify)
    rig.disk.heals()
    rig.run(write)
    rig.run(told.verify)
    rig.end()
    assert rig.file.stat().st_size > 20 << 20
    with sqlite3.connect(rig.file) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    file.close()


def test_garbage_that_could_not_be_collected_is_collected_later(rig: Rig) -> None:
    collected = 'dormouse_storage_collected_total{kind="history"}'

    async def body(client: KvClient) -> None:
        rig.disk.fails("write", errno.ENOSPC, suffix="-wal")
        await until(lambda: rig.disk.met("write") > 0)
        before = rig.metric(collected)
        rig.disk.heals()
        await until(lambda: rig.metric(collected) > before)

    async def overwrite(client: KvClient) -> None:
        await client.pin(5)  # so that it waits
        for _ in range(5):
            await client.put({b"k%d" % number: os.urandom(100) for number in range(100)})

    rig.run(overwrite)
    rig.run(body)
    rig.end()


def test_a_read_only_disk_is_refused_at_the_start(rig: Rig) -> None:
    rig.end()
    rig.disk.fails("write", errno.EROFS)
    code, log = rig.start().ended()
    assert code == 1
    assert "EngineError" in log
    assert "Read-only file system" in log
    rig.disk.heals()
    rig.start()
    rig.end()
    rig.disk.fails("write", errno.EROFS, suffix=".sqlite")  # as where it is somebody else's file
    code, log = rig.start().ended()
    assert code == 1
    assert "attempt to write a readonly database" in log


def test_a_disk_that_becomes_read_only_still_reads(rig: Rig) -> None:
    told = Told()

    async def body(client: KvClient) -> None:
        await told.write(client, 1, staged=False)
        rig.disk.fails("write", errno.EROFS)
        for number in range(2, 6):
            await told.write(client, number, staged=number % 2 == 0)
        assert set(told.refused.values()) == {"IO"}
        await told.verify(client)
        rig.disk.heals()
        await told.write(client, 9, staged=True)
        assert told.acked == {1, 9}

    rig.run(body)
    rig.kill()
    rig.run(told.verify)
    assert '"level": "error"' not in rig.end()


@pytest.mark.parametrize("times", [1, -1])
def test_nobody_is_told_of_a_commit_that_was_not_synced(rig: Rig, times: int) -> None:
    """It failed, says SQLite, and it is in the log: the next process says what became of it."""
    told = Told()

    async def body(client: KvClient) -> None:
        await told.write(client, 1, staged=False)
        rig.disk.fails("sync", errno.EIO, times=times, suffix="-wal")
        ends = await asyncio.gather(
            *[told.write(client, number, staged=False) for number in range(2, 8)],
            return_exceptions=True,
        )
        assert all(isinstance(end, ConnectionError) for end in ends), ends

    rig.run(body)
    code, log = rig.child.ended()
    assert code == 1
    assert "EngineLost" in log
    assert "SQLITE_IOERR_FSYNC" in log
    if times < 0:
        # What a log holds that cannot be made durable is nobody's to answer from.
        code, log = rig.start().ended()
        assert code == 1
        assert "storage.sqlite-wal: Input/output error" in log
        rig.disk.heals()
    rig.start()

    async def look(client: KvClient) -> None:
        there = dict(await client.scan(b"left", b"leftz"))
        for txn in told.written:
            assert (b"left%d" % txn in there) == bool(await client.resolve(txn))
        await told.verify(client)

    rig.run(look)
    rig.kill()
    rig.run(look)
    assert told.acked == {1}
    rig.end()


def test_a_commit_that_no_index_could_be_made_for_is_there(rig: Rig) -> None:
    """It is durable when SQLite says that it failed (see storage/engines/sqlite.py)."""

    async def attempt(client: KvClient, txn: int) -> bool:
        for number in range(20):
            await client.stage(txn, {b"k%d-%d" % (txn, number): os.urandom(1 << 20)})
        rig.disk.fails("write", errno.ENOSPC, suffix="-shm")
        name = ""
        try:
            await client.commit(txn, {b"row": b"%d" % txn})
        except ConnectionError:
            return True
        except KvError as error:
            name = error.name
        rows = await client.scan(b"k%d-" % txn, b"k%d." % txn)
        rig.disk.heals()
        # It is certain: the index was to grow before the commit, or was large enough.
        assert (name, len(rows)) in (("IO", 0), ("", 20))
        await client.end(txn)
        return False

    async def body(client: KvClient) -> None:
        for txn in range(1, 10):
            if await attempt(client, txn):
                tried.append(txn)
                return

    tried: list[int] = []
    rig.run(body)
    assert tried, "the index was large enough every time"
    code, log = rig.child.ended()
    assert code == 1
    assert "SQLITE_IOERR_SHMSIZE" in log
    rig.disk.heals()
    rig.start()

    async def look(client: KvClient) -> None:
        rows = await client.scan(b"k%d-" % tried[0], b"k%d." % tried[0])
        committed = await client.resolve(tried[0])
        assert len(rows) == (20 if committed else 0)
        assert (await client.get(b"row") == [b"%d" % tried[0]]) == bool(committed)

    rig.run(look)
    rig.end()


@asynccontextmanager
async def two_tenants(rig: Rig) -> AsyncIterator[tuple[KvClient, KvClient]]:
    storage = rig.child.storage(rig.authority)
    async with storage.session(SHOP) as shop, storage.session(BANK) as bank:
        yield shop, bank


SHOP_ROWS: Writes = {b"k%04d" % number: b"shop%04d" % number * 50 for number in range(300)}


async def fill_two(rig: Rig) -> None:
    async with two_tenants(rig) as (shop, bank):
        await shop.put(SHOP_ROWS)
        await bank.put(dict.fromkeys(SHOP_ROWS, b"bank" * 100))


async def refuses_for_damage(call: Awaitable[int]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS


async def meet_damage(rig: Rig) -> None:
    """It is in the shop's row `k0150`."""
    async with two_tenants(rig) as (shop, bank):
        assert await refused(shop.scan(b"k", b"l")) == "DAMAGED"
        assert await refused(shop.get(b"k0150")) == "DAMAGED"
        assert await refused(shop.put({b"k0150": b"x"})) == "DAMAGED"
        assert await shop.get(b"k0001") == [SHOP_ROWS[b"k0001"]]  # elsewhere
        assert len(await bank.scan(b"k", b"l")) == 300
    await refuses_for_damage(export(rig, SHOP))
    assert await export(rig, BANK) > 300
    assert rig.metric('dormouse_storage_engine_errors_total{kind="damaged"}') > 2


@pytest.mark.parametrize(
    ("where", "error"), [(pages_with, "SQLITE_CORRUPT"), (places_of, "is not what was written")]
)
def test_damage_is_one_tenants_and_never_passed_on(rig: Rig, where: Where, error: str) -> None:
    uvloop.run(fill_two(rig))
    rig.end()
    with damage(rig.file, *where(rig.file, b"shop0150")):
        rig.start()
        uvloop.run(meet_damage(rig))
        if where is pages_with:
            uvloop.run(refuses_for_damage(drop(rig, SHOP)))
        else:
            uvloop.run(drop(rig, SHOP))  # for which nobody looks at values
        log = rig.end()
    assert '"kind": "damaged"' in log
    assert error in log


def test_a_damaged_piece_that_was_staged_keeps_nobody_from_starting(rig: Rig) -> None:
    async def body(client: KvClient) -> None:
        await client.stage(1, {b"k": b"a piece" * 1000})
        rig.child.end(signal.SIGKILL)

    rig.run(body)
    with sqlite3.connect(rig.file) as file:
        assert file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    file.close()
    with damage(rig.file, *places_of(rig.file, b"a piece" * 10)):
        rig.start()
        assert "staged writes purged" in rig.end()


def test_a_write_that_meets_damage_fails_alone(rig: Rig) -> None:
    async def write() -> None:
        async with two_tenants(rig) as (shop, bank):
            await shop.get(b"k0150")  # so that its commit meets the page in the engine only
            with damage(rig.file, *pages_with(rig.file, b"shop0150")):
                rig.disk.slow("sync", 400)
                busy = spawn(bank.put({b"k0000": b"x"}), name="bank")
                await asyncio.sleep(0.1)
                writes = [shop.put({b"k0150": b"x"})]
                writes += [bank.put({b"k%04d" % number: b"x"}) for number in range(1, 5)]
                first, *others = await asyncio.gather(*writes, return_exceptions=True)
                await busy
                rig.disk.heals()
            # They shared a group, for the disk was busy as they came, and no fate.
            assert isinstance(first, KvError)
            assert first.name == "DAMAGED"
            assert all(isinstance(each, int) for each in others)

    uvloop.run(fill_two(rig))
    rig.end()
    rig.start()
    uvloop.run(write())
    log = rig.end()
    assert '"kind": "damaged"' in log
    assert "SQLITE_CORRUPT" in log


def test_damaged_history_of_a_tenant_keeps_nothing_of_the_others(rig: Rig) -> None:
    rows: Writes = {b"k%04d" % number: b"shop%04d" % number * 50 for number in range(300)}

    async def fill() -> None:
        async with two_tenants(rig) as (shop, bank):
            for client in (bank, shop):
                await client.put(rows if client is shop else dict.fromkeys(rows, b"bank" * 100))
                await client.pin(5)  # so that it waits for the next process
                await client.put(dict.fromkeys(rows, b""))
            rig.child.end(signal.SIGKILL)

    def sql(statement: str, *values: bytes) -> int:
        with sqlite3.connect(rig.file) as file:
            [(first, *_)] = file.execute(statement, values)
        file.close()
        return int(first)

    def kept(tenant: TenantId) -> int:
        [span] = tenant_spans(tenant, b"h")
        return sql("SELECT count(*) FROM past WHERE k >= ? AND k < ?", *span)

    uvloop.run(fill())
    assert sql("PRAGMA wal_checkpoint(TRUNCATE)") == 0
    assert kept(SHOP) == kept(BANK) == 300
    with damage(rig.file, *pages_with(rig.file, b"shop0150")):
        rig.start()
        uvloop.run(until(lambda: kept(BANK) == 0))
        uvloop.run(until(lambda: rig.metric("dormouse_storage_collection_damaged_tenants") == 1))
        log = rig.end()
    assert log.count("a tenant with damaged data is not collected for a while") == 1
    assert kept(SHOP) > 0
    rig.start()
    uvloop.run(until(lambda: kept(SHOP) == 0))
    rig.end()


@asynccontextmanager
async def administering(rig: Rig) -> AsyncIterator[Any]:
    credentials = rig.authority.credentials(Identity(role=Role.CONTROL))
    async with make_channel(rig.child.ready["address"], credentials, STORAGE) as channel:
        yield kv_pb2_grpc.StorageAdminStub(channel)


async def export(rig: Rig, tenant: TenantId) -> int:
    """Bytes of the keys of a tenant's export."""
    async with administering(rig) as stub:
        pages = [page async for page in stub.Export(kv.ExportRequest(tenant_id=tenant))]
    return sum(len(page.rows.keys) for page in pages)


async def drop(rig: Rig, tenant: TenantId) -> int:
    async with administering(rig) as stub:
        await stub.DropTenant(kv.DropTenantRequest(tenant_id=tenant))
    return 0


def test_a_file_that_is_no_database_is_refused(rig: Rig) -> None:
    rig.end()
    with damage(rig.file, 0):
        code, log = rig.start().ended()
    assert code == 1
    assert "EngineDamaged" in log
    assert "file is not a database" in log


def test_a_page_that_cannot_be_read_is_one_requests_error(rig: Rig) -> None:
    async def fill(client: KvClient) -> None:
        await client.put({b"k%04d" % number: os.urandom(400) for number in range(300)})

    async def look(client: KvClient) -> None:
        await client.get(b"other")
        rig.disk.fails("read", errno.EIO, suffix=".sqlite")
        assert await refused(client.scan(b"k", b"l")) == "DAMAGED"
        assert rig.disk.met("read")
        rig.disk.heals()
        assert len(await client.scan(b"k", b"l")) == 300

    rig.run(fill)
    rig.end()
    rig.start()
    rig.run(look)
    rig.end()


@pytest.mark.parametrize(("error", "name"), [(errno.EIO, "DAMAGED"), (errno.ESTALE, "IO")])
def test_a_page_that_the_writer_cannot_read_is_one_commits_error(
    rig: Rig, error: int, name: str
) -> None:
    """The batch is one statement and its own transaction, and so is what the error is of."""
    told = Told()

    async def look(client: KvClient) -> None:
        for number in range(1, 30):
            await client.get(b"left%d" % number, b"right%d" % number)  # others' pages, not its own
        rig.disk.fails("read", error, suffix=".sqlite")
        await told.write(client, 3, staged=False)
        assert rig.disk.met("read")
        assert told.refused == {3: name}
        rig.disk.heals()
        await told.write(client, 4, staged=False)
        assert 4 in told.acked
        await told.verify(client)

    async def fill(client: KvClient) -> None:
        for number in range(10, 30):
            await told.write(client, number, staged=False)

    rig.run(fill)
    rig.end()
    rig.start()
    rig.run(look)
    rig.kill()
    rig.run(told.verify)
    rig.end()


def test_a_slow_disk_is_shared_and_waited_for(rig: Rig) -> None:
    async def body(client: KvClient) -> None:
        await client.put({b"row": b"0"})
        before = rig.metric("dormouse_storage_applies_total")
        rig.disk.slow("sync", 200)
        first = client.send(txn=1, commit=kv.Commit(writes=client.writes({b"row": b"1"})))
        assert await client.get(b"other") == [None]
        assert not first.done()
        others = [client.put({b"k%d" % number: b""}) for number in range(50)]
        await asyncio.gather(first, *others)
        rig.disk.heals()
        assert rig.metric("dormouse_storage_applies_total") - before < 10

    rig.run(body)
    log = rig.end()
    assert '"level": "error"' not in log
