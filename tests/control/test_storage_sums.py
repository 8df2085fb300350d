"""The sums of what organisations' tenants store, against the levels they are made of."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from control.actor import DEFAULT_ORGANISATION, OrganisationId
from control.database import Database, open_database
from control.schema import STEPS
from control.services import Stores
from control.storage_sampling import StorageLevels, book_until
from dormouse.base.clock import ManualClock

_TENANTS = 4
_UNKNOWN = 1
"""Tenants that storage speaks of and the registry does not know."""

_SIZES = st.dictionaries(
    st.integers(1, _TENANTS + _UNKNOWN),
    st.sampled_from([0, 1, 1024, 1025, 5_000_000]),
    max_size=_TENANTS,
)
_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), _SIZES, st.integers(0, 90_000)),
        st.tuples(st.just("book"), st.integers(1, 2), st.integers(0, 90_000)),
    ),
    max_size=12,
)


async def _fill(database: Database, clock: ManualClock) -> None:
    stores = Stores.over(database, clock)
    other = await stores.organisations.add(name="other", time_zone="Asia/Tokyo")
    for number in range(_TENANTS):
        await stores.registry.add(
            name=f"t{number}",
            owner="o",
            database="d",
            scram_verifier="v",
            connections_max=9,
            organisation=other.id if number % 2 else DEFAULT_ORGANISATION,
        )


async def _check(database: Database, levels: StorageLevels) -> None:
    """What is read off the sums is what the levels come to, one by one."""
    by_level = await database.read(
        "SELECT coalesce(organisation_id, 0), booked, sum(bytes), sum((bytes + 1023) / 1024)"
        " FROM storage_levels LEFT JOIN tenants ON id = tenant_id WHERE bytes > 0 GROUP BY 1, 2"
    )
    sums = await database.read("SELECT organisation_id, booked, bytes, kib FROM storage_sums")
    assert sorted(sums) == sorted(by_level)
    for organisation in (1, 2):
        stored, _ = await levels.now(-organisation)
        assert stored == sum(row[2] for row in by_level if row[0] == organisation)
    everything, additions = await levels.now(0)
    assert everything == sum(row[2] for row in by_level)
    apart = [
        each
        for number in range(1, _TENANTS + _UNKNOWN + 1)
        for each in (await levels.now(number))[1]
    ]
    assert sum(each.used.storage_kib_seconds for each in additions) == sum(
        each.used.storage_kib_seconds for each in apart
    )


@settings(max_examples=40, deadline=None)
@given(_EVENTS)
def test_sums_are_those_of_the_levels(events: list[tuple[str, object, int]]) -> None:
    async def run(folder: Path) -> None:
        clock = ManualClock()
        async with open_database(folder / "registry.sqlite") as database:
            await _fill(database, clock)
            levels = StorageLevels(database, clock)
            for what, argument, seconds in events:
                clock.advance(seconds)
                if what == "take":
                    assert isinstance(argument, dict)
                    await levels.take(argument)
                else:
                    assert isinstance(argument, int)
                    async with database.transaction() as connection:
                        now = clock.wall_ns() // 1_000_000_000
                        await book_until(connection, OrganisationId(argument), now - 10)
                await _check(database, levels)
            await database.write("DELETE FROM storage_levels WHERE tenant_id = 1")
            await _check(database, levels)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


def test_a_registry_of_before_has_its_sums(tmp_path: Path) -> None:
    (step,) = [number for number, step in enumerate(STEPS) if "storage_sums" in "".join(step)]
    assert step == len(STEPS) - 3, "undoing it as below is for the last three steps alone"
    undo = (
        "DROP TABLE restores",
        "DROP TRIGGER storage_level_added",
        "DROP TRIGGER storage_level_changed",
        "DROP TRIGGER storage_level_gone",
        "DROP TABLE storage_sums",
        "DROP INDEX tenants_alive",
        "DROP INDEX tenants_of_organisation",
        "DROP INDEX tenants_restorable",
        "DROP INDEX tenants_with_quota",
        "ALTER TABLE tenants DROP COLUMN recovery_window_seconds",
        "DROP INDEX tenant_labels_by_name",
        f"PRAGMA user_version = {step}",
    )

    async def run() -> None:
        clock, file = ManualClock(), tmp_path / "registry.sqlite"
        async with open_database(file) as database:
            await _fill(database, clock)
            await StorageLevels(database, clock).take({1: 5000, 2: 1, 3: 0, 4: 70, 5: 9})
            for statement in undo:
                await database.write(statement)
        async with open_database(file) as database:
            await _check(database, StorageLevels(database, clock))

    asyncio.run(run())
