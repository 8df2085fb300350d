"""Checkpoints: after any command, the last one pushed is the session as it stands."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwire import frontend
from pgwire.frontend import Query, Sync
from pgwire.link import Checkpoint, Held, Link
from sqlnode.config import PodLimits
from tests.support.linked import Linked, error, kinds, pods_running, rows_of
from tests.support.pod import PodForTest

Step = Sequence[frontend.FrontendMessage]
NAMES = ("a", "b")


def with_pods(
    folder: Path, body: Callable[[PodForTest, PodForTest], Awaitable[None]], **options: Any
) -> None:
    async def run() -> None:
        async with pods_running(folder, 2, **options) as (here, there):
            await body(here, there)

    uvloop.run(run())


def prepare(name: str, text: str) -> Step:
    return (frontend.Parse(name, text, ()), Sync())


def test_a_checkpoint_comes_before_ready_and_only_where_something_changed(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        del there
        client = await Linked.open(here)

        async def order(*messages: frontend.FrontendMessage) -> str:
            client.send(*messages)
            seen = ""
            while not seen.endswith("Z"):
                found = await client.next()
                assert found is not None
                seen += found[0]
            return seen

        assert [type(frame) for frame in client.frames] == [Checkpoint]
        assert await order(Query("SELECT 1")) == "TDCZ"
        assert await order(Query("SET work_mem = '7MB'")) == "CMZ"
        assert await order(Query("SET work_mem = '7MB'")) == "CZ"
        assert await order(Query("SET application_name = 'x'")) == "CSMZ"
        assert await order(Query("BEGIN")) == "CZ"
        assert await order(Query("SET work_mem = '8MB'")) == "CZ"
        assert await order(Query("ROLLBACK")) == "CZ"
        assert await order(Query("BEGIN; SET work_mem = '8MB'; COMMIT")) == "CCCMZ"
        assert await order(*prepare("s", "SELECT 1")) == "1MZ"
        assert await order(*prepare("s", "SELECT 1")) == "EZ"
        assert await order(*prepare("", "SELECT 1")) == "1Z"
        assert await order(frontend.Close("S", "nobody"), Sync()) == "3Z"
        assert await order(frontend.Close("S", "s"), Sync()) == "3MZ"
        assert await order(Query("DECLARE c CURSOR WITH HOLD FOR SELECT 1")) == "CMZ"
        assert client.frames[-1:] == [Held("a cursor WITH HOLD is open")]
        assert await order(Query("SET work_mem = '9MB'")) == "CZ"
        assert await order(Query("CLOSE c")) == "CMZ"
        assert client.checkpoint is not None

    with_pods(tmp_path, body)


def test_a_checkpoint_is_made_anew_in_time(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        del there
        client = await Linked.open(here)
        first = client.checkpoint
        while client.checkpoint == first:
            await client.query("SELECT 1")
        assert len(client.frames) == 2

    with_pods(tmp_path, body, limits=PodLimits(park_seconds=0.1))


def test_after_the_death_of_a_pod_an_unnamed_statement_is_not_an_old_one(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        client.send(*prepare("", "SELECT 'first'"))
        await client.until()
        client.send(*prepare("named", "SELECT 'named'"))
        await client.until()
        client.send(*prepare("", "SELECT 'second'"))
        await client.until()
        resumed = await _resumed(client, there)
        resumed.send(frontend.Bind("", "", (), (), ()), Sync())
        assert error(await resumed.until()).sqlstate == "26000"
        resumed.send(frontend.Bind("", "named", (), (), ()), frontend.Execute("", 0), Sync())
        assert rows_of(await resumed.until()) == [("named",)]

    with_pods(tmp_path, body)


async def _resumed(client: Linked, pod: PodForTest) -> Linked:
    assert client.checkpoint is not None
    assert client.link is not None
    return await Linked.resume(pod, client.link, client.checkpoint)


# --- any commands ------------------------------------------------------------------------------

STEPS: tuple[Step, ...] = (
    *((Query(f"SET work_mem = '{size}MB'"),) for size in (1, 2)),
    (Query("RESET work_mem"),),
    (Query("RESET ALL"),),
    (Query("DISCARD ALL"),),
    (Query("SET LOCAL work_mem = '3MB'"),),
    (Query("SET my.own = 'x y'"),),
    (Query("SELECT set_config('my.own', 'z', false)"),),
    (Query("SELECT set_config('my.own', 'gone', true)"),),
    (Query("SET client_encoding = 'LATIN1'"),),
    (Query("SET NAMES 'UTF8'"),),
    (Query("SET datestyle = 'German'"),),
    (Query("SET TIME ZONE '-03:30'"),),
    (Query('SET search_path = public, "Own"'),),
    (Query("SET default_transaction_isolation = 'repeatable read'"),),
    (Query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),),
    (Query("SET nonsense = 1"),),
    (Query("SET work_mem = '1MB'; SELECT nonsense"),),
    (Query("BEGIN"),),
    (Query("SAVEPOINT p"),),
    (Query("ROLLBACK TO p"),),
    (Query("COMMIT"),),
    (Query("ROLLBACK"),),
    *(prepare(name, "SELECT $1::int + 1") for name in NAMES),
    *(prepare(name, "") for name in NAMES),
    *((frontend.Close("S", name), Sync()) for name in NAMES),
    *((Query(f"PREPARE {name} (text) AS SELECT upper($1)"),) for name in NAMES),
    *((Query(f"DEALLOCATE {name}"),) for name in NAMES),
    (Query("DEALLOCATE ALL"),),
    (Query("DECLARE c CURSOR WITH HOLD FOR SELECT 1"),),
    (Query("CLOSE ALL"),),
)


async def observed(client: Linked) -> list[Any]:
    """Whatever a client can see of its session between transactions."""
    seen: list[Any] = [await client.rows("SHOW ALL"), await client.query("SHOW my.own")]
    for name in NAMES:
        client.send(frontend.Describe("S", name), Sync())
        seen.append(await client.until())
        seen.append(await client.query(f"EXECUTE {name}('5')"))
        client.send(frontend.Bind("", name, (), (b"5",), ()), frontend.Execute("", 0), Sync())
        seen.append(await client.until())
    return seen


async def walk(here: PodForTest, there: PodForTest, steps: Sequence[Step]) -> None:
    client = await Linked.open(here, Link.new(55), options="-c work_mem=6MB")
    for step in steps:
        client.send(*step)
        status = (await client.until())[-1][1]
        session = here.tenant.sessions[client.pid]
        if status != b"I":
            continue
        assert (client.checkpoint is None) == bool(session.portals)
        if client.checkpoint is not None:
            resumed = await _resumed(client, there)
            assert resumed.checkpoint is not None
            assert await observed(resumed) == await observed(client)
            again = await _resumed(resumed, there)
            await again.query("RESET ALL")
            assert await again.rows("SHOW work_mem") == [("6MB",)]
            await again.close()
            await resumed.close()
    await client.close()


def test_the_last_checkpoint_is_the_session(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()
        here, there = runner.run(stack.enter_async_context(pods_running(tmp_path, 2)))

        @settings(max_examples=50, deadline=None)
        @given(st.lists(st.sampled_from(STEPS), max_size=8))
        def check(steps: Sequence[Step]) -> None:
            runner.run(walk(here, there, steps))

        try:
            check()
        finally:
            runner.run(stack.aclose())


@pytest.mark.parametrize("count", [0, 1, 30])
def test_every_statement_of_a_checkpoint_can_be_described(tmp_path: Path, count: int) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        for number in range(count):
            client.send(*prepare(f"s{number}", f"SELECT {number} AS n{number}, $1::date"))
            await client.until()
        resumed = await _resumed(client, there)
        for number in range(count):
            for each in (client, resumed):
                each.send(frontend.Describe("S", f"s{number}"), Sync())
            mine, theirs = await client.until(), await resumed.until()
            assert kinds(mine) == "tTZ"
            assert mine == theirs

    with_pods(tmp_path, body)
