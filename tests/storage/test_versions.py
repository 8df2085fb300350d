"""Snapshots, beside a twin that copies the whole database at every commit."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base import blocks
from dormouse.base.clock import ManualClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.keys import tenant_prefix
from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from storage import removals, versions
from storage.config import Limits
from storage.engines.memory import MemoryEngine
from storage.layout import (
    history_key,
    history_range,
    history_versions,
    split_history,
)
from storage.operations import Operations
from storage.refusals import Refusal
from storage.shard import Retention, Shard
from storage.waiting import InFlight

TENANT = TenantId(258)
PREFIX = tenant_prefix(TENANT)


class DirectSession:
    """A session whose requests are answered by a future."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._replies: dict[int, asyncio.Future[kv.Reply]] = {}
        self._ids = 0

    async def open(self) -> None:
        tenant = await self._shard.enter(TENANT, self)
        self._operations = Operations(self._shard, tenant, PodId(1), self)

    def tell_notification(self, notification: kv.Notification) -> None:
        raise AssertionError(notification)

    def tell_catalog(self, version: int) -> None:
        raise AssertionError("nobody keeps the catalog here")

    def tell_table(self, word: kv.TableWord) -> None:
        raise AssertionError("nobody wants a table here")

    def cut(self, reason: str) -> None:
        raise AssertionError(reason)

    def end(self, reason: str) -> None:
        raise AssertionError(reason)

    def reply(self, reply: kv.Reply) -> None:
        self._replies.pop(reply.id).set_result(reply)

    def go_on(self, request: kv.Request, work: Callable[[kv.Request], kv.Reply | None]) -> None:
        reply = work(request)
        if reply is not None:
            self.reply(reply)

    def later(
        self, request: kv.Request, work: Callable[[InFlight], Coroutine[Any, Any, kv.Reply | None]]
    ) -> None:
        async def run() -> None:
            try:
                reply = await work(InFlight(request.id, 0))
            except Refusal as refusal:
                reply = refusal.reply(request.id)
            if reply is not None:
                self.reply(reply)

        spawn(run(), name="direct request")

    async def call(self, txn: int = 0, **op: Any) -> kv.Reply:
        self._ids += 1
        future: asyncio.Future[kv.Reply] = asyncio.get_running_loop().create_future()
        self._replies[self._ids] = future
        try:
            reply = self._operations.handle(kv.Request(id=self._ids, txn=txn, **op))
        except Refusal as refusal:
            reply = refusal.reply(self._ids)
        if reply is not None:
            self.reply(reply)
        return await future


Database = dict[bytes, bytes]
keys = st.sampled_from([b"", b"\0", b"\0\0", b"\0\xff", b"a", b"a\0", b"a\1", b"b", b"\xff"])
commits = st.dictionaries(keys, st.none() | st.binary(max_size=2), min_size=1, max_size=4)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), commits),
        st.tuples(st.just("pin"), st.integers(1, 3)),
        st.tuples(st.just("end"), st.integers(1, 3)),
        st.tuples(st.just("collect"), st.none()),
        st.tuples(st.just("evict"), st.none()),
    ),
    max_size=30,
)


async def scanned(
    session: DirectSession, snapshot: int, rows_max: int, *, reverse: bool
) -> list[tuple[bytes, bytes]]:
    start, end = PREFIX, tenant_prefix(TenantId(TENANT + 1))
    rows: list[tuple[bytes, bytes]] = []
    for _ in range(200):
        scan = kv.Scan(
            start=start, end=end, reverse=reverse, snapshot=snapshot, rows_max=rows_max, strip=9
        )
        page = (await session.call(scan=scan)).scan
        found = blocks.unpack_present(page.keys), blocks.unpack_present(page.values)
        rows += zip(*found, strict=True)
        if not page.resume:
            return rows
        start, end = (start, page.resume) if reverse else (page.resume, end)
    raise AssertionError("a scan that does not end")


async def play(steps: list[tuple[str, Any]], rows_max: int) -> None:
    limits = Limits(cache_bytes_max=1000)
    retention = Retention(collect_seconds=3600)
    shard = await Shard.open(
        MemoryEngine(), clock=ManualClock(), limits=limits, retention=retention
    )
    session = DirectSession(shard)
    await session.open()
    now: Database = {}
    pinned: dict[int, tuple[int, int, Database]] = {}
    txn = 100
    for action, argument in steps:
        if action == "commit":
            txn += 1
            values = blocks.pack(list(argument.values()))
            writes = kv.Writes(keys=blocks.pack([PREFIX + k for k in argument]), values=values)
            assert (await session.call(txn, commit=kv.Commit(writes=writes))).commit.commit_time
            changed = {**now, **argument}
            now = {key: value for key, value in changed.items() if value is not None}
        elif action in ("pin", "end"):
            txn += 1
            if argument in pinned:
                await session.call(pinned.pop(argument)[0], end=kv.End())
            if action == "pin":
                reply = await session.call(txn, get=kv.Get(keys=blocks.pack([]), pin=True))
                pinned[argument] = (txn, reply.get.snapshot, now)
        elif action == "collect":
            await shard.collector.collect()
        else:
            shard.cache.forget([PREFIX + key for key in now])
        for _, snapshot, database in [(0, 0, now), *pinned.values()]:
            wanted = [PREFIX + key for key in [*now, *database, b"nobody"]]
            reply = await session.call(get=kv.Get(keys=blocks.pack(wanted), snapshot=snapshot))
            expected = [database.get(key[9:]) for key in wanted]
            assert blocks.unpack(reply.get.values) == expected
            ordered = sorted(database.items())
            assert await scanned(session, snapshot, rows_max, reverse=False) == ordered
            assert await scanned(session, snapshot, rows_max, reverse=True) == ordered[::-1]
    await shard.close()


@given(
    steps=actions,
    rows_max=st.integers(1, 4),
    removed_rows=st.integers(1, 4),
    remembered=st.sampled_from([0, 2, 100]),
)
@settings(max_examples=300, deadline=None)
def test_every_pinned_snapshot_reads_the_database_of_its_time(
    steps: list[tuple[str, Any]], rows_max: int, removed_rows: int, remembered: int
) -> None:
    with (
        mock.patch.object(removals, "_KEYS_MAX", remembered),
        mock.patch.object(versions, "_REMOVED_ROWS", removed_rows),
        mock.patch.object(versions, "_OLDER_AT_ONCE", removed_rows),
    ):
        asyncio.run(play(steps, rows_max))


user_keys = st.binary(max_size=6).map(lambda rest: PREFIX + rest)
times = st.integers(0, 2**63)


@given(one=user_keys, other=user_keys, early=times, late=times)
def test_history_sorts_by_key_and_then_by_time(
    one: bytes, other: bytes, early: int, late: int
) -> None:
    assert split_history(history_key(one, early)) == (one, early)
    assert (history_key(one, early) < history_key(other, late)) == ((one, early) < (other, late))
    low, high = history_versions(one, late)
    assert (low <= history_key(other, early) < high) == (one == other and early <= late)
    low, high = history_range(*sorted((one, other)))
    assert low <= history_key(min(one, other), late)
    assert high <= history_key(max(one, other), early)


class HeldEngine(MemoryEngine):
    """Has applied a batch already when it is still to say so."""

    def __init__(self) -> None:
        super().__init__()
        self.applied, self.say_so = asyncio.Event(), asyncio.Event()
        self.say_so.set()

    async def apply(self, *batch: Any) -> None:
        await super().apply(*batch)
        self.applied.set()
        await self.say_so.wait()


def test_a_removal_on_its_way_is_not_seen_early() -> None:
    async def body() -> None:
        engine, key = HeldEngine(), blocks.pack([PREFIX + b"k"])
        shard = await Shard.open(
            engine, clock=ManualClock(), limits=Limits(), retention=Retention(collect_seconds=3600)
        )
        session = DirectSession(shard)
        await session.open()

        async def commit(txn: int, value: bytes | None) -> None:
            writes = kv.Writes(keys=key, values=blocks.pack([value]))
            assert (await session.call(txn, commit=kv.Commit(writes=writes))).commit.commit_time

        async def read() -> list[bytes | None]:
            return blocks.unpack((await session.call(get=kv.Get(keys=key))).get.values)

        await commit(1, b"value")
        shard.cache.forget([PREFIX + b"k"])
        engine.applied.clear()
        engine.say_so.clear()
        # Before it commits, the removal reads the key; only afterwards is memory made to forget.
        removal = spawn(commit(2, None), name="removal")
        await engine.applied.wait()
        shard.cache.forget([PREFIX + b"k"])
        assert await read() == [b"value"]
        engine.say_so.set()
        await removal
        assert await read() == [None]
        await shard.close()

    asyncio.run(body())


def test_a_get_reads_a_few_keys_on_the_event_loop_and_not_all_of_many() -> None:
    async def body() -> tuple[int, int]:
        engine = MemoryEngine()
        shard = await Shard.open(engine, clock=ManualClock(1_000_000))
        session = DirectSession(shard)
        await session.open()
        absent = blocks.pack([PREFIX + b"%03d" % n for n in range(100)])
        with (
            mock.patch.object(engine, "get_now", wraps=engine.get_now) as now,
            mock.patch.object(engine, "get", wraps=engine.get) as later,
        ):
            reply = await session.call(get=kv.Get(keys=absent))
        assert blocks.unpack(reply.get.values) == [None] * 100
        await shard.close()
        return now.call_count, later.call_count

    assert asyncio.run(body()) == (versions._READS_NOW_MAX, 1)
