"""Recovery windows: whose they are, and what becomes of the past when they change."""

import asyncio
from unittest import mock

from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from storage import sweeps
from storage.engines.memory import MemoryEngine
from storage.layout import HISTORY_SPAN, removed_range, tenant_spans
from storage.shard import Shard
from tests.storage.test_history import RETENTION, Twin
from tests.storage.test_versions import PREFIX, TENANT


def test_a_window_that_is_made_shorter_lets_go_at_once() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        await twin.commit({b"a": b"1", b"b": b"1"})
        await twin.commit({b"a": b"2", b"b": None})
        twin.clock.advance(5)
        await twin.shard.collector.collect()
        everything = [HISTORY_SPAN, removed_range(PREFIX, PREFIX + b"\xff" * 9)]
        assert [(await twin.engine.measure(*span)).keys for span in everything] == [2, 1]
        await twin.set_window(3)
        await twin.shard.collector.collect()
        assert [(await twin.engine.measure(*span)).keys for span in everything] == [0, 0]
        await twin.restart()
        assert twin.shard.windows.of(TENANT) == 3 * 10**9
        await twin.check()
        await twin.shard.close()

    asyncio.run(body())


def test_a_default_that_is_made_shorter_lets_go_of_whoever_inherits_it() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()

        async def told(default: int) -> list[int]:
            await twin.shard.set_windows({}, only_these=False, default=default)
            await twin.shard.collector.collect()
            await twin.check()
            everything = [HISTORY_SPAN, removed_range(PREFIX, PREFIX + b"\xff" * 9)]
            return [(await twin.engine.measure(*span)).keys for span in everything]

        await twin.commit({b"a": b"1", b"b": b"1"})
        await twin.commit({b"a": b"2", b"b": None})
        await twin.set_window(30)
        twin.clock.advance(5)
        assert await told(3) == [2, 1]  # the tenant has a window of its own
        twin.window = 3
        twin.since = twin.oldest
        await twin.shard.set_windows({TENANT: None}, only_these=True, default=50)
        assert await told(60) == [2, 1]
        twin.window = 3
        assert await told(3) == [0, 0]
        await twin.shard.close()

    asyncio.run(body())


def test_a_walk_for_a_shorter_window_goes_on_with_the_next_pass() -> None:
    async def body() -> None:
        twin = Twin()
        await twin.start()
        names = [b"%04d" % number for number in range(600)]
        for value in (b"x", b"y", None):
            await twin.commit(dict.fromkeys(names, value))
        await twin.retire(b"q", b"r")
        twin.clock.advance(5)
        await twin.set_window(3)
        left = [1801]
        with mock.patch.object(sweeps, "_SWEEP_SECONDS", -1.0):  # a page in each pass
            while left[-1] and len(left) < 20:
                await twin.shard.collector.collect()
                spans = tenant_spans(TENANT, b"dhr")
                left.append(sum([(await twin.engine.measure(*span)).keys for span in spans]))
        assert left == [1801, 1551, 1301, 1201, 951, 701, 451, 201, 1, 0]
        await twin.check()
        await twin.shard.close()

    asyncio.run(body())


def test_windows_are_each_tenants_own() -> None:
    async def body() -> None:
        engine, clock = MemoryEngine(), ManualClock()
        shard = await Shard.open(engine, clock=clock, retention=RETENTION)
        one, two = TenantId(7), TenantId(8)
        await shard.set_windows({one: 0, two: 100}, only_these=False, default=50)
        await shard.set_windows({}, only_these=False, default=None)
        await shard.close()
        shard = await Shard.open(engine, clock=clock, retention=RETENTION)
        assert [shard.windows.of(each) // 10**9 for each in (one, two, TENANT)] == [0, 100, 50]
        now, visible = shard.clock.now() + 200 * 10**9, 2**62
        floors = [shard.windows.floor(each, now, visible) for each in (one, two, TENANT)]
        assert [(now - floor) // 10**9 for floor in floors] == [0, 100, 50]
        await shard.set_windows({two: 100}, only_these=True, default=None)
        assert shard.windows.of(one) == 50 * 10**9
        await shard.close()

    asyncio.run(body())
