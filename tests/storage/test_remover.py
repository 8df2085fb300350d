"""How many keys a removal takes at once."""

import asyncio
from collections.abc import Iterable

import pytest

from dormouse.base.clock import ManualClock
from dormouse.base.tasks import cancel, spawn
from storage.damage import Damaged
from storage.engines.interface import Write
from storage.engines.memory import MemoryEngine
from storage.remover import Remover, at_once
from storage.shard import Retention, Shard

TENANT = b"h" + bytes(8)
"""What the keys of its history begin with."""


class CountingEngine(MemoryEngine):
    """Remembers how many keys each batch removed."""

    def __init__(self) -> None:
        super().__init__()
        self.removed: list[int] = []

    async def apply(self, batch: Iterable[Write]) -> None:
        writes = list(batch)
        gone = sum(value is None for _, value in writes)
        if gone:
            self.removed.append(gone)
        await super().apply(writes)


@pytest.mark.parametrize(
    ("last", "others", "keys"),
    [(50, 0, 75), (490, 0, 500), (500, 0, 500), (500, 1, 50), (500, 60, 120), (50, 9999, 500)],
)
def test_twice_as_many_keys_as_others_write(last: int, others: int, keys: int) -> None:
    assert at_once(last, others) == keys


def test_it_makes_way_for_who_comes_and_takes_more_when_nobody_is_left() -> None:
    async def body() -> None:
        engine = CountingEngine()
        retention = Retention(collect_seconds=3600, measure_seconds=3600)
        shard = await Shard.open(engine, clock=ManualClock(), retention=retention)
        client: asyncio.Task[None] | None = None

        async def another() -> None:
            while True:
                await shard.committer.write([(TENANT + b"other", b"")])

        try:
            remover = Remover(engine, shard.committer, Damaged(shard.failures))
            keys = [TENANT + b"%05d" % number for number in range(10_000)]
            await remover.remove(keys[:300], "history")
            assert engine.removed == [50, 75, 100, 75]
            await remover.remove(keys, "history")
            assert engine.removed[-3] == 500
            assert sum(engine.removed) == 10_300
            engine.removed.clear()
            client = spawn(another(), name="another")
            await remover.remove(keys, "history")
            assert engine.removed[0] == 500
            assert min(engine.removed) < 500
            await cancel(client)
            await remover.remove(keys, "history")
            assert engine.removed[-2] == 500
        finally:
            if client is not None:
                await cancel(client)
            await shard.close()

    asyncio.run(body())
