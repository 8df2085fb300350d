"""Advisory locks and taking row locks back, over real streams."""

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dormouse.base.ids import TenantId
from proto import kv_pb2 as kv
from storage import advisory
from storage.config import Limits
from tests.support.kv import KvClient, KvError, StorageForTest, storage_running

TENANT = TenantId(7)
KEY, OTHER = b"\1".ljust(17, b"\0"), b"\2".ljust(17, b"\0")


def running(body: Callable[[StorageForTest, KvClient], Awaitable[None]], **settings: Any) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory", **settings) as storage,
                storage.session(TENANT) as client,
            ):
                await body(storage, client)

    uvloop.run(whole())


async def take(
    client: KvClient, session: int, key: bytes = KEY, mode: int = kv.UPDATE, **more: Any
) -> str:
    wanted = kv.Advisory(key=key, mode=kv.LockMode.ValueType(mode), **more)
    try:
        await client.send(session=session, advisory=wanted)
    except KvError as error:
        return error.name
    return "got"


def test_they_die_with_the_stream_and_with_the_session() -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as gone:
            assert await take(gone, 1) == "got"
            assert await take(client, 1, wait=kv.NOWAIT) == "LOCK_NOT_AVAILABLE"
            assert await take(client, 1, timeout_ms=10) == "LOCK_TIMEOUT"
        assert await take(client, 1) == "got"
        assert await take(client, 2, wait=kv.NOWAIT) == "LOCK_NOT_AVAILABLE"
        waiting = client.send(session=2, advisory=kv.Advisory(key=KEY, mode=kv.SHARE))
        await client.send(session=1, unlock=kv.Unlock(session_ends=True))
        await waiting
        kept = kv.Kept(key=KEY)
        await client.send(session=2, unlock=kv.Unlock(kept=[kept]))
        async with storage.session(TenantId(8)) as stranger:
            assert await take(stranger, 1) == "got"
            assert await take(client, 3, wait=kv.NOWAIT) == "got"

    running(body)


def test_a_circle_of_rows_and_advisory_locks_is_found() -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as other:
            row = kv.Lock(keys=client.keys([b"row"]), mode=kv.UPDATE)
            assert await take(client, 1) == "got"
            await other.send(txn=5, session=1, lock=row)
            waits = client.send(txn=5, session=1, lock=row)
            assert await take(other, 1, OTHER) == "got"
            wanted = kv.Advisory(key=KEY, mode=kv.SHARE)
            with pytest.raises(KvError, match="DEADLOCK"):
                await other.send(txn=5, session=1, advisory=wanted)
            listed = (await other.send(locks=kv.ListLocks())).locks
            shown = {(each.key[-3:], each.advisory, each.granted) for each in listed}
            assert shown == {
                (KEY[-3:], True, True),
                (OTHER[-3:], True, True),
                (b"row", False, True),
                (b"row", False, False),
            }
            await other.end(5)
            await waits

    running(body)


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisory, "LISTED_MAX", 2)

    async def body(_storage: StorageForTest, client: KvClient) -> None:
        assert await take(client, 0) == "BAD_REQUEST"
        assert await take(client, 1, b"short") == "BAD_REQUEST"
        assert await take(client, 1, mode=kv.KEY_SHARE) == "BAD_REQUEST"
        keys = [bytes([n]).ljust(17, b"\0") for n in range(4)]
        found = [await take(client, 1, key) for key in keys]
        assert found == ["got", "got", "got", "TOO_LARGE"]
        reply = await client.send(locks=kv.ListLocks())
        assert (len(reply.locks), reply.more) == (2, True)
        free = b"\7".ljust(17, b"\0")
        assert [await take(client, n, free, kv.SHARE) for n in (2, 3)] == ["got", "BUSY"]

    running(body, limits=Limits(txn_locks_max=3, txns_max=2))


def test_undo_takes_back_what_was_locked_behind_a_savepoint() -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as other:

            async def lock(keys: list[bytes], savepoint: int, mode: int = kv.UPDATE) -> None:
                wanted = kv.Lock(
                    keys=client.keys(keys),
                    mode=kv.LockMode.ValueType(mode),
                    savepoint=savepoint,
                )
                await client.send(txn=1, lock=wanted)

            async def taken() -> bytes:
                txn = other.txn()
                reply = await other.lock(txn, [b"a", b"b", b"c"], wait=kv.SKIP_LOCKED)
                await other.end(txn)
                return bytes(reply.locked)

            async def undo(savepoint: int) -> None:
                await client.send(txn=1, undo=kv.Undo(savepoint=savepoint))

            await lock([b"a"], 0)
            await lock([b"a", b"b"], 1)
            await lock([b"c"], 2)
            assert await taken() == b"\0\0\0"
            await undo(2)
            assert await taken() == b"\0\0\1"
            await undo(1)
            assert await taken() == b"\0\1\1"
            await lock([b"c"], 3)
            await client.stage(1, {b"c": b"staged"})
            await undo(3)
            assert await taken() == b"\0\1\0"
            await client.end(1)
            await undo(1)
            assert await taken() == b"\1\1\1"

    running(body)
