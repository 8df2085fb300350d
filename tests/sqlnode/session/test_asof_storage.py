"""Reading the past after storage is killed, on object storage, and in a tenant that is restored."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import uvloop

from dormouse.base.ids import TenantId
from storage.config import ObjectStorage
from tests.storage.test_transfer import administering, begin, exported, finish, send
from tests.support.kv import StorageForTest, storage_running
from tests.support.pod import pod_on
from tests.support.storageprocess import Child, prepare
from tests.support.tenant import TENANT

_RESTORED = TenantId(TENANT + 1)


@asynccontextmanager
async def _client(storage: StorageForTest, tenant: TenantId = TENANT) -> AsyncIterator[Any]:
    """A client of a pod of its own."""
    async with pod_on(storage, tenant_id=tenant) as pod:
        client = await asyncpg.connect(pod.dsn, ssl=False, statement_cache_size=0)
        try:
            yield client
        finally:
            await client.close()


async def _write(client: Any) -> str:
    """A table that is changed, and dropped after the time that is answered."""
    await client.execute("CREATE TABLE a (id int PRIMARY KEY, n int)")
    await client.execute("INSERT INTO a SELECT g, g FROM generate_series(1, 50) g")
    await client.execute("UPDATE a SET n = -n WHERE id > 40")
    await client.execute("DELETE FROM a WHERE id <= 10")
    await asyncio.sleep(0.002)
    time = str(await client.fetchval("SELECT clock_timestamp()::text"))
    await asyncio.sleep(0.002)
    await client.execute("UPDATE a SET n = 0")
    await client.execute("DROP TABLE a")
    return time


async def _check(client: Any, time: str) -> None:
    await client.execute(f"SET dormouse.as_of = '{time}'")
    rows = [tuple(row) for row in await client.fetch("SELECT * FROM a ORDER BY id")]
    assert rows == [(n, n if n <= 40 else -n) for n in range(11, 51)]
    await client.execute("RESET dormouse.as_of")
    with pytest.raises(asyncpg.UndefinedTableError):
        await client.fetch("SELECT * FROM a")


def test_the_past_survives_a_kill_and_is_the_same_for_every_pod(tmp_path: Path) -> None:
    authority = prepare(tmp_path, collect_seconds=0.02)

    async def write(storage: StorageForTest) -> str:
        async with _client(storage) as one, _client(storage) as other:
            time = await _write(one)
            await _check(other, time)
            return time

    async def read(storage: StorageForTest, time: str) -> None:
        async with _client(storage) as client:
            await _check(client, time)

    child = Child(tmp_path)
    try:
        time = uvloop.run(write(child.storage(authority)))
        child.end(signal.SIGKILL)
        child = Child(tmp_path)
        uvloop.run(read(child.storage(authority), time))
    finally:
        child.end(signal.SIGKILL)


def test_the_past_is_there_on_object_storage_too() -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            objects = ObjectStorage(url=Path(folder, "objects").as_uri())
            more: dict[str, Any] = {
                "engine": "slatedb",
                "objects": objects,
                "collect_seconds": 0.02,
            }
            async with storage_running(Path(folder), **more) as storage, _client(storage) as client:
                time = await _write(client)
                await _check(client, time)
            async with storage_running(Path(folder), **more) as storage, _client(storage) as client:
                await _check(client, time)

    uvloop.run(whole())


def test_a_restored_tenant_has_no_past_before_its_restore() -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory") as storage,
                administering(storage) as admin,
            ):
                async with _client(storage) as client:
                    time = await _write(client)
                    await client.execute("CREATE TABLE b (n int)")
                    await client.execute("INSERT INTO b VALUES (1)")
                pages, _ = await exported(admin, TENANT)
                await begin(admin, _RESTORED)
                for page in pages:
                    await send(admin, _RESTORED, page)
                await finish(admin, _RESTORED, pages)
                async with _client(storage, _RESTORED) as client:
                    await _refused(client, time)
                    await client.execute("SET dormouse.as_of = '-0 s'")
                    assert await client.fetchval("SELECT n FROM b") == 1

    uvloop.run(whole())


async def _refused(client: Any, time: str) -> None:
    await client.execute(f"SET dormouse.as_of = '{time}'")
    with pytest.raises(asyncpg.PostgresError, match="older than the history") as refused:
        await client.fetch("SELECT * FROM a")
    assert refused.value.sqlstate == "72000"
    oldest = str(refused.value.detail).removeprefix("The oldest time that can be read is ")
    assert datetime.fromisoformat(oldest.removesuffix(".")) > datetime.fromisoformat(time)
