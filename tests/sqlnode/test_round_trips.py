"""How often a woken pod asks storage before its first row: the design's ceiling is three."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from pgwire import frontend
from pgwire.link import GivenAway, Link, Purpose
from tests.support.bornpod import Pod, pod_beside, pod_born
from tests.support.counting import Counter, counting
from tests.support.linked import Linked, rows_of
from tests.support.tenant import TENANT

ROUND_TRIPS_MAX = 3
SELECT = "SELECT b FROM t WHERE a = 1"
EXECUTE: list[frontend.FrontendMessage] = [
    frontend.Bind("", "by_parse", (), (b"1",), ()),
    frontend.Execute("", 0),
    frontend.Sync(),
]
FIRST: dict[str, list[frontend.FrontendMessage]] = {
    "point": [frontend.Query(SELECT)],
    "range": [frontend.Query("SELECT b FROM t WHERE a BETWEEN 0 AND 5 ORDER BY a")],
    "aggregate": [frontend.Query("SELECT max(b) FROM t")],
    "by index": [frontend.Query("SELECT b FROM t WHERE b = 'one'")],
}


@asynccontextmanager
async def two_pods(folder: Path) -> AsyncIterator[tuple[Pod, Pod, Counter]]:
    """A stamped pod with a table, and one that will be stamped with a counter before storage."""
    async with (
        pod_born(folder / "first") as first,
        pod_beside(first.storage, folder / "second") as second,
        counting(first.storage, TENANT) as counter,
    ):
        await first.stamp(sessions_max=10)
        client = await Linked.open(first)
        await client.query("CREATE TABLE t (a int PRIMARY KEY, b text UNIQUE)")
        await client.query("INSERT INTO t VALUES (1, 'one')")
        await client.close()
        watched = replace(second.storage, address=counter.address)
        yield first, replace(second, storage=watched), counter


def run(body: Callable[[Pod, Pod, Counter], Awaitable[None]]) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with two_pods(Path(folder)) as (first, second, counter):
                await body(first, second, counter)

    uvloop.run(main())


@pytest.mark.parametrize("messages", FIRST.values(), ids=FIRST)
def test_stamp_login_and_first_row(messages: list[frontend.FrontendMessage]) -> None:
    async def body(_first: Pod, second: Pod, counter: Counter) -> None:
        await second.stamp()
        assert len(counter.round_trips) == 1
        client = await Linked.open(second)
        client.send(*messages)
        assert rows_of(await client.until()) == [("one",)]
        assert len(counter.round_trips) <= ROUND_TRIPS_MAX, counter.round_trips

    run(body)


@pytest.mark.parametrize("messages", [FIRST["point"], EXECUTE], ids=["simple", "prepared"])
def test_stamp_resumption_and_first_row(messages: list[frontend.FrontendMessage]) -> None:
    async def body(first: Pod, second: Pod, counter: Counter) -> None:
        client = await Linked.open(first, Link.new(5))
        client.send(frontend.Parse("by_parse", "SELECT b FROM t WHERE a = $1", ()), frontend.Sync())
        await client.until()
        parked = await client.give_away(Purpose.PARK)
        assert isinstance(parked, GivenAway)
        assert client.link is not None
        await second.stamp()
        stamped = len(counter.round_trips)
        resumed = await Linked.resume(second, client.link, parked.sealed)
        assert len(counter.round_trips) == stamped  # taking up a session asks storage nothing
        resumed.send(*messages)
        assert rows_of(await resumed.until()) == [("one",)]
        assert len(counter.round_trips) <= ROUND_TRIPS_MAX, counter.round_trips

    run(body)
