"""A tenant that stores as much as it may, as its clients see it."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import uvloop

from dormouse.base.rpc import make_channel
from dormouse.base.tls import Identity, Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from tests.support.kv import STORAGE, storage_running
from tests.support.pod import pod_on
from tests.support.tenant import TENANT

MIB = 1 << 20
SetQuota = Callable[[int], Awaitable[None]]


def _with_client(body: Callable[[Any, SetQuota], Awaitable[None]]) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with storage_running(Path(folder), engine="memory", history_seconds=3600.0) as up:
                credentials = up.authority.credentials(Identity(role=Role.CONTROL))
                async with make_channel(up.address, credentials, STORAGE) as channel:
                    stub: Any = kv_pb2_grpc.StorageAdminStub(channel)

                    async def quota(size: int) -> None:
                        each = kv.TenantQuota(tenant_id=TENANT, bytes_max=size)
                        await stub.SetQuotas(kv.SetQuotasRequest(quotas=[each]))

                    await quota(MIB)
                    async with pod_on(up) as pod:
                        client = await asyncpg.connect(pod.dsn, ssl=False)
                        try:
                            await body(client, quota)
                        finally:
                            await client.close()

    uvloop.run(whole())


async def _insert(client: Any, start: int, count: int = 100) -> None:
    await client.execute(
        "INSERT INTO a SELECT g, repeat('x', 1000)"
        f" FROM generate_series({start}, {start + count - 1}) g"
    )


async def _fill(client: Any, start: int = 1) -> int:
    """Insert until there is no room; the first row that is not there."""
    while True:
        try:
            await _insert(client, start)
        except asyncpg.DiskFullError:
            return start
        start += 100


def test_inserting_ends_with_53100_and_deleting_makes_room() -> None:
    async def body(client: Any, quota: SetQuota) -> None:
        await client.execute("CREATE TABLE a (id int PRIMARY KEY, b text)")
        end = await _fill(client)
        assert 600 < end < 1100
        with pytest.raises(asyncpg.DiskFullError) as full:
            await _insert(client, end)
        assert full.value.sqlstate == "53100"
        assert full.value.message == "could not extend the database: storage limit reached"
        assert full.value.detail.endswith(f"bytes of rows and may store {MIB}.")
        assert "Delete rows" in full.value.hint
        assert await client.fetchval("SELECT count(*) FROM a") == end - 1
        await client.execute("UPDATE a SET b = repeat('y', 1000) WHERE id <= 50")
        with pytest.raises(asyncpg.DiskFullError):
            await client.execute("UPDATE a SET b = b || repeat('y', 5000) WHERE id <= 50")
        with pytest.raises(asyncpg.DiskFullError):
            async with client.transaction():
                await _insert(client, end)
        assert await client.execute("DELETE FROM a WHERE id <= 100") == "DELETE 100"
        await _insert(client, end)
        assert await client.fetchval("SELECT count(*) FROM a") == end - 1

    _with_client(body)


def test_a_raised_limit_holds_for_the_next_statement() -> None:
    async def body(client: Any, quota: SetQuota) -> None:
        await client.execute("CREATE TABLE a (id int PRIMARY KEY, b text)")
        end = await _fill(client)
        await quota(2 * MIB)
        await _insert(client, end)
        await quota(MIB)
        with pytest.raises(asyncpg.DiskFullError):
            await _insert(client, end + 100)
        assert await client.execute("DELETE FROM a WHERE id > 10") == f"DELETE {end + 89}"
        await _insert(client, end + 100)

    _with_client(body)


@pytest.mark.parametrize("command", ["TRUNCATE a", "DROP TABLE a"])
def test_giving_tables_up_makes_room(command: str) -> None:
    async def body(client: Any, quota: SetQuota) -> None:
        await client.execute("CREATE TABLE a (id int PRIMARY KEY, b text)")
        await _fill(client)
        await client.execute(command)
        if command.startswith("DROP"):
            await _until(client, "CREATE TABLE a (id int PRIMARY KEY, b text)")
        await _until(
            client, "INSERT INTO a SELECT g, repeat('x', 1000) FROM generate_series(1, 500) g"
        )

    _with_client(body)


async def _until(client: Any, text: str) -> None:
    """Until what was given up has been counted."""
    done = False
    while not done:
        try:
            await client.execute(text)
            done = True
        except asyncpg.DiskFullError:
            await asyncio.sleep(0.01)


def test_a_copy_that_is_too_large_ends_early() -> None:
    async def body(client: Any, quota: SetQuota) -> None:
        await client.execute("CREATE TABLE a (id int PRIMARY KEY, b text)")
        rows = [(number, "x" * 1000) for number in range(20_000)]
        with pytest.raises(asyncpg.DiskFullError):
            await client.copy_records_to_table("a", records=rows)
        assert await client.fetchval("SELECT count(*) FROM a") == 0
        await client.copy_records_to_table("a", records=rows[:500])

    _with_client(body)
