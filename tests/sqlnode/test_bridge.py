"""Waiting from inside plain functions: results, errors, cancelling, and who else may run."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from dormouse.base.tasks import spawn
from sqlnode.bridge import Bridged, bridged, wait
from sqlnode.errors import SqlError

WHO = ContextVar("WHO", default="nobody")


async def answer(value: Any, seconds: float = 0.0) -> Any:
    await asyncio.sleep(seconds)
    if isinstance(value, Exception):
        raise value
    return value


async def sums(rows: list[Any], function: Callable[[Any], Any]) -> AsyncIterator[int]:
    for row in rows:
        await asyncio.sleep(0)
        yield sum(function(each) for each in (row, row))


def test_a_plain_function_gets_what_it_waits_for() -> None:
    async def run() -> list[int]:
        return [each async for each in bridged(sums([1, 2, 3], lambda n: wait(answer(n))))]

    assert asyncio.run(run()) == [2, 4, 6]


def test_errors_pass_on_both_sides() -> None:
    caught: list[Exception] = []

    def careful(value: Any) -> int:
        try:
            return int(wait(answer(value)))
        except ValueError as error:
            caught.append(error)
            return 10

    async def run() -> list[int]:
        return [each async for each in bridged(sums([ValueError(), 1, KeyError("k")], careful))]

    with pytest.raises(KeyError, match="k"):
        asyncio.run(run())
    assert len(caught) == 2


def test_cancelling_reaches_who_waits_and_nothing_is_left() -> None:
    seen: list[str] = []

    def waits(_: Any) -> int:
        try:
            wait(answer(1, 60))
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return 0

    async def consume() -> None:
        async for _ in bridged(sums([1], waits)):
            pass

    async def run() -> None:
        task = spawn(consume(), name="waits inside")
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert seen == ["cancelled"]


def test_others_run_meanwhile_and_each_keeps_its_context() -> None:
    async def one(name: str) -> list[str]:
        WHO.set(name)
        return [await Bridged(told()) for _ in range(5)]

    async def told() -> str:
        return str(wait(answer(WHO.get(), 0.001))) + WHO.get()

    async def run() -> list[list[str]]:
        return await asyncio.gather(*[one(name) for name in "abc"])

    assert asyncio.run(run()) == [[name * 2] * 5 for name in "abc"]


def test_an_iterator_left_early_is_closed() -> None:
    closed: list[str] = []

    async def rows() -> AsyncIterator[int]:
        try:
            while True:
                yield int(wait(answer(1)))
        finally:
            await asyncio.sleep(0)
            closed.append("closed")

    async def run() -> None:
        items = bridged(rows())
        assert await anext(items) == 1
        await items.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())
    assert closed == ["closed"]


def test_elsewhere_nothing_waits() -> None:
    with pytest.raises(SqlError) as error:
        wait(answer(1))
    assert error.value.sqlstate == "0A000"
