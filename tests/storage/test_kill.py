"""kill -9 under load: what was acknowledged is there, nothing is half applied, Resolve is right."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import grpc.aio
import pytest
import uvloop

from dormouse.base.ids import TenantId
from storage.config import ObjectStorage
from tests.support.kv import KvClient, KvError, StorageForTest
from tests.support.storageprocess import Child, prepare
from tests.support.waiting import until

TENANT = TenantId(7)
POD = 77
ROUNDS = 4
WRITERS = 6
ACKNOWLEDGED = 150
NEIGHBOUR = TenantId(8)
LARGE = 60
"""Rows of each of its commits."""
JOINED = 20
_JOINED = "dormouse_storage_joined_total"
Load = tuple[dict[int, int], dict[int, int]]
"""The transactions sent (with the pair they write), and the commit times acknowledged."""


async def load(
    client: KvClient,
    writer: int,
    sent: dict[int, int],
    acked: dict[int, int],
    enough: asyncio.Event,
) -> None:
    """Commit pairs of rows, one staged and one not, until the stream breaks."""
    for number in range(1_000_000):
        txn = 1 + number * WRITERS + writer
        name, value = b"%d" % (txn % 50), b"%d" % txn
        sent[txn] = txn % 50
        if txn % 5 == 0:
            await client.stage(txn, {b"left" + name: value})
            acked[txn] = await client.commit(txn, {b"right" + name: value})
        else:
            pair: dict[bytes, bytes | None] = {b"left" + name: value, b"right" + name: value}
            acked[txn] = await client.commit(txn, pair)
        if len(acked) >= ACKNOWLEDGED:
            enough.set()


async def one_round(storage: StorageForTest, child: Child, pod: int) -> Load:
    sent: dict[int, int] = {}
    acked: dict[int, int] = {}
    enough = asyncio.Event()
    async with storage.session(TENANT, pod=pod) as client:
        writing = asyncio.gather(
            *[load(client, n, sent, acked, enough) for n in range(WRITERS)], return_exceptions=True
        )
        await enough.wait()
        await asyncio.to_thread(child.end, signal.SIGKILL)
        ends = await writing
    assert all(isinstance(end, ConnectionError) for end in ends), ends
    return sent, acked


async def verify(
    storage: StorageForTest, pod: int, sent: dict[int, int], acked: dict[int, int]
) -> None:
    async with storage.session(TENANT, pod=pod) as client:
        times: dict[int, int] = {}
        for txn in sent:
            times[txn] = await client.resolve(txn)
            if txn in acked:
                assert times[txn] == acked[txn]
            elif not times[txn]:
                with pytest.raises(KvError, match="TXN_ENDED"):
                    await client.commit(txn, {b"never": b""})
        left = dict(await client.scan(b"left", b"leftz"))
        right = dict(await client.scan(b"right", b"rightz"))
        assert {k.removeprefix(b"left"): v for k, v in left.items()} == {
            k.removeprefix(b"right"): v for k, v in right.items()
        }
        newest: dict[int, int] = {}
        for txn, time in sorted(times.items(), key=lambda pair: pair[1]):
            if time:
                newest[txn % 50] = txn
        assert {int(k.removeprefix(b"left")): int(v) for k, v in left.items()} == newest
        await client.put({**dict.fromkeys(left), **dict.fromkeys(right)})


async def round_beside_a_neighbour(
    storage: StorageForTest, child: Child, pod: int
) -> tuple[dict[int, int], dict[int, int], int]:
    """As `one_round`, until enough of it has joined large commits of another tenant; and the
    newest of these that was acknowledged."""
    sent: dict[int, int] = {}
    acked: dict[int, int] = {}
    newest = 0

    async def neighbour(client: KvClient) -> None:
        nonlocal newest
        for number in range(1, 1_000_000):
            await client.put({b"%02d" % row: b"%d" % number for row in range(LARGE)})
            newest = number

    async with storage.session(TENANT, pod=pod) as client, storage.session(NEIGHBOUR) as other:
        unlimited = asyncio.Event()
        writing = asyncio.gather(
            neighbour(other),
            *[load(client, n, sent, acked, unlimited) for n in range(WRITERS)],
            return_exceptions=True,
        )
        await until(lambda: len(acked) >= ACKNOWLEDGED and storage.metric(_JOINED) >= JOINED)
        await asyncio.to_thread(child.end, signal.SIGKILL)
        ends = await writing
    assert all(isinstance(end, ConnectionError) for end in ends), ends
    return sent, acked, newest


async def verify_neighbour(storage: StorageForTest, newest: int) -> None:
    """All rows are of one commit, the newest that was acknowledged or the one after it."""
    async with storage.session(NEIGHBOUR) as client:
        rows = await client.scan(b"0", b"z")
        assert len(rows) == LARGE
        [value] = {int(value) for _, value in rows}
        assert value in (newest, newest + 1)


@pytest.mark.parametrize("engine", ["sqlite", "slatedb"])
def test_kill_9_under_load(tmp_path: Path, engine: str) -> None:
    objects = ObjectStorage(url=f"file://{tmp_path}/objects")
    authority = prepare(tmp_path, engine=engine, objects=objects)
    child = Child(tmp_path)
    for number in range(ROUNDS):
        storage = child.storage(authority)
        seen = uvloop.run(one_round(storage, child, POD + number))
        child = Child(tmp_path)
        storage = child.storage(authority)
        uvloop.run(verify(storage, POD + number, *seen))
    code, errors = child.end(signal.SIGTERM)
    assert code == 0, errors
    assert '"level": "error"' not in errors, errors


def test_kill_9_while_commits_join_those_of_a_neighbour(tmp_path: Path) -> None:
    authority = prepare(tmp_path)
    child = Child(tmp_path)
    for number in range(ROUNDS):
        storage = child.storage(authority)
        *seen, newest = uvloop.run(round_beside_a_neighbour(storage, child, POD + number))
        child = Child(tmp_path)
        storage = child.storage(authority)
        uvloop.run(verify(storage, POD + number, *seen))
        uvloop.run(verify_neighbour(storage, newest))
    assert child.end(signal.SIGTERM)[0] == 0


def test_a_second_process_on_the_same_data_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path)
    child = Child(tmp_path)
    second = subprocess.run(
        [sys.executable, "-m", "storage", "--config", str(tmp_path / "storage.json")],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        timeout=30,
        check=False,
    )
    assert second.returncode != 0
    assert b"belongs to another running storage process" in second.stderr
    assert child.end(signal.SIGTERM)[0] == 0


def test_a_process_whose_data_was_taken_over_ends(tmp_path: Path) -> None:
    objects = ObjectStorage(url=f"file://{tmp_path}/objects")
    authority = prepare(tmp_path, engine="slatedb", objects=objects)
    first = Child(tmp_path)
    second = Child(tmp_path)

    async def write(child: Child, value: bytes) -> None:
        storage = child.storage(authority)
        async with storage.session(TENANT) as client:
            await client.put({b"a": value})

    # The first one may have ended already. If it has not, it does not answer.
    with pytest.raises((ConnectionError, KvError, grpc.aio.AioRpcError)):
        uvloop.run(write(first, b"old"))
    code, log = first.ended()
    assert code == 1
    assert "EngineLost" in log
    uvloop.run(write(second, b"new"))
    assert second.end(signal.SIGTERM)[0] == 0
