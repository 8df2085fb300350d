"""Shapes of tables and versions of the catalog, between transactions of two pods."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dormouse.base import keys
from dormouse.base.errors import DormouseError
from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from sqlnode.kv.api import Isolation
from sqlnode.kv.client import KvClient
from sqlnode.kv.errors import CatalogStale
from sqlnode.kv.marks import Marks
from tests.support.kv import storage_running
from tests.support.tenant import TENANT, tenant_client

_PREFIX = keys.index_prefix(TENANT, 100, 1)
_MARK, _OTHER = _PREFIX + b"mark", _PREFIX + b"other"


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


async def _end_shape(client: KvClient, mark: bytes = _MARK) -> int:
    txn = client.begin()
    await txn.change_shape(mark, strength="update")
    txn.put(mark, b"")
    txn.change_catalog()
    return await txn.commit()


def test_who_changes_a_shape_waits_for_writers_of_other_pods_and_sees_what_they_wrote() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        writer = a.begin()
        writer.use_shape(_MARK)
        await writer.insert([_key(1)], [b"one"], unique=[True])
        builder = b.begin(isolation=Isolation.REPEATABLE_READ)
        assert await builder.get([_key(1)]) == [None]
        claiming = spawn(builder.change_shape(_MARK, strength="no_key_update"), name="claim")
        assert not await _settled(b, claiming)
        await writer.commit()
        await claiming
        await builder.begin_statement()
        assert await builder.get([_key(1)]) == [b"one"]
        builder.rollback()

    _two_pods(body)


def test_a_writer_that_comes_while_a_shape_ends_is_to_plan_anew() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        builder = b.begin()
        await builder.change_shape(_MARK, strength="no_key_update")
        writer = a.begin()
        writer.use_shape(_MARK)
        locking = spawn(writer.lock([_key(1)]), name="writer")
        assert not await _settled(a, locking)
        builder.put(_MARK, b"")
        builder.change_catalog()
        version = await builder.commit()
        with pytest.raises(CatalogStale) as stale:
            await locking
        assert stale.value.version == version
        writer.rollback()

    _two_pods(body)


def test_a_commit_that_asked_nothing_before_is_held_back_and_refused() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        builder = b.begin()
        await builder.change_shape(_MARK, strength="update")
        writer = a.begin()
        writer.use_shape(_MARK)
        writer.put(_key(1), b"one")
        committing = spawn(writer.commit(), name="commit")
        assert not await _settled(a, committing)
        builder.put(_MARK, b"")
        await builder.commit()
        assert await _refused(committing) == "40001"
        assert await a.begin().get([_key(1)]) == [None]

    _two_pods(body)


def test_a_commit_that_waits_gives_up_when_told_or_in_time() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        builder = b.begin()
        await builder.change_shape(_MARK, strength="update")
        for timeout_ms, sqlstate in ((0, "57014"), (30, "55P03")):
            writer = a.begin()
            writer.use_shape(_MARK)
            writer.lock_timeout_ms = timeout_ms
            writer.put(_key(1), b"one")
            committing = spawn(writer.commit(), name="commit")
            if not timeout_ms:
                assert not await _settled(a, committing)
                writer.give_up()
            assert await _refused(committing) == sqlstate
        builder.rollback()
        assert await a.begin().get([_key(1)]) == [None]

    _two_pods(body)


def test_a_silent_transaction_comes_to_hold_its_shapes() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        writer = a.begin()
        writer.use_shape(_MARK)
        writer.put(_key(1), b"one")
        builder = b.begin()
        builder.lock_timeout_ms = 200
        writer.keep_shapes()
        for _ in range(100):
            await asyncio.sleep(0.002)
            probe = b.begin()
            try:
                await probe.lock([_MARK], wait="nowait")
            except DormouseError:
                break
            finally:
                probe.rollback()
        else:
            pytest.fail("the shape was never locked")
        claiming = spawn(builder.change_shape(_MARK, strength="update"), name="claim")
        await writer.commit()
        await claiming
        assert await b.begin().get([_key(1)]) == [b"one"]
        builder.rollback()

    _two_pods(body)


def test_only_the_first_request_of_a_statement_proves_the_catalog() -> None:
    async def body(a: KvClient, b: KvClient) -> None:
        first = await _end_shape(a, _OTHER)
        with pytest.raises(CatalogStale) as stale:
            await b.begin(catalog_version=first - 1).get([_key(1)])
        assert stale.value.version == first
        for isolation in Isolation:
            reader = b.begin(isolation=isolation, catalog_version=first)
            await reader.begin_statement()
            assert await reader.get([_key(1)]) == [None]
            second = await _end_shape(a, _PREFIX + isolation.value.encode())
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
        version = await _end_shape(a, _OTHER)
        holder = a.begin()
        await holder.lock([_key(1)])
        waiter = b.begin(catalog_version=version)
        locking = spawn(waiter.lock([_key(1)]), name="waiter")
        assert not await _settled(b, locking)
        await _end_shape(a, _MARK)
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
        changing = spawn(_end_shape(a), name="change")
        await asked.wait()
        assert not await _settled(a, changing)
        gate.set()
        assert read == [await changing]
        assert b.catalog.seen == read[0]

    _two_pods(body)


def test_marks_are_asked_for_once_and_in_the_strongest_mode() -> None:
    marks = Marks()
    marks.use(_MARK, kv.KEY_SHARE)
    marks.use(_MARK, kv.SHARE)
    marks.use(_MARK, kv.KEY_SHARE)
    lock = kv.Lock()
    assert marks.join(lock) == [_MARK]
    assert lock.marks_mode == kv.SHARE
    assert [guard.key for guard in marks.guards()] == [_MARK]
    assert not marks.silent
    marks.held([_MARK], kv.SHARE)
    assert not marks.guards()
    marks.use(_MARK, kv.KEY_SHARE)
    assert marks.join(kv.Lock()) == []
