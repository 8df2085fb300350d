"""History over restarts and collections, beside a twin that copies the database at every commit."""

import asyncio
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dormouse.base import blocks
from dormouse.base.clock import ManualClock
from dormouse.base.metrics import REGISTRY
from proto import kv_pb2 as kv
from storage import removals, versions
from storage.engines.interface import ScanRange
from storage.engines.memory import MemoryEngine
from storage.engines.sqlite import SqliteEngine
from storage.exports import Exports, TransferRefused
from storage.imports import Imports
from storage.layout import (
    FORMAT,
    HELD_SPAN,
    HISTORY_SPAN,
    HORIZON,
    TIME,
    TIME_MAX,
    due_lists,
    history_key,
    removed_range,
    retired_span,
    with_time,
)
from storage.shard import Retention, Shard
from storage.versions import Wanted
from tests.storage.test_versions import PREFIX, TENANT, Database, DirectSession, commits, scanned

WINDOW_SECONDS = 10
_YEAR = 365 * 86_400
RETENTION = Retention(
    window_seconds=WINDOW_SECONDS, hold_seconds=200, collect_seconds=3600, measure_seconds=3600
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), commits),
        st.tuples(st.just("wait"), st.sampled_from([1, 4, 15, 70])),
        st.tuples(st.just("leap"), st.sampled_from([-_YEAR, -20, 20, _YEAR])),
        st.tuples(st.just("window"), st.sampled_from([None, 0, 3, 30])),
        st.tuples(st.just("pin"), st.integers(1, 2)),
        st.tuples(st.just("end"), st.integers(1, 2)),
        st.tuples(st.just("collect"), st.none()),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=30,
)


class Twin:
    """A shard and, of every commit, the database it left."""

    def __init__(self) -> None:
        self.engine, self.clock = MemoryEngine(), ManualClock()
        self.past: list[tuple[int, Database]] = []
        self.pins: dict[int, tuple[int, int]] = {}
        self.window, self.since = WINDOW_SECONDS, 0
        self._txn = 100

    async def start(self) -> None:
        self.shard = await Shard.open(self.engine, clock=self.clock, retention=RETENTION)
        self.session = DirectSession(self.shard)
        await self.session.open()
        self.past = self.past or [(self.shard.versions.visible, {})]

    async def commit(self, writes: dict[bytes, bytes | None]) -> None:
        block = kv.Writes(
            keys=blocks.pack([PREFIX + key for key in writes]),
            values=blocks.pack(list(writes.values())),
        )
        reply = await self._call(commit=kv.Commit(writes=block))
        changed = {**self.past[-1][1], **writes}
        now = {key: value for key, value in changed.items() if value is not None}
        self.past.append((reply.commit.commit_time, now))

    async def retire(self, start: bytes, end: bytes) -> None:
        """Give up a range in which there is nothing."""
        gone = kv.Range(start=PREFIX + start, end=PREFIX + end)
        reply = await self._call(commit=kv.Commit(retired=[gone]))
        self.past.append((reply.commit.commit_time, self.past[-1][1]))

    async def end(self, name: int) -> None:
        if name in self.pins:
            await self.session.call(self.pins.pop(name)[0], end=kv.End())

    async def pin(self, name: int) -> None:
        await self.end(name)
        reply = await self._call(get=kv.Get(keys=blocks.pack([]), pin=True))
        self.pins[name] = (self._txn, reply.get.snapshot)

    async def restart(self) -> None:
        await self.shard.close()
        self.pins.clear()
        await self.start()

    async def set_window(self, seconds: int | None) -> None:
        self.since = self.oldest
        self.window = WINDOW_SECONDS if seconds is None else seconds
        await self.shard.set_windows({TENANT: seconds}, only_these=True, default=None)

    @property
    def oldest(self) -> int:
        """What is younger is promised."""
        return max(self.since, self.shard.clock.now() - self.window * 10**9)

    async def check(self) -> None:
        """Whatever is in the window or pinned is read as it was, and the rest so or not at all."""
        oldest, newest = self.oldest, self.shard.versions.visible
        ends = [time for time, _ in self.past[1:]] + [newest + 1]
        long_ago = self.shard.clock.now() - (self.window + RETENTION.hold_seconds) * 10**9
        pinned = {snapshot for _, snapshot in self.pins.values()}
        for (time, database), end in zip(self.past, ends, strict=True):
            held = time in pinned and end > long_ago
            await self._compare(time, database, promised=time >= oldest or held)
            if time < oldest < end and oldest <= newest:
                await self._compare(oldest, database, promised=True)

    async def _compare(self, snapshot: int, database: Database, *, promised: bool) -> None:
        everything = {key for _, each in self.past for key in each}
        wanted = [PREFIX + key for key in sorted(everything)]
        reply = await self.session.call(get=kv.Get(keys=blocks.pack(wanted), snapshot=snapshot))
        if reply.error.code == kv.Error.SNAPSHOT_TOO_OLD:
            assert not promised
            return
        assert blocks.unpack(reply.get.values) == [database.get(key[9:]) for key in wanted]
        ordered = sorted(database.items())
        assert await scanned(self.session, snapshot, 3, reverse=False) == ordered
        assert await scanned(self.session, snapshot, 3, reverse=True) == ordered[::-1]

    async def _call(self, **op: Any) -> kv.Reply:
        self._txn += 1
        return await self.session.call(self._txn, **op)


async def _play(steps: list[tuple[str, Any]]) -> None:
    twin = Twin()
    await twin.start()
    for action, argument in steps:
        match action:
            case "commit":
                await twin.commit(argument)
            case "wait":
                twin.clock.advance(argument)
            case "leap":
                twin.clock.leap(argument)
            case "window":
                await twin.set_window(argument)
            case "pin":
                await twin.pin(argument)
            case "end":
                await twin.end(argument)
            case "collect":
                await twin.shard.collector.collect()
            case _:
                await twin.restart()
        await twin.check()
    for name in list(twin.pins):
        await twin.end(name)
    over = twin.shard.clock.now() + 31 * 10**9
    while twin.shard.clock.now() < over:
        twin.clock.advance(40)
    await twin.shard.collector.collect()
    await twin.check()
    await twin.shard.close()
    assert await _left(twin.engine) == []


async def _left(engine: MemoryEngine) -> list[bytes]:
    removed = removed_range(PREFIX, PREFIX + b"\xff" * 9)
    spans = [HISTORY_SPAN, due_lists(TIME_MAX - 1), HELD_SPAN, removed]
    pages = await engine.scan([ScanRange(*span, 1000, 1 << 20) for span in spans])
    return [key for page in pages for key, _ in page.rows]


_SUPERSEDED = [("commit", {b"a": b"1"}), ("wait", 1), ("commit", {b"a": b"2"})]


@given(steps=actions, remembered=st.sampled_from([0, 2, 100]))
@example(  # what a short window let go of does not come back with a longer one
    steps=[
        *_SUPERSEDED,
        ("window", 0),
        ("wait", 15),
        ("collect", None),
        ("window", 30),
        ("restart", None),
    ],
    remembered=100,
)
@example(  # nor with a clock that jumps back
    steps=[*_SUPERSEDED, ("wait", 15), ("collect", None), ("leap", -_YEAR), ("restart", None)],
    remembered=100,
)
@example(  # a reader that holds it all for too long
    steps=[
        *_SUPERSEDED[:1],
        ("pin", 1),
        *_SUPERSEDED[1:],
        *[("wait", 70)] * 2,
        ("collect", None),
        *[("wait", 70)] * 2,
        ("collect", None),
    ],
    remembered=100,
)
@settings(max_examples=300, deadline=None)
def test_the_window_reads_as_it_was_over_restarts_and_collections(
    steps: list[tuple[str, Any]], remembered: int
) -> None:
    with (
        mock.patch.object(removals, "_KEYS_MAX", remembered),
        mock.patch.object(versions, "_REMOVED_ROWS", 2),
    ):
        asyncio.run(_play(steps))


def test_older_versions_that_are_large_make_the_pages_shorter() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        names = [b"%03d" % number for number in range(300)]
        await twin.commit(dict.fromkeys(names, b"x" * 20_000))
        await twin.commit(dict.fromkeys(names, b"y"))
        await twin.check()
        tenant = twin.shard.tenants.open(TENANT)
        for reverse in (False, True):
            end = PREFIX + b"\xff"
            wanted = Wanted(PREFIX, end, reverse, twin.past[1][0], 1000, 1 << 20)
            page = await twin.shard.versions.scan(tenant, wanted)
            assert 1 << 20 < sum(len(value) for _, value in page.rows) < 4 << 20
            assert page.resume
        await twin.shard.close()

    asyncio.run(body())


def test_a_time_that_has_not_come_is_refused_and_one_that_was_read_is_over() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await twin.commit({b"a": b"1"})
        twin.clock.advance(5)
        now = twin.clock.wall_ns()
        key = blocks.pack([PREFIX + b"a"])
        ahead = kv.Get(keys=key, snapshot=now + 1, as_of=True)
        assert (await twin.session.call(get=ahead)).error.code == kv.Error.SNAPSHOT_IN_FUTURE
        get = kv.Get(keys=key, snapshot=now, as_of=True)
        for _ in range(2):
            reply = await twin.session.call(get=get)
            assert blocks.unpack(reply.get.values) == [b"1"]
            await twin.commit({b"a": b"2"})
            assert twin.past[-1][0] > now
        twin.clock.advance(60)
        await twin.commit({b"a": b"3"})
        await twin.shard.collector.collect()
        error = (await twin.session.call(get=get)).error
        assert error.code == kv.Error.SNAPSHOT_TOO_OLD
        assert error.version == twin.clock.wall_ns() - WINDOW_SECONDS * 10**9
        await twin.shard.close()

    asyncio.run(body())


def test_a_horizon_is_written_only_with_what_is_removed() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await twin.commit({b"a": b"1"})
        await twin.commit({b"a": b"2"})
        [first] = await twin.engine.get([HORIZON])
        await twin.shard.collector.collect()
        assert await twin.engine.get([HORIZON]) == [first]
        twin.clock.advance(60)
        await twin.shard.collector.collect()
        [second] = await twin.engine.get([HORIZON])
        assert second is not None
        assert first is not None
        assert TIME.unpack(second) > TIME.unpack(first)
        await twin.restart()
        old = kv.Get(keys=blocks.pack([PREFIX + b"a"]), snapshot=twin.past[1][0])
        assert (await twin.session.call(get=old)).error.code == kv.Error.SNAPSHOT_TOO_OLD
        await twin.shard.close()

    asyncio.run(body())


def test_a_file_of_an_older_layout_loses_history_and_keeps_its_rows(tmp_path: Path) -> None:
    async def body() -> None:
        twin = Twin()
        engine = await SqliteEngine.open(tmp_path / "kv")
        twin.engine = engine  # type: ignore[assignment]
        await twin.start()
        await twin.commit({b"a": b"1", b"b": b"2"})
        await twin.shard.close()
        stray = history_key(PREFIX + b"a", 5)
        await engine.apply([(FORMAT, None), (HORIZON, None), (stray, with_time(7, b"0"))])
        await twin.start()
        assert await engine.get([stray]) == [None]
        assert await scanned(twin.session, 0, 3, reverse=False) == [(b"a", b"1"), (b"b", b"2")]
        early = kv.Get(keys=blocks.pack([PREFIX + b"a"]), snapshot=twin.past[0][0])
        assert (await twin.session.call(get=early)).error.code == kv.Error.SNAPSHOT_TOO_OLD
        await twin.shard.close()
        await engine.close()

    asyncio.run(body())


def test_metrics_tell_of_the_collection_and_of_pins() -> None:
    def seconds(name: str) -> float:
        return REGISTRY.get_sample_value(f"dormouse_storage_{name}_timestamp_seconds") or 0.0

    async def body() -> None:
        twin = Twin()
        await twin.start()
        rows = REGISTRY.get_sample_value("dormouse_storage_history_rows") or 0.0
        await twin.commit({b"a": b"1"})
        await twin.pin(1)
        began = twin.clock.wall_ns() // 10**9
        twin.clock.advance(60)
        await twin.commit({b"a": b"2"})
        twin.clock.advance(60)
        await twin.commit({b"b": b"1"})
        await twin.shard.collector.collect()
        assert round(seconds("oldest_pin")) == began
        await twin.shard.sizes.measure_changed()
        assert REGISTRY.get_sample_value("dormouse_storage_history_rows") == rows + 1
        await twin.end(1)
        await twin.shard.collector.collect()
        assert round(seconds("oldest_pin")) == began + 120
        await twin.shard.sizes.measure_changed()
        assert REGISTRY.get_sample_value("dormouse_storage_history_rows") == rows
        await twin.shard.close()

    asyncio.run(body())


def _expired(reply: kv.Reply) -> bool:
    return reply.error.code == kv.Error.SNAPSHOT_TOO_OLD


def test_a_reader_that_holds_history_for_too_long_is_told() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await twin.commit({b"a": b"1"})
        await twin.pin(1)
        txn, snapshot = twin.pins[1]
        twin.clock.advance(1)
        await twin.commit({b"a": b"2"})
        get = kv.Get(keys=blocks.pack([PREFIX + b"a"]), snapshot=snapshot)
        scan = kv.Scan(start=PREFIX, end=PREFIX + b"\xff", snapshot=snapshot)
        pages = Exports(twin.shard).pages(TENANT)
        assert (await anext(pages)).snapshot > snapshot
        await twin.commit({b"a": b"3"})
        twin.clock.advance(WINDOW_SECONDS + RETENTION.hold_seconds - 1)
        await twin.shard.collector.collect()
        reply = await twin.session.call(txn, get=get)
        assert blocks.unpack(reply.get.values) == [b"1"]
        twin.clock.advance(2)
        await twin.shard.collector.collect()
        assert _expired(await twin.session.call(txn, get=get))
        assert _expired(await twin.session.call(txn, scan=scan))
        with pytest.raises(TransferRefused, match="longer than history is held"):
            await anext(pages)
        assert await _left(twin.engine) == []
        await twin.shard.close()

    asyncio.run(body())


def test_a_range_that_was_given_up_is_there_for_the_window_and_then_gone() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await twin.commit({b"a1": b"1", b"a2": b"2", b"b": b"3"})
        retired = kv.Range(start=PREFIX + b"a", end=PREFIX + b"b")
        await twin._call(commit=kv.Commit(retired=[retired]))
        scan = kv.Scan(start=PREFIX, end=PREFIX + b"\xff", snapshot=twin.past[1][0])
        twin.clock.advance(WINDOW_SECONDS - 1)
        await twin.restart()
        await twin.shard.collector.collect()
        reply = await twin.session.call(scan=scan)
        assert blocks.unpack(reply.scan.values) == [b"1", b"2", b"3"]
        twin.clock.advance(2)
        await twin.shard.collector.collect()
        assert _expired(await twin.session.call(scan=scan))
        assert await scanned(twin.session, 0, 3, reverse=False) == [(b"b", b"3")]
        span = retired_span(TENANT)
        assert (await twin.engine.measure(*span)).keys == 0
        await twin.shard.close()

    asyncio.run(body())


def test_large_transactions_leave_a_past_too() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await twin.commit({b"%d" % number: b"1" for number in range(9)})
        twin.clock.advance(1)
        twin._txn += 1
        for values in ({b"1": b"2", b"2": None}, {b"2": b"3", b"3": None}):
            keys = blocks.pack([PREFIX + key for key in values])
            writes = kv.Writes(keys=keys, values=blocks.pack(list(values.values())))
            stage = kv.Stage(writes=writes)
            assert (await twin.session.call(twin._txn, stage=stage)).stage.bytes_staged
        own = kv.Writes(keys=blocks.pack([PREFIX + b"4"]), values=blocks.pack([None]))
        reply = await twin.session.call(twin._txn, commit=kv.Commit(writes=own))
        changed = {**twin.past[-1][1], b"1": b"2", b"2": b"3"}
        twin.past.append(
            (reply.commit.commit_time, {k: v for k, v in changed.items() if k not in (b"3", b"4")})
        )
        await twin.check()
        await twin.restart()
        await twin.check()
        twin.clock.advance(WINDOW_SECONDS + 1)
        await twin.shard.collector.collect()
        await twin.check()
        assert await _left(twin.engine) == []
        await twin.shard.close()

    asyncio.run(body())


def test_a_history_that_takes_long_to_walk_is_walked_seldom() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        sizes = twin.shard.sizes

        async def measured() -> int:
            await sizes.measure_changed()
            [found] = sizes.page(after=0, limit=2)
            return found.bytes

        for value in (b"1", b"2"):
            await twin.commit({b"a": value})
        with (
            mock.patch("storage.sizes._SHORT_WALK_SECONDS", 0.0),
            mock.patch("storage.sizes._HISTORY_RESTS", 1e9),
        ):
            once = await measured()
            await twin.commit({b"a": b"3"})
            assert await measured() == once
        sizes._history_due[TENANT] = 0.0
        assert await measured() > once
        await twin.shard.close()

    asyncio.run(body())


def test_what_is_not_due_is_not_touched_and_tenants_of_one_group_are_told_apart() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await asyncio.gather(*[twin._call(commit=_put(b"%d" % n, b"1")) for n in range(5)])
        await asyncio.gather(*[twin._call(commit=_put(b"%d" % n, b"2")) for n in range(5)])
        twin.clock.advance(WINDOW_SECONDS - 1)
        assert await twin.shard.collector.collect() == (0, 0)
        assert await twin.shard.collector.collect() == (0, 0)
        twin.clock.advance(2)
        _, removed = await twin.shard.collector.collect()
        assert removed == 5
        assert await _left(twin.engine) == []
        await twin.shard.close()

    asyncio.run(body())


def _put(key: bytes, value: bytes) -> kv.Commit:
    return kv.Commit(
        writes=kv.Writes(keys=blocks.pack([PREFIX + key]), values=blocks.pack([value]))
    )


def test_a_time_before_the_window_is_refused_though_its_history_is_still_there() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await twin.commit({b"a": b"1"})
        twin.clock.advance(1)
        await twin.commit({b"a": b"2"})
        asked = twin.clock.wall_ns()
        get = kv.Get(keys=blocks.pack([PREFIX + b"a"]), snapshot=asked, as_of=True)
        twin.clock.advance(WINDOW_SECONDS - 1)
        await twin.commit({b"a": b"3"})
        assert blocks.unpack((await twin.session.call(get=get)).get.values) == [b"2"]
        twin.clock.advance(2)
        assert _expired(await twin.session.call(get=get))
        await twin.shard.close()

    asyncio.run(body())


def test_a_page_of_removals_that_is_cut_loses_nothing_and_gives_nothing_twice() -> None:
    async def body(removed_rows: int) -> None:
        twin = Twin()
        await twin.start()
        names = [b"%d" % number for number in range(8)]
        await twin.commit(dict.fromkeys(names, b"1"))
        for name in (b"2", b"3", b"3", b"5"):  # so that a key has more removals than one
            await twin.commit({name: None})
            await twin.commit({name: b"2"})
        await twin.commit({b"7": b"3"})
        for name in names[1:-1]:
            await twin.commit({name: None})
        await twin.commit({b"4": b"4", b"9": b"4"})
        await twin.restart()  # what was removed of late is in memory no more
        with mock.patch.object(versions, "_REMOVED_ROWS", removed_rows):
            await twin.check()
        await twin.shard.close()

    for removed_rows in range(1, 8):
        asyncio.run(body(removed_rows))


def test_a_tenant_that_has_but_a_past_takes_no_import() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await twin.commit({b"a": b"1"})
        await twin.commit({b"a": None})
        twin.shard.leave(twin.shard.tenants.open(TENANT), twin.session)
        imports = Imports(twin.shard)
        with pytest.raises(TransferRefused, match="the tenant has rows"):
            await imports.begin(TENANT)
        twin.clock.advance(WINDOW_SECONDS + 1)
        await twin.shard.collector.collect()
        await imports.begin(TENANT)
        await twin.shard.close()

    asyncio.run(body())


def test_a_tenant_that_is_dropped_leaves_nothing_of_its_past() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await twin.set_window(20)
        await twin.commit({b"a": b"1", b"b": b"1"})
        await twin.pin(1)
        await twin.commit({b"a": None, b"b": b"2"})
        twin.clock.advance(21)
        await twin.shard.collector.collect()
        await twin.end(1)
        twin.shard.leave(twin.shard.tenants.open(TENANT), twin.session)
        await twin.shard.drop(TENANT)
        [page] = await twin.engine.scan([ScanRange(b"\0", b"\xff", 1000, 1 << 20)])
        assert {key[:1] for key, _ in page.rows} <= {b"m", b"y"}
        assert twin.shard.windows.of(TENANT) == WINDOW_SECONDS * 10**9
        await twin.shard.close()

    asyncio.run(body())
