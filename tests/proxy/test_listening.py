"""Sessions that listen or hold advisory locks, through the proxy: they are told, stay, and may go
once nothing keeps them."""

import asyncio
from pathlib import Path

import psycopg

from proto.autoscaler_pb2 import MOVE
from tests.proxy.doubles import Setup
from tests.proxy.test_realpods import RealPod, connected, has, one_row, run, told
from tests.support.waiting import GUARD_SECONDS


def test_they_stay_and_hear_until_nothing_keeps_them(tmp_path: Path) -> None:
    async def body(setup: Setup, one: RealPod, two: RealPod) -> None:
        async with connected(setup) as ear, connected(setup) as holder, connected(setup) as free:
            heard: list[psycopg.Notify] = []
            ear.add_notify_handler(heard.append)
            await ear.execute("listen news")
            await holder.execute("select pg_advisory_lock(1)")
            one.wish = MOVE
            await told(setup, one, two)
            await has(two, 1)
            assert await one_row(free, "select pg_try_advisory_lock(1)") == (False,)
            await free.execute("notify news, 'from the other pod'")
            await _next(ear, heard)
            [note] = heard
            assert (note.payload, note.pid) == ("from the other pod", free.info.backend_pid)
            assert (await one.sessions(), await two.sessions()) == (2, 1)
            await ear.execute("unlisten news")
            await holder.execute("select pg_advisory_unlock(1)")
            await has(two, 3)
            assert await one_row(free, "select pg_try_advisory_lock(1)") == (True,)

    run(tmp_path, body)


async def _next(
    connection: "psycopg.AsyncConnection[tuple[object, ...]]", heard: list[psycopg.Notify]
) -> None:
    """Wait for a notification while the client is idle: it asks for nothing."""
    async with asyncio.timeout(GUARD_SECONDS):
        while not heard:
            await asyncio.sleep(0.01)
            connection.pgconn.consume_input()
            while (found := connection.pgconn.notifies()) is not None:
                note = found.relname.decode(), found.extra.decode(), found.be_pid
                heard.append(psycopg.Notify(*note))
