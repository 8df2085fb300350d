"""Settings of tenants whose write fails: in force, and written with the next change."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest

from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from storage.engines.interface import EngineError
from storage.shard import Shard
from tests.support.failingengine import FailingEngine

ONE, TWO = TenantId(7), TenantId(8)
SECOND = 10**9


async def _opened(engine: FailingEngine) -> Shard:
    return await Shard.open(engine, clock=ManualClock())


def _running(body: Callable[[FailingEngine, Shard], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = FailingEngine()
        shard = await _opened(engine)
        try:
            await body(engine, shard)
        finally:
            await shard.close()

    asyncio.run(main())


async def _after_a_crash(engine: FailingEngine) -> Shard:
    """What another process would find."""
    shard = await _opened(engine)
    await shard.close()
    return shard


async def _fails(work: Awaitable[None]) -> None:
    with pytest.raises(EngineError):
        await work


def test_a_quota_that_could_not_be_written_goes_with_the_next() -> None:
    async def body(engine: FailingEngine, shard: Shard) -> None:
        async def told(quotas: Mapping[TenantId, int]) -> None:
            await shard.quotas.change(quotas, only_these=False, default=None)

        engine.failing = True
        await _fails(told({ONE: 5}))
        await _fails(told({ONE: 5}))
        assert shard.quotas.of(ONE) == 5
        engine.failing = False
        await told({TWO: 6})
        again = await _after_a_crash(engine)
        assert (again.quotas.of(ONE), again.quotas.of(TWO)) == (5, 6)

    _running(body)


def test_the_newest_of_several_that_failed_is_written() -> None:
    async def body(engine: FailingEngine, shard: Shard) -> None:
        async def told(quotas: Mapping[TenantId, int]) -> None:
            await shard.quotas.change(quotas, only_these=False, default=None)

        engine.failing = True
        for size in (5, 0, 9):
            await _fails(told({ONE: size}))
        engine.failing = False
        await told({ONE: 9})
        assert (await _after_a_crash(engine)).quotas.of(ONE) == 9

    _running(body)


def test_a_tenant_that_is_dropped_owes_nothing() -> None:
    async def body(engine: FailingEngine, shard: Shard) -> None:
        engine.failing = True
        await _fails(shard.quotas.change({ONE: 5}, only_these=False, default=None))
        await _fails(shard.set_windows({ONE: 5}, only_these=False, default=None))
        engine.failing = False
        await shard.drop(ONE)
        await shard.quotas.change({TWO: 6}, only_these=False, default=None)
        await shard.set_windows({TWO: 6}, only_these=False, default=None)
        again = await _after_a_crash(engine)
        assert again.quotas.of(ONE) == 0
        assert again.windows.of(ONE) == 0

    _running(body)


def test_a_shorter_window_counts_when_it_is_durable() -> None:
    async def body(engine: FailingEngine, shard: Shard) -> None:
        async def told(seconds: int) -> None:
            await shard.set_windows({ONE: seconds}, only_these=False, default=None)

        await told(100)
        engine.failing = True
        await _fails(told(5))
        assert shard.windows.of(ONE) == 100 * SECOND
        await _fails(told(200))
        assert shard.windows.of(ONE) == 200 * SECOND
        await _fails(told(5))
        assert shard.windows.of(ONE) == 200 * SECOND
        engine.failing = False
        await told(5)
        assert shard.windows.of(ONE) == 5 * SECOND
        assert (await _after_a_crash(engine)).windows.of(ONE) == 5 * SECOND

    _running(body)


def test_a_shorter_default_counts_when_it_is_durable() -> None:
    async def body(engine: FailingEngine, shard: Shard) -> None:
        async def told(seconds: int | None, windows: Mapping[TenantId, int | None]) -> None:
            await shard.set_windows(windows, only_these=False, default=seconds)

        await told(100, {TWO: 7})
        engine.failing = True
        await _fails(told(50, {}))
        assert shard.windows.of(ONE) == 100 * SECOND
        assert shard.windows.of(TWO) == 7 * SECOND
        await _fails(told(40, {ONE: 20}))
        assert shard.windows.of(ONE) == 100 * SECOND
        engine.failing = False
        await told(40, {})
        assert [shard.windows.of(each) for each in (ONE, TWO)] == [20 * SECOND, 7 * SECOND]
        await told(None, {ONE: None})
        assert shard.windows.of(ONE) == 40 * SECOND
        assert (await _after_a_crash(engine)).windows.of(ONE) == 40 * SECOND

    _running(body)


def test_a_restored_tenants_beginning_is_not_overwritten() -> None:
    async def body(engine: FailingEngine, shard: Shard) -> None:
        engine.failing = True
        await _fails(shard.set_windows({ONE: 100}, only_these=False, default=None))
        engine.failing = False
        time = shard.clock.next()
        await engine.apply([shard.windows.begin(ONE, time)])
        await shard.set_windows({TWO: 5}, only_these=False, default=None)
        again = await _after_a_crash(engine)
        assert again.windows.floor(ONE, time + SECOND, 2**62) == time

    _running(body)
