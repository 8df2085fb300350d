"""What becomes of a session's advisory locks when it, its client or its stream to storage ends."""

from pathlib import Path

import uvloop

from pgwire.frontend import Query
from pgwire.notices import parse
from tests.support.linked import Linked, pods_running, rows_of

_TRY = "SELECT pg_try_advisory_lock(1)"


def test_they_are_free_when_the_client_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        async with pods_running(tmp_path, 2) as (here, there):
            holder, other = await Linked.open(here), await Linked.open(there)
            await holder.query("SELECT pg_advisory_lock(1)")
            assert rows_of(await other.query(_TRY)) == [("f",)]
            await holder.close()
            assert rows_of(await other.query("SELECT pg_advisory_lock(1) IS NULL")) == [("f",)]
            assert not here.tenant.kv.holders

    uvloop.run(run())


def test_a_session_that_has_lost_them_is_ended(tmp_path: Path) -> None:
    async def run() -> None:
        async with pods_running(tmp_path, 1) as (pod,):
            holder, other = await Linked.open(pod), await Linked.open(pod)
            await holder.query("SELECT pg_advisory_lock(1)")
            await other.query("SELECT pg_advisory_xact_lock(2)")
            for each in list(pod.tenant.kv.holders):
                each.stream_broke()
            error = parse((await holder.until("E"))[-1][1])
            assert (error.severity, error.sqlstate) == ("FATAL", "57P01")
            assert await holder.next() is None
            assert rows_of(await other.query("SELECT pg_advisory_lock(1) IS NULL")) == [("f",)]

    uvloop.run(run())


def test_waiting_for_one_ends_with_the_session_and_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with pods_running(tmp_path, 2) as (here, there):
            holder, gone, other = [await Linked.open(pod) for pod in (here, there, there)]
            await holder.query("SELECT pg_advisory_lock(1)")
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            gone.send(Query("SELECT pg_advisory_lock(1)"))
            while rows_of(await other.query(waiting)) != [("1",)]:
                pass
            await gone.close()
            while rows_of(await other.query(waiting)) != [("0",)]:
                pass
            await holder.query("SELECT pg_advisory_unlock(1)")
            assert rows_of(await other.query(_TRY)) == [("t",)]

    uvloop.run(run())
