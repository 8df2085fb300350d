"""The snapshot of a transaction that keeps it is that of its first statement.

What each statement does there is in tests/sqlnode/anomalies/scripts/first_snapshot.sql; this is
what a script of single statements cannot say.
"""

import asyncio
from pathlib import Path

import psycopg
import pytest
import uvloop

from dormouse.base.tasks import spawn
from sqlnode.session.literals import template_of
from tests.support.pod import Connection, PodForTest, pod_running
from tests.support.waiting import GUARD_SECONDS


async def _connect(pod: PodForTest) -> Connection:
    return await psycopg.AsyncConnection.connect(pod.dsn, autocommit=True)


async def _count(connection: Connection, query: str) -> object:
    [[count]] = await (await connection.execute(query)).fetchall()
    return count


async def _somebody_waits(connection: Connection) -> None:
    async with asyncio.timeout(GUARD_SECONDS):
        while not await _count(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass


def test_statements_of_one_query_have_one_snapshot(tmp_path: Path) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            one, other = await _connect(pod), await _connect(pod)
            await other.execute("CREATE TABLE t (n int)")
            await other.execute("SELECT pg_advisory_lock(1)")
            await one.execute("SET default_transaction_isolation = 'repeatable read'")
            query = "SELECT pg_advisory_xact_lock(1); SELECT count(*) FROM t"
            asking = spawn(one.execute(query), name="two statements")
            await _somebody_waits(other)
            await other.execute("INSERT INTO t VALUES (1)")
            await other.execute("SELECT pg_advisory_unlock(1)")
            cursor = await asyncio.wait_for(asking, GUARD_SECONDS)
            assert cursor.nextset()
            assert await cursor.fetchall() == [(0,)]
            assert await _count(one, "SELECT count(*) FROM t") == 1
            for connection in (one, other):
                await connection.close()

    uvloop.run(body())


def test_a_transaction_that_copies_first_sees_nothing_newer(tmp_path: Path) -> None:
    async def copy(connection: Connection) -> None:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        async with connection.cursor().copy("COPY t FROM STDIN") as copy:
            await copy.write_row((1,))

    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            one, other = await _connect(pod), await _connect(pod)
            await other.execute("CREATE TABLE t (n int)")
            await other.execute("BEGIN")
            await other.execute("LOCK TABLE t IN EXCLUSIVE MODE")
            await other.execute("INSERT INTO t VALUES (2)")
            copying = spawn(copy(one), name="COPY")
            await _somebody_waits(other)
            await other.execute("COMMIT")
            await asyncio.wait_for(copying, GUARD_SECONDS)
            await other.execute("INSERT INTO t VALUES (3)")
            assert await _count(one, "SELECT sum(n) FROM t") == 1
            await one.execute("COMMIT")
            assert await _count(one, "SELECT sum(n) FROM t") == 6
            for connection in (one, other):
                await connection.close()

    uvloop.run(body())


def test_a_prepared_statement_begins_a_snapshot(tmp_path: Path) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            one, other = await _connect(pod), await _connect(pod)
            await other.execute("CREATE TABLE t (n int)")
            await one.execute("SELECT 1", prepare=True)
            await one.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            await one.execute("SELECT 1", prepare=True)
            await other.execute("INSERT INTO t VALUES (1)")
            assert await _count(one, "SELECT count(*) FROM t") == 0
            await one.execute("COMMIT")
            assert await _count(one, "SELECT count(*) FROM t") == 1
            for connection in (one, other):
                await connection.close()

    uvloop.run(body())


def test_a_snapshot_that_cannot_be_had_is_not_the_fault_of_the_text(tmp_path: Path) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            connection = await _connect(pod)
            await connection.execute("CREATE TABLE t (n int)")
            await connection.execute("SET dormouse.as_of = '-10 days'")
            query = "SELECT count(*) FROM t WHERE n = 5"
            template = template_of(query)
            assert template is not None
            with pytest.raises(psycopg.DatabaseError, match="older than the history"):
                await connection.execute(query)
            assert template.text not in pod.tenant.refused_templates
            await connection.execute("RESET dormouse.as_of")
            assert await _count(connection, query) == 0
            with pytest.raises(psycopg.errors.UndefinedTable):
                await connection.execute(query.replace("t WHERE", "u WHERE"))
            assert template.text.replace("t WHERE", "u WHERE") in pod.tenant.refused_templates
            await connection.close()

    uvloop.run(body())


@pytest.mark.parametrize(
    "query", ["SELECT 1", "INSERT INTO t VALUES (1)", "UPDATE t SET n = 1", "DELETE FROM t"]
)
def test_to_parse_a_query_is_enough(tmp_path: Path, query: str) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            one, other = await _connect(pod), await _connect(pod)
            await other.execute("CREATE TABLE t (n int)")
            await one.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            result = await asyncio.to_thread(one.pgconn.prepare, b"parsed", query.encode())
            assert result.status == psycopg.pq.ExecStatus.COMMAND_OK
            await other.execute("INSERT INTO t VALUES (1)")
            assert await _count(one, "SELECT count(*) FROM t") == 0
            for connection in (one, other):
                await connection.close()

    uvloop.run(body())
