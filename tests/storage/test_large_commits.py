"""Large commits of a real process that dies, or whose disk is full, in the middle of one."""

import asyncio
import errno
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from proto import kv_pb2 as kv
from tests.support.kv import KvClient, KvError
from tests.support.storagerig import POD, SHOP, Rig
from tests.support.waiting import until

Writes = dict[bytes, bytes | None]
PIECES: list[Writes] = [{b"k%02d" % n: b"%d" % n * (1 << 19)} for n in range(10, 20)]
LOADED = {key: value for piece in PIECES for key, value in piece.items()}


@asynccontextmanager
async def in_the_middle(rig: Rig) -> AsyncIterator[tuple[KvClient, "asyncio.Future[Any]"]]:
    """A large commit that is durable and half of it in its place, and its answer."""
    async with rig.child.storage(rig.authority).session(SHOP, pod=POD) as client:
        await client.put({b"k10": b"old", b"k19": b"old"})
        for piece in PIECES:
            await client.stage(1, piece)
        rig.disk.slow("sync", 50)
        answer = client.send(txn=1, commit=kv.Commit(writes=client.writes({b"rest": b""})))
        left = "dormouse_storage_roll_forward_bytes"
        await until(lambda: 0 < rig.metric(left) < 9 << 19)
        yield client, answer


def test_a_process_that_dies_in_the_middle_of_a_large_commit(rig: Rig) -> None:
    async def killed() -> None:
        async with in_the_middle(rig) as (client, answer):
            assert await client.get(b"k10", b"k19") == [b"old", b"old"]
            await asyncio.to_thread(rig.child.end, signal.SIGKILL)
            with pytest.raises(ConnectionError):
                await answer
        rig.disk.heals()

    async def look(client: KvClient) -> None:
        assert dict(await client.scan(b"k", b"l")) == LOADED
        time = await client.resolve(1)
        assert time
        assert await client.put({b"k10": b"later"}) > time

    uvloop.run(killed())
    rig.start()
    rig.run(look)
    assert rig.metric("dormouse_storage_roll_forwards") == 0
    log = rig.end()
    assert "a commit of before the start is put in its place" in log
    with sqlite3.connect(rig.file) as file:
        assert not file.execute("SELECT 1 FROM kv WHERE k >= 's' AND k < 'v'").fetchall()
    file.close()


def test_a_disk_that_is_full_in_the_middle_of_a_large_commit(rig: Rig) -> None:
    async def body() -> None:
        async with in_the_middle(rig) as (client, answer):
            rig.disk.fails("write", errno.ENOSPC, suffix="-wal")
            await until(lambda: rig.metric("dormouse_storage_roll_forwards_stuck") == 1)
            with pytest.raises(KvError, match="DISK_FULL"):
                await client.commit(2, {b"other": b"x"})
            assert await client.get(b"k10", b"k15", b"k19") == [b"old", None, b"old"]
            assert not answer.done()
            rig.disk.heals()
            assert (await answer).commit_time
            assert dict(await client.scan(b"k", b"l")) == LOADED
            await client.commit(2, {b"other": b"x"})

    uvloop.run(body())
    log = rig.end()
    assert log.count("a commit is durable and cannot be put in its place yet") == 1
