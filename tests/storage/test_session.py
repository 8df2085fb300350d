"""The stream: many requests in flight, bounds, waiting, cancelling, catalog versions."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from storage import catalogs, session
from storage.config import Limits
from tests.support.kv import KvClient, KvError, StorageForTest, storage_running
from tests.support.waiting import GUARD_SECONDS, until

TENANT = TenantId(7)


def running(
    body: Callable[[StorageForTest, KvClient], Awaitable[None]],
    engine: str = "memory",
    **settings: Any,
) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine=engine, **settings) as storage,
                storage.session(TENANT) as client,
            ):
                await body(storage, client)

    uvloop.run(whole())


async def refusal(waiting: Awaitable[Any]) -> kv.Error:
    with pytest.raises(KvError) as caught:
        await waiting
    return caught.value.error


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_many_requests_in_flight_answer_each_its_own(engine: str) -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as other:
            names = [b"%04d" % n for n in range(300)]
            await asyncio.gather(*[c.put({n: n}) for c in (client, other) for n in names])
            values = await asyncio.gather(*[other.get(name, b"absent") for name in names])
            assert values == [[name, None] for name in names]
            pages = await asyncio.gather(*[client.scan(name, b"9", rows=7) for name in names[::30]])
            assert [len(page) for page in pages] == [300 - n for n in range(0, 300, 30)]

    running(body, engine)


@pytest.mark.parametrize("length", range(9))
def test_a_key_too_short_to_name_a_tenant_comes_no_further(length: int) -> None:
    """What is behind takes the tenant from the key, in the one task that writes."""

    async def body(_storage: StorageForTest, client: KvClient) -> None:
        short = client.prefix[:length]
        keys, end = blocks.pack([short]), client.prefix + b"z"
        writes = kv.Writes(keys=keys, values=blocks.pack([b"x"]))
        take = kv.Sequence.Take(count=1, start=1, increment=1, min=1, max=9)
        shaped: list[dict[str, Any]] = [
            {"get": kv.Get(keys=keys)},
            {"scan": kv.Scan(start=short, end=end)},
            {"lock": kv.Lock(keys=keys, mode=kv.UPDATE)},
            {"stage": kv.Stage(writes=writes)},
            {"commit": kv.Commit(writes=writes)},
            {"commit": kv.Commit(writes=client.writes({b"k": b""}), absent=keys)},
            {
                "commit": kv.Commit(
                    writes=client.writes({}), retired=[kv.Range(start=short, end=end)]
                )
            },
            {"increment": kv.Increment(key=short, delta=1)},
            {"sequence": kv.Sequence(key=short, take=take)},
        ]
        for number, shape in enumerate(shaped, 1):
            error = await refusal(client.send(txn=number, **shape))
            assert error.code == kv.Error.OUTSIDE_TENANT, shape
        await client.put({b"k": b"v"})

    running(body)


def test_requests_beyond_the_bound_are_refused() -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        assert client.hello.requests_max == 10
        async with storage.session(TENANT) as holder:
            await holder.lock(1, [b"k"])
            lock = kv.Lock(keys=client.keys([b"k"]), mode=kv.UPDATE)
            waits = [client.send(txn=n, lock=lock) for n in range(1, 11)]
            busy = client.send(txn=11, lock=lock)
            assert (await refusal(busy)).code == kv.Error.BUSY
            for wait in waits:
                client.cancel(wait)
            for wait in waits:
                assert (await refusal(wait)).code == kv.Error.CANCELLED
            assert await client.get(b"k") == [None]

    running(body, limits=Limits(requests_max=10))


def test_a_frame_too_large_ends_the_stream() -> None:
    async def body(_storage: StorageForTest, client: KvClient) -> None:
        with pytest.raises(ConnectionError):
            await client.put({b"k": b"x" * 200_000})

    running(body, limits=Limits(frame_bytes_max=100_000))


def test_what_was_answered_before_a_stream_is_ended_comes_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also where the pod takes its time, and a frame is still on its way to it."""
    value = b"x" * 90_000

    async def body(_storage: StorageForTest, client: KvClient) -> None:
        await client.put({b"k": value})
        client.reading.clear()
        waiting = [spawn(client.get(b"k"), name="a get") for _ in range(200)]
        await asyncio.sleep(0.3)  # until the window of the stream is full
        too_large = spawn(client.put({b"k": value + value}), name="a frame too large")
        await asyncio.sleep(0.3)
        assert not any(get.done() for get in waiting)
        client.reading.set()
        async with asyncio.timeout(GUARD_SECONDS):
            assert await asyncio.gather(*waiting) == [[value]] * 200
            with pytest.raises(ConnectionError):
                await too_large

    running(body, limits=Limits(frame_bytes_max=100_000))
    assert not [record for record in caplog.records if record.name.startswith("grpc")]


def test_a_pod_that_takes_nothing_keeps_no_stream_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_TAKEN_SECONDS", 0.2)
    value = b"x" * 90_000

    async def body(storage: StorageForTest, client: KvClient) -> None:
        await client.put({b"k": value})
        async with storage.session(TENANT) as silent:
            silent.reading.clear()
            waiting = [spawn(silent.get(b"k"), name="a get") for _ in range(200)]
            await asyncio.sleep(0.3)  # until the window of the stream is full
            waiting.append(spawn(silent.get(b"k" * 100_000), name="a frame too large"))
            assert storage.metric("dormouse_storage_sessions") == 2
            await until(lambda: storage.metric("dormouse_storage_sessions") == 1)
            silent.reading.set()
            await asyncio.gather(*waiting, return_exceptions=True)
        assert await client.get(b"k") == [value]

    running(body, limits=Limits(frame_bytes_max=100_000))


def test_a_lock_wait_ends_by_time_by_cancel_by_end_and_by_resolve() -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as holder:
            await holder.lock(1, [b"k"])
            late = await refusal(client.lock(1, [b"k"], timeout_ms=20))
            assert late.code == kv.Error.LOCK_TIMEOUT
            lock = kv.Lock(keys=client.keys([b"k"]), mode=kv.UPDATE)
            waiting = client.send(txn=2, lock=lock)
            client.cancel(waiting)
            assert (await refusal(waiting)).code == kv.Error.CANCELLED
            waiting = client.send(txn=2, lock=lock)
            await client.end(2)
            assert (await refusal(waiting)).code == kv.Error.TXN_ENDED
            waiting = client.send(txn=3, lock=lock)
            assert await client.resolve(3) == 0
            assert (await refusal(waiting)).code == kv.Error.TXN_ENDED
            committing = client.send(txn=4, commit=kv.Commit(writes=client.writes({b"k": b"v"})))
            client.cancel(committing)
            assert (await refusal(committing)).code == kv.Error.CANCELLED
            await holder.commit(1, {b"k": b"1"})
            assert (await client.lock(5, [b"k"])).locked == b"\1"

    running(body)


def test_locks_die_with_the_stream() -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        holder = storage.session(TENANT)
        other = await holder.__aenter__()
        await other.lock(1, [b"k"])
        await other.stage(1, {b"k": b"never"})
        waiting = asyncio.gather(client.lock(1, [b"k"]))
        await holder.__aexit__(None, None, None)
        await waiting
        assert await client.get(b"k") == [None]

    running(body)


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_catalog_versions(engine: str) -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        assert client.hello.catalog_version == 0
        version = await client.commit(client.txn(), {b"schema": b"1"}, changes_catalog=True)
        get = kv.Get(keys=client.keys([b"schema"]))
        assert (await client.send(catalog_version=version, get=get)).snapshot >= version
        stale = await refusal(client.send(catalog_version=version - 1, get=get))
        assert (stale.code, stale.version) == (kv.Error.CATALOG_STALE, version)
        commit = kv.Commit(writes=client.writes({b"schema": b"2"}), changes_catalog=True)
        racing = [client.send(txn=n, catalog_version=version, commit=commit) for n in (50, 51)]
        answers = await asyncio.gather(*racing, return_exceptions=True)
        assert [isinstance(answer, kv.CommitReply) for answer in answers] == [True, False]
        async with storage.session(TENANT) as fresh:
            assert fresh.hello.catalog_version > version

    running(body, engine)


def test_a_stream_that_does_not_take_a_new_catalog_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogs, "SEEN_SECONDS", 0.1)

    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as quick, storage.session(TENANT) as silent:
            first = await client.commit(1, {b"schema": b"1"}, changes_catalog=True)
            for each in (quick, silent):
                each.saw_catalog(first)
                await each.get(b"k")
            commit = kv.Commit(writes=client.writes({b"schema": b"2"}), changes_catalog=True)
            changing = client.send(txn=2, commit=commit)
            while not quick.told:
                await quick.get(b"k")
            quick.saw_catalog(quick.told[-1])
            time = (await changing).commit_time
            assert quick.told[-1] == time
            assert silent.told == [time]
            with pytest.raises(ConnectionError):
                await silent.get(b"k")
            assert await quick.get(b"schema") == [b"2"]

    running(body)


def test_a_commit_that_waits_can_be_cancelled_and_has_a_time_limit() -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as builder:
            await builder.lock(1, [b"k"])
            commit = kv.Commit(writes=client.writes({b"k": b"v"}))
            waiting = client.send(txn=1, commit=commit)
            await client.get(b"k")
            client.cancel(waiting)
            assert (await refusal(waiting)).code == kv.Error.CANCELLED
            commit.timeout_ms = 20
            assert (await refusal(client.send(txn=1, commit=commit))).code == kv.Error.LOCK_TIMEOUT
            commit.timeout_ms = 0
            waiting = client.send(txn=1, commit=commit)
            await client.get(b"k")
            await builder.end(1)
            assert (await waiting).commit_time
            assert await client.get(b"k") == [b"v"]

    running(body)


def test_a_transaction_is_bounded_in_bytes_and_locks() -> None:
    async def body(_storage: StorageForTest, client: KvClient) -> None:
        assert client.hello.txn_bytes_max == 10_000
        large = {b"k": b"x" * 6_000}
        await client.stage(1, large)
        assert (await refusal(client.stage(1, large))).code == kv.Error.TOO_LARGE
        assert (await refusal(client.commit(1, large))).code == kv.Error.TOO_LARGE
        await client.commit(1, {})
        many = [b"%d" % n for n in range(101)]
        assert (await refusal(client.lock(2, many))).code == kv.Error.TOO_LARGE
        assert (await refusal(client.put(dict.fromkeys(many)))).code == kv.Error.TOO_LARGE

    running(body, limits=Limits(txn_bytes_max=10_000, txn_locks_max=100))


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_a_large_transaction_is_staged_and_atomic(engine: str) -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as reader:
            await reader.put({b"%06d" % n: b"old" for n in range(0, 5000, 7)})
            snapshot = await reader.pin(1)
            pieces = [
                {b"%06d" % n: b"new" for n in range(low, low + 500)} for low in range(0, 5000, 500)
            ]
            await asyncio.gather(*[client.stage(9, piece) for piece in pieces])
            assert await reader.get(b"000001") == [None]
            await client.commit(9, {b"last": b"1"})
            rows = await reader.scan(b"", b"\xff")
            assert len(rows) == 5001
            assert {value for _, value in rows[:-1]} == {b"new"}
            old = await reader.scan(b"", b"\xff", snapshot=snapshot)
            assert old == [(b"%06d" % n, b"old") for n in range(0, 5000, 7)]

    running(body, engine)


def test_counters_give_every_number_once() -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as other:
            asked = [each.increment(b"seq", 1) for each in (client, other) * 100]
            assert sorted(await asyncio.gather(*asked)) == list(range(200))

    running(body, "sqlite")


def test_what_was_closed_in_order_is_there_again() -> None:
    async def body() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with storage_running(Path(folder)) as storage, storage.session(TENANT) as client:
                time = await client.commit(1, {b"k": b"v"}, changes_catalog=True)
                await client.increment(b"seq", 7)
                await client.stage(2, {b"k": b"never"})
                assert await client.resolve(3) == 0
                pod, authority = client.pod, storage.authority
                late = [client.put({b"late%d" % n: b"x"}) for n in range(50)]
                waiting = asyncio.gather(*late)
                await asyncio.sleep(0)
            answers = await asyncio.gather(waiting, return_exceptions=True)
            del answers
            async with (
                storage_running(Path(folder), authority=authority) as storage,
                storage.session(TENANT, pod=pod) as client,
            ):
                assert client.hello.catalog_version == time
                assert await client.get(b"k") == [b"v"]
                assert await client.increment(b"seq", 1) == 7
                assert await client.resolve(1) == time
                assert (await refusal(client.commit(3, {b"k": b"x"}))).code == kv.Error.TXN_ENDED
                assert await client.put({b"k": b"younger"}) > time

    uvloop.run(body())


def test_blocks_of_a_scan_can_leave_out_what_is_not_wanted() -> None:
    async def body(_storage: StorageForTest, client: KvClient) -> None:
        await client.put({b"a": b"1", b"b": b"2"})
        start, end = client.prefix, client.prefix + b"z"
        keys = await client.send(scan=kv.Scan(start=start, end=end, keys_only=True, strip=9))
        assert (blocks.unpack(keys.keys), keys.values) == ([b"a", b"b"], b"")
        values = await client.send(scan=kv.Scan(start=start, end=end, values_only=True, rows_max=1))
        assert (values.keys, blocks.unpack(values.values)) == (b"", [b"1"])
        assert values.resume == start + b"a\0"

    running(body)


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_large_pieces_come_back_whole_and_the_last_write_wins(engine: str) -> None:
    async def body(_storage: StorageForTest, client: KvClient) -> None:
        names = [b"%02d" % n for n in range(20)]
        old = {name: os.urandom(7_000) for name in names}
        new = {name: os.urandom(9_000) for name in names[5:]}
        await client.put({names[0]: b"before"})
        await client.stage(1, {**old})
        await client.stage(1, {b"small": b"x"})
        await client.stage(1, {**new, names[1]: None})
        await client.commit(1, {})
        expected = {**old, **new, b"small": b"x"}
        del expected[names[1]]
        assert dict(await client.scan(b"0", b"t")) == expected

    running(body, engine)
