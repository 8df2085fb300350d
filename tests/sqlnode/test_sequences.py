"""What sequences cost in round trips to storage."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import uvloop

from tests.support.bornpod import Pod, pod_beside, pod_born
from tests.support.counting import Counter, counting
from tests.support.linked import Linked
from tests.support.tenant import TENANT


@asynccontextmanager
async def counted(folder: Path) -> AsyncIterator[tuple[Linked, Counter]]:
    """A session whose round trips are counted, beside a table with a serial column."""
    async with (
        pod_born(folder / "first") as first,
        pod_beside(first.storage, folder / "second") as second,
        counting(first.storage, TENANT) as counter,
    ):
        await first.stamp(sessions_max=10)
        client = await Linked.open(first)
        await client.query("CREATE TABLE t (id serial PRIMARY KEY, v int)")
        await client.close()
        watched: Pod = replace(second, storage=replace(second.storage, address=counter.address))
        await watched.stamp(sessions_max=10)
        yield await Linked.open(watched), counter


def run(body: Callable[[Linked, Counter], Awaitable[None]]) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with counted(Path(folder)) as (client, counter):
                await body(client, counter)

    uvloop.run(main())


def test_a_row_with_a_serial_column_costs_one_round_trip_more() -> None:
    async def body(client: Linked, counter: Counter) -> None:
        await client.query("INSERT INTO t (v) VALUES (1)")
        for _ in range(3):
            counter.round_trips.clear()
            await client.query("INSERT INTO t (v) VALUES (1)")
            assert counter.round_trips == [["sequence"], ["lock"], ["commit"]]
        counter.round_trips.clear()
        await client.query("INSERT INTO t (v) VALUES (1), (2), (3)")
        assert counter.round_trips == [["sequence"], ["lock"], ["commit"]]
        assert await client.rows("SELECT max(id), count(*) FROM t") == [("7", "7")]

    run(body)


def test_many_rows_ask_once_per_batch() -> None:
    async def body(client: Linked, counter: Counter) -> None:
        counter.round_trips.clear()
        await client.query("INSERT INTO t (v) SELECT n FROM generate_series(1, 10000) n")
        asked = [each for trip in counter.round_trips for each in trip if each == "sequence"]
        assert len(asked) <= 10
        counter.round_trips.clear()
        await client.query("SELECT count(nextval('t_id_seq')) FROM generate_series(1, 1000)")
        assert len(counter.round_trips) <= 11
        found = await client.rows("SELECT min(id), max(id), count(*) FROM t")
        assert found == [("1", "10000", "10000")]
        assert await client.rows("SELECT nextval('t_id_seq')") == [("11001",)]

    run(body)


def test_cache_keeps_numbers_from_statement_to_statement() -> None:
    async def body(client: Linked, counter: Counter) -> None:
        await client.query("ALTER SEQUENCE t_id_seq CACHE 10")
        counter.round_trips.clear()
        for number in range(1, 11):
            assert await client.rows("SELECT nextval('t_id_seq')") == [(str(number),)]
        assert counter.round_trips == [["sequence"]]

    run(body)
