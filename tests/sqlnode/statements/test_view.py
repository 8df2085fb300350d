"""pg_stat_statements of a real pod, and that what it tells is what the pod used."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import uvloop

from sqlnode.statements.identity import identify
from tests.support.pod import USER, PodForTest, pod_running

COLUMNS = (
    "userid dbid toplevel queryid query plans total_plan_time min_plan_time max_plan_time"
    " mean_plan_time stddev_plan_time calls total_exec_time min_exec_time max_exec_time"
    " mean_exec_time stddev_exec_time rows shared_blks_hit shared_blks_read shared_blks_dirtied"
    " shared_blks_written local_blks_hit local_blks_read local_blks_dirtied local_blks_written"
    " temp_blks_read temp_blks_written blk_read_time blk_write_time temp_blk_read_time"
    " temp_blk_write_time wal_records wal_fpi wal_bytes jit_functions jit_generation_time"
    " jit_inlining_count jit_inlining_time jit_optimization_count jit_optimization_time"
    " jit_emission_count jit_emission_time request_units"
)
"""Those of version 1.10 of PostgreSQL's extension, and our own at the end."""
Body = Callable[[PodForTest, Any], Awaitable[None]]


def _with_client(body: Body) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with pod_running(Path(folder)) as pod:
                pod.tenant.kv.usage.clear()  # the first catalog is not the tenant's
                client = await asyncpg.connect(pod.dsn, ssl=False)
                try:
                    await body(pod, client)
                finally:
                    await client.close()

    uvloop.run(whole())


async def _seen(client: Any) -> dict[str, tuple[int, int]]:
    rows = await client.fetch("SELECT query, calls, rows FROM pg_stat_statements")
    return {row["query"]: (row["calls"], row["rows"]) for row in rows}


def test_statements_are_counted_without_their_constants() -> None:
    async def body(pod: PodForTest, client: Any) -> None:
        await client.execute("CREATE TABLE a (id int PRIMARY KEY, b text)")
        await client.execute("INSERT INTO a SELECT g, 'x' FROM generate_series(1, 100) g")
        for number in range(5):
            await client.execute(f"SELECT b FROM a WHERE id = {number}")  # simple, one plan
            await client.execute(f"UPDATE a SET b = 'y{number}' WHERE id = {number}")  # its own
            await client.fetch("SELECT b FROM a WHERE id > $1", 10 * number)  # prepared
        async with client.transaction():
            await client.execute("DELETE FROM a WHERE id = 7")
        await client.execute("PREPARE p AS SELECT count(*) FROM a WHERE id > $1")
        await client.fetch("EXECUTE p(5)")
        await client.execute("EXECUTE p(6)")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await client.execute("SELECT 1 / (id - id) FROM a")
        seen = await _seen(client)
        assert seen["SELECT b FROM a WHERE id = $1"] == (5, 4)
        assert seen["UPDATE a SET b = $1 WHERE id = $2"] == (5, 4)
        assert seen["SELECT b FROM a WHERE id > $1"] == (5, 100 + 90 + 80 + 70 + 60)
        assert seen["DELETE FROM a WHERE id = $1"] == (1, 1)
        assert seen["PREPARE p AS SELECT count(*) FROM a WHERE id > $1"] == (2, 2)
        assert (seen["COMMIT"], seen["BEGIN"]) == ((1, 0), (1, 0))
        assert not any("1 / " in query for query in seen), "what failed was not called"
        failed = pod.tenant.costs.role(USER).entries[
            identify("SELECT 1 / (id - id) FROM a").query_id
        ]
        assert failed.read_batches > 0, "and is paid for"

    _with_client(body)


def test_the_view_is_postgresqls(capsys: pytest.CaptureFixture[str]) -> None:
    async def body(_pod: PodForTest, client: Any) -> None:
        await client.fetch("SELECT 1")
        row = await client.fetchrow("SELECT * FROM pg_stat_statements WHERE query = 'SELECT $1'")
        assert list(row.keys()) == COLUMNS.split()
        assert row["queryid"] == identify("SELECT 1").signed
        assert (row["userid"], row["toplevel"], row["plans"], row["wal_bytes"]) == (10, True, 0, 0)
        assert row["min_exec_time"] == row["max_exec_time"] == row["total_exec_time"] > 0
        assert row["request_units"] > 0
        assert await client.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements") == (
            "CREATE EXTENSION"
        )
        with pytest.raises(asyncpg.DuplicateObjectError):
            await client.execute("CREATE EXTENSION pg_stat_statements")
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await client.execute("CREATE EXTENSION IF NOT EXISTS hstore")
        found = await client.fetch("SELECT extname, extversion FROM pg_extension")
        assert [tuple(each) for each in found] == [("pg_stat_statements", "1.10")]
        before = await client.fetchval("SELECT stats_reset FROM pg_stat_statements_info")
        await client.fetch("SELECT pg_stat_statements_reset()")
        assert "SELECT $1" not in await _seen(client)
        after = await client.fetchval("SELECT stats_reset FROM pg_stat_statements_info")
        assert after > before

    _with_client(body)


def test_one_statement_is_forgotten_by_its_number() -> None:
    async def body(_pod: PodForTest, client: Any) -> None:
        await client.fetch("SELECT 1")
        await client.fetch("SELECT current_user")
        number = identify("SELECT 1").signed
        await client.fetch("SELECT pg_stat_statements_reset(0, 0, $1)", number)
        seen = await _seen(client)
        assert "SELECT $1" not in seen
        assert "SELECT current_user" in seen
        await client.fetch("SELECT pg_stat_statements_reset(userid => 6171)")  # another role's
        assert "SELECT current_user" in await _seen(client)

    _with_client(body)


def test_what_others_ask_is_hidden_from_who_is_not_the_owner() -> None:
    async def body(pod: PodForTest, client: Any) -> None:
        await client.fetch("SELECT 1")
        [session] = pod.tenant.sessions.values()
        session.context.current_user = "bob"  # as SET ROLE would
        rows = await client.fetch("SELECT queryid, query FROM pg_stat_statements")
        assert {tuple(row) for row in rows} == {(None, "<insufficient privilege>")}
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await client.fetch("SELECT pg_stat_statements_reset()")

    _with_client(body)


def test_roles_add_up_to_what_the_pod_used() -> None:
    async def body(pod: PodForTest, client: Any) -> None:
        await client.execute("CREATE TABLE a (id int PRIMARY KEY, b text)")
        others = [await asyncpg.connect(pod.dsn, ssl=False) for _ in range(4)]
        await client.execute("INSERT INTO a SELECT g, 'x' FROM generate_series(1, 2000) g")

        async def work(one: Any, number: int) -> None:
            for turn in range(10):
                await one.fetch("SELECT count(*) FROM a WHERE id % 7 = $1", turn % 7)
                await one.execute(f"UPDATE a SET b = 'z' WHERE id = {number * 100 + turn}")
                await one.fetch("EXPLAIN ANALYZE SELECT * FROM a")
                with pytest.raises(asyncpg.PostgresError):
                    await one.execute("SELECT nothing FROM a")

        await asyncio.gather(*(work(one, number) for number, one in enumerate(others)))
        for one in (*others, client):
            await one.close()
        await pod.server.close()
        used, total = pod.tenant.kv.usage, pod.tenant.costs.role(USER).total()
        for name in ("read_batches", "read_requests", "read_bytes"):
            assert getattr(total, name) == getattr(used, name), name
        for name in ("write_batches", "write_requests", "write_bytes"):
            assert getattr(total, name) == getattr(used, name), name
        assert total.egress_bytes == pod.server.sent_bytes
        pod.tenant.costs.share_cpu(10**9)
        assert 10**9 - pod.tenant.costs.role(USER).total().cpu_ns < 100

    _with_client(body)
