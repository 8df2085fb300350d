import asyncio
import gc
import logging

import pytest

from dormouse.base import tasks


def test_a_task_without_a_reference_lives_on() -> None:
    async def body() -> bool:
        done = asyncio.Event()

        async def work() -> None:
            await asyncio.sleep(0)
            done.set()

        tasks.spawn(work(), name="work")
        gc.collect()
        await done.wait()
        return done.is_set()

    assert asyncio.run(body())


def test_a_death_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async def work() -> None:
            raise ValueError("lost")

        await asyncio.wait([tasks.spawn(work(), name="worker")])
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        asyncio.run(body())
    assert [record.getMessage() for record in caplog.records] == ["task worker died"]


def test_cancel_waits_for_the_end() -> None:
    async def body() -> bool:
        ended = False

        async def work() -> None:
            nonlocal ended
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                ended = True

        task = tasks.spawn(work(), name="work")
        await asyncio.sleep(0)
        await tasks.cancel(task, None)
        return ended

    assert asyncio.run(body())
