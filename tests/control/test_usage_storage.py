"""Storage over time against a model: levels that change, restarts, an absent storage."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from control import rollups
from control.database import Database, open_database
from control.metrics import STORED_BYTES
from control.periods import Span, start_of
from control.services import Stores
from control.storage_sampling import PAGE, StorageLevels, kib, sample
from dormouse.base.clock import ManualClock

_SAMPLES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 1024, 1025, 5000, 10**9]),
        st.integers(1, 200_000),
        st.booleans(),
    ),
    max_size=25,
)


async def _booked(database: Database, levels: StorageLevels, tenant: int, span: Span) -> int:
    sums = await rollups.read(database, span, 0, 2**40, tenant_id=tenant)
    _, waiting = await levels.now(tenant)
    return sum(used.storage_kib_seconds for used in sums.values()) + sum(
        each.used.storage_kib_seconds for each in waiting
    )


@settings(max_examples=50, deadline=None)
@given(_SAMPLES)
def test_a_level_counts_for_exactly_as_long_as_it_stands(
    samples: list[tuple[int, int, bool]],
) -> None:
    async def body(file: Path) -> None:
        clock, truth, everyone = ManualClock(), 0, 0
        for size, seconds, is_heard in samples:
            # Control is restarted between any two samples.
            async with open_database(file) as database:
                levels = StorageLevels(database, clock)
                if is_heard:
                    await levels.take({7: size, 8: 2 * size})
                [*known] = await database.read("SELECT bytes FROM storage_levels ORDER BY 1")
                clock.advance(seconds)
                # Unheard: the level that is known stands.
                at7, at8 = [row[0] for row in known] or (0, 0)
                truth += kib(at7) * seconds
                everyone += (kib(at7) + kib(at8)) * seconds
                for span in (Span.DAY, Span.MONTH):
                    assert await _booked(database, levels, 7, span) == truth
                    assert await _booked(database, levels, 0, span) == everyone
                assert not await rollups.read(database, Span.HOUR, 0, 2**40)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(body(Path(folder) / "r.sqlite"))


def test_days_get_their_own_seconds(tmp_path: Path) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            clock = ManualClock()
            levels = StorageLevels(database, clock)
            start = clock.wall_ns() // 10**9
            clock.advance(start_of(Span.DAY, start) + 86_400 - start - 100)
            await levels.take({7: 1024})
            clock.advance(150)
            await levels.take({7: 0})
            days = await rollups.read(database, Span.DAY, 0, 2**40, tenant_id=7)
            assert [used.storage_kib_seconds for used in days.values()] == [100, 50]

    asyncio.run(body())


class _Source:
    def __init__(self, sizes: dict[int, int]) -> None:
        self.all = sizes
        self.calls = 0

    async def sizes(self, *, after: int, limit: int) -> dict[int, int]:
        self.calls += 1
        return {n: self.all[n] for n in sorted(self.all) if n > after and n <= after + limit}


def test_all_pages_are_asked_for(tmp_path: Path) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            levels = StorageLevels(database, ManualClock())
            source = _Source(dict.fromkeys(range(1, PAGE + 3), 10))
            await sample(levels, source)
            assert source.calls == 2
            assert (await levels.now(0))[0] == 10 * (PAGE + 2)
            assert STORED_BYTES._value.get() == 10 * (PAGE + 2)

    asyncio.run(body())


def test_the_level_of_a_tenant_ends_with_its_data(tmp_path: Path) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            clock = ManualClock()
            levels, registry = StorageLevels(database, clock), Stores.over(database, clock).registry
            added = await registry.add(
                name="a", owner="o", database="a", scram_verifier="v", connections_max=1
            )
            tenant = added.id
            await levels.take({tenant: 5000})
            await registry.mark_deleted(tenant)
            await sample(levels, _Source({}))
            assert (await levels.now(tenant))[0] == 5000
            await registry.mark_purged(tenant)
            await sample(levels, _Source({}))
            assert (await levels.now(tenant))[0] == 0
            assert await levels.end_purged() == 0

    asyncio.run(body())


def test_a_clock_that_is_put_back_books_no_second_twice(tmp_path: Path) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            clock = ManualClock()
            levels = StorageLevels(database, clock)
            for seconds, size in ((0, 1024), (100, 2048), (-50, 1024), (100, 0)):
                clock.advance(seconds)
                await levels.take({7: size})
            assert await _booked(database, levels, 7, Span.DAY) == 100 + 50

    asyncio.run(body())
