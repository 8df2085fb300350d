"""Table locks and versions of the catalog, between transactions of two pods."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dormouse.base import keys
from dormouse.base.errors import DormouseError
from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from sqlnode.kv import tables
from sqlnode.kv.api import Isolation
from sqlnode.kv.client import KvClient
from sqlnode.kv.errors import CatalogStale
from sqlnode.kv.tables import ACCESS_SHARE, ROW_EXCLUSIVE, HeldTables, PodTables
from storage import wanted
from tests.support.kv import storage_running
from tests.support.tenant import TENANT, tenant_client

_PREFIX = keys.index_prefix(TENANT, 100, 1)
_T, _U = 1000, 1001
_READ, _WRITE = [(_T, ACCESS_SHARE)], [(_T, ROW_EXCLUSIVE)]
_BUILD, _ALONE = [(_T, kv.TABLE_SHARE)], [(_T, kv.ACCESS_EXCLUSIVE)]


def _key(number: int) -> bytes:
    return _PREFIX + b"%d" % number


def _two_pods(body: Callable[[KvClient, KvClient], Awaitable[None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory") as storage,
                tenant_client(storage) as a,
                tenant_client(storage) as b,
            ):
                await a.greeted.wait()
                await b.greeted.wait()
                await body(a, b)

    asyncio.run(run())


async def _settled(client: KvClient, task: "asyncio.Task[object]") -> bool:
    """Whether a task is done, once what it sent has had its time."""
    for _ in range(3):
        await client.begin().get([_key(0)])
    return task.done()


async def _refused(waiting: Awaitable[object]) -> str:
    with pytest.raises(DormouseError) as error:
        await waiting
    return error.value.sqlstate


async def _change(client: KvClient, table: int = _T) -> int:
    """Change a table's shape: the catalog's version."""
    txn = client.begin()
    await txn.lock_tables([(table, kv.ACCESS_EXCLUSIVE)])
    txn.put(_key(99), b"")
    txn.change_catalog()
    return await txn.commit()


def test_weak_locks_cost_no_request() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        del b
        before = a.usage.read_batches, next(a._request_ids)
        for _ in range(3):
            txn = a.begin()
            assert txn.hold_tables([*_READ, *_WRITE, (_U, ACCESS_SHARE)])
            await txn.lock_tables(_WRITE)
            txn.rollback()
        assert (a.usage.read_batches, next(a._request_ids) - 1) == before
        assert not a.tables.users

    _two_pods(body)


@pytest.mark.parametrize("own", [False, True], ids=["another pod's", "its own pod's"])
def test_who_builds_waits_for_writers_that_have_asked_nothing(own: bool) -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        builders = a if own else b
        writer, reader = a.begin(), a.begin()
        assert writer.hold_tables(_WRITE)
        assert reader.hold_tables(_READ)
        await writer.insert([_key(1)], [b"one"], unique=[False])
        builder = builders.begin(isolation=Isolation.REPEATABLE_READ)
        assert await builder.get([_key(1)]) == [None]
        building = spawn(builder.lock_tables(_BUILD), name="builder")
        assert not await _settled(builders, building)
        late = b.begin()
        writing = spawn(late.lock_tables(_WRITE), name="late writer")
        assert not late.hold_tables(_WRITE)
        assert not await _settled(b, writing)
        await writer.commit()
        await building
        builder.look_anew()
        await builder.begin_statement()
        assert await builder.get([_key(1)]) == [b"one"]
        assert not await _settled(b, writing)
        builder.rollback()
        await writing
        late.rollback()
        reader.rollback()
        await a.begin().get([_key(0)])
        assert b.begin().hold_tables(_WRITE)

    _two_pods(body)


def test_who_comes_after_a_change_with_an_older_plan_is_to_plan_anew() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        changer = b.begin()
        await changer.lock_tables(_ALONE)
        waiting = a.begin(catalog_version=1)
        locking = spawn(waiting.lock_tables(_WRITE), name="writer")
        assert not await _settled(a, locking)
        changer.put(_key(99), b"")
        changer.change_catalog()
        version = await changer.commit()
        with pytest.raises(CatalogStale) as stale:
            await locking
        assert stale.value.version == version
        waiting.rollback()
        await a.begin().get([_key(0)])
        late = a.begin(catalog_version=1)
        assert not late.hold_tables(_WRITE)
        with pytest.raises(CatalogStale):
            await late.lock_tables(_WRITE)
        assert a.begin(catalog_version=version).hold_tables(_WRITE)
        assert a.begin(catalog_version=1).hold_tables([(_U, ROW_EXCLUSIVE)])

    _two_pods(body)


def test_a_reader_at_its_snapshot_goes_by_the_catalog_of_that_time() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        reader = a.begin(isolation=Isolation.REPEATABLE_READ)
        reader.catalog_version = 0
        await reader.get([_key(1)])
        await _change(b)
        await a.begin().get([_key(0)])
        assert reader.hold_tables(_READ)
        reader.catalog_version = 1
        assert not reader.hold_tables(_WRITE)
        assert await _refused(reader.lock_tables(_WRITE)) == "40001"
        reader.rollback()

    _two_pods(body)


@pytest.mark.parametrize("recalled", [False, True], ids=["noted", "recalled"])
def test_back_at_a_savepoint_what_was_got_since_is_free(recalled: bool) -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        txn, builder = a.begin(), b.begin()
        assert txn.hold_tables(_READ)
        level = txn.savepoint()
        assert txn.hold_tables(_WRITE)
        building = spawn(builder.lock_tables(_BUILD), name="builder") if recalled else None
        if building is not None:
            assert not await _settled(b, building)
        await txn.rollback_to(level)
        await (building or builder.lock_tables(_BUILD))
        assert not txn.hold_tables(_WRITE)
        assert txn.hold_tables(_READ)
        builder.rollback()
        txn.rollback()

    _two_pods(body)


def test_no_waiting_time_limits_and_giving_up() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        writer, builder = a.begin(), b.begin()
        assert writer.hold_tables(_WRITE)
        assert await _refused(builder.lock_tables(_BUILD, nowait=True)) == "55P03"
        builder.lock_timeout_ms = 20
        assert await _refused(builder.lock_tables(_BUILD)) == "55P03"
        builder.lock_timeout_ms = 0
        building = spawn(builder.lock_tables(_BUILD), name="builder")
        assert not await _settled(b, building)
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        builder.rollback()
        assert await _settled(b, building)
        await b.begin().lock_tables(_WRITE)
        writer.rollback()

    _two_pods(body)


def test_a_pod_that_does_not_answer_is_cut_and_holds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wanted, "ANSWER_SECONDS", 1.0)

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory") as storage,
                storage.session(TENANT) as silent,
                tenant_client(storage) as client,
            ):
                await client.begin().lock_tables(_BUILD)
                with pytest.raises(ConnectionError):
                    await silent.get(b"k")

    asyncio.run(run())


def test_what_storage_is_told_of_is_shown_to_everybody() -> None:
    async def shown(client: KvClient) -> list[tuple[int, int, bool, bool]]:
        listed = (await client.call(kv.Request(locks=kv.ListLocks()))).locks
        states = [*listed.locks, *client.tables.states()]
        found = [(each.session, each.table_mode, each.granted, each.fast_path) for each in states]
        return sorted(found)

    async def body(a: KvClient, b: KvClient) -> None:
        txn, builder = a.begin(), b.begin()
        txn.session, builder.session = 1, 2
        assert txn.hold_tables([*_READ, *_WRITE])
        assert await shown(a) == [(1, ACCESS_SHARE, True, True), (1, ROW_EXCLUSIVE, True, True)]
        assert await shown(b) == []
        building = spawn(builder.lock_tables(_BUILD), name="builder")
        known = [
            (1, ACCESS_SHARE, True, False),
            (1, ROW_EXCLUSIVE, True, False),
            (2, kv.TABLE_SHARE, False, False),
        ]
        async with asyncio.timeout(20):
            while await shown(b) != known:
                assert not building.done()
        assert await shown(a) == known
        txn.rollback()
        await building
        builder.rollback()

    _two_pods(body)


@pytest.mark.parametrize("asks", [False, True], ids=["noted", "asked"])
def test_a_statement_that_holds_its_tables_need_not_prove_the_catalog(asks: bool) -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        version = await _change(a, _U)
        txn = b.begin(catalog_version=version)
        await txn.begin_statement()
        if asks:
            await txn.lock_tables(_BUILD)
        assert txn.hold_tables(_READ) is not asks
        await txn.lock_tables(_READ)
        await _change(a, _U)
        assert await txn.get([_key(1)]) == [None]
        assert (await txn.lock([_key(1)]))[0].value is None
        await txn.begin_statement()  # it has not said which tables it uses
        with pytest.raises(CatalogStale):
            await txn.lock([_key(2)])
        assert (await txn.lock([_key(2)], proves=False))[0].value is None
        txn.rollback()
        keeps = b.begin(isolation=Isolation.REPEATABLE_READ, catalog_version=version)
        await keeps.lock_tables(_READ)
        with pytest.raises(CatalogStale):  # for the catalog goes with the snapshot
            await keeps.get([_key(1)])
        keeps.rollback()

    _two_pods(body)


def test_only_the_first_request_of_a_statement_proves_the_catalog() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        first = await _change(a, _U)
        with pytest.raises(CatalogStale) as stale:
            await b.begin(catalog_version=first - 1).get([_key(1)])
        assert stale.value.version == first
        for isolation in Isolation:
            reader = b.begin(isolation=isolation, catalog_version=first)
            await reader.begin_statement()
            assert await reader.get([_key(1)]) == [None]
            second = await _change(a, _U)
            assert await reader.get([_key(1)]) == [None]
            await reader.begin_statement()
            if isolation is Isolation.READ_COMMITTED:
                with pytest.raises(CatalogStale):
                    await reader.get([_key(1)])
            else:
                assert await reader.get([_key(1)]) == [None]
            reader.rollback()
            first = second

    _two_pods(body)


def test_a_lock_that_waited_is_not_taken_for_a_proof() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        version = await _change(a, _U)
        holder = a.begin()
        await holder.lock([_key(1)])
        waiter = b.begin(catalog_version=version)
        locking = spawn(waiter.lock([_key(1)]), name="waiter")
        assert not await _settled(b, locking)
        await _change(a)
        holder.rollback()
        with pytest.raises(CatalogStale):
            await locking
        waiter.rollback()

    _two_pods(body)


def test_a_follower_is_told_before_a_change_is_answered() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        read: list[int] = []
        asked, gate = asyncio.Event(), asyncio.Event()

        async def reader(version: int) -> int:
            read.append(version)
            asked.set()
            await gate.wait()
            return version

        b.catalog.start(0, reader)
        await b.begin().get([_key(1)])
        changing = spawn(_change(a), name="change")
        await asked.wait()
        assert not await _settled(a, changing)
        gate.set()
        assert read == [await changing]
        assert b.catalog.seen == read[0]

    _two_pods(body)


def test_a_transaction_locks_so_many_tables_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TABLES_MAX", 3)
    held = HeldTables()
    held.add([(1, ACCESS_SHARE), (2, ACCESS_SHARE), (3, ACCESS_SHARE)], 0, asked=False)
    held.add([(1, ROW_EXCLUSIVE)], 0, asked=False)
    with pytest.raises(DormouseError) as error:
        held.add([(4, ACCESS_SHARE)], 0, asked=False)
    assert error.value.sqlstate == "53200"


def test_what_a_pod_knows_of_tables_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHANGED_MAX", 2)
    pod = PodTables(1, lambda request: None)
    assert not pod.free(_READ, 5)
    pod.greeted(kv.HelloReply(catalog_version=3, tables=[_U]))
    assert pod.free(_READ, 3)
    assert not pod.free(_READ, 2)
    assert not pod.free([(_U, ACCESS_SHARE)], 9)
    pod.told([kv.TableWord(table=table, changed=10 + table) for table in (1, 2, 3)])
    assert pod.free([(3, ACCESS_SHARE)], 13)
    assert not pod.free([(3, ACCESS_SHARE)], 12)
    assert pod.free(_READ, 11)  # forgotten: it was no later than the first of the three
    assert not pod.free(_READ, 10)
    pod.stream_broke()
    assert not pod.free(_READ, 99)
