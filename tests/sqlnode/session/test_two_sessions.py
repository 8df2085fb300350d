"""What one session's troubles mean for another's."""

import asyncio
from pathlib import Path

import psycopg
import pytest
import uvloop

from sqlnode.session.retrying import STATEMENT_RETRIES
from tests.support.pod import PodForTest, pod_running


async def _connect(pod: PodForTest) -> "psycopg.AsyncConnection[tuple[object, ...]]":
    return await psycopg.AsyncConnection.connect(pod.dsn, autocommit=True)


def test_a_failed_transaction_holds_nobody_up(tmp_path: Path) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            failed, other = await _connect(pod), await _connect(pod)
            await failed.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
            await failed.execute("INSERT INTO t VALUES (1, 0)")
            await failed.execute("BEGIN")
            await failed.execute("UPDATE t SET n = 1")
            with pytest.raises(psycopg.errors.DivisionByZero):
                await failed.execute("SELECT 1/0")
            await other.execute("SET lock_timeout = '5s'")
            await other.execute("UPDATE t SET n = n + 10")
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                await failed.execute("SELECT 1")
            await failed.execute("ROLLBACK")
            cursor = await failed.execute("SELECT n FROM t")
            assert await cursor.fetchall() == [(10,)]
            for connection in (failed, other):
                await connection.close()

    uvloop.run(body())


def test_the_victim_of_a_deadlock_lets_the_other_go_on(tmp_path: Path) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            sessions = [await _connect(pod), await _connect(pod)]
            await sessions[0].execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
            await sessions[0].execute("INSERT INTO t VALUES (0, 0), (1, 0)")
            for number, session in enumerate(sessions):
                await session.execute("BEGIN")
                await session.execute(f"UPDATE t SET n = 1 WHERE id = {number}")
            outcomes = await asyncio.wait_for(
                asyncio.gather(
                    sessions[0].execute("UPDATE t SET n = 2 WHERE id = 1"),
                    sessions[1].execute("UPDATE t SET n = 2 WHERE id = 0"),
                    return_exceptions=True,
                ),
                30,
            )
            victims = [o for o in outcomes if isinstance(o, psycopg.errors.DeadlockDetected)]
            assert len(victims) == 1
            for session in sessions:
                await session.execute("COMMIT")
                await session.close()

    uvloop.run(body())


def test_sessions_change_the_schema_at_the_same_time(tmp_path: Path) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:

            async def make(session: int) -> None:
                connection = await _connect(pod)
                for number in range(4):
                    await connection.execute(f"CREATE TABLE t{session}_{number} (id int)")
                await connection.close()

            await asyncio.gather(*map(make, range(4)))
            connection = await _connect(pod)
            cursor = await connection.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            )
            assert await cursor.fetchone() == (16,)
            await connection.close()

    uvloop.run(body())


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_statement_alone_meets_no_conflict(tmp_path: Path, level: str) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            sessions = [await _connect(pod) for _ in range(4)]
            await sessions[0].execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
            await sessions[0].execute("INSERT INTO t VALUES (1, 0)")

            async def count(session: "psycopg.AsyncConnection[tuple[object, ...]]") -> set[object]:
                await session.execute(f"SET default_transaction_isolation = '{level}'")
                seen = set()
                for _ in range(10):
                    cursor = await session.execute("UPDATE t SET n = n + 1 RETURNING n")
                    seen |= {row[0] for row in await cursor.fetchall()}
                return seen

            before = STATEMENT_RETRIES._value.get()
            counted = await asyncio.gather(*map(count, sessions))
            assert set().union(*counted) == set(range(1, 41))
            assert STATEMENT_RETRIES._value.get() > before
            # In a block the client has seen something already.
            await sessions[0].execute("BEGIN")
            await sessions[0].execute("SELECT * FROM t")
            await sessions[1].execute("UPDATE t SET n = 0")
            with pytest.raises(psycopg.errors.SerializationFailure):
                await sessions[0].execute("UPDATE t SET n = n + 1")
            for session in sessions:
                await session.close()

    uvloop.run(body())


def test_a_row_that_was_removed_since_the_snapshot(tmp_path: Path) -> None:
    """It cannot be changed; another one can take its place."""

    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            one, other = await _connect(pod), await _connect(pod)
            await other.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
            await other.execute("INSERT INTO t VALUES (1, 10), (2, 20)")
            await one.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            await one.execute("SELECT 1")
            await other.execute("DELETE FROM t")
            await one.execute("SAVEPOINT s")
            for refused in ("UPDATE t SET n = 0 WHERE id = 1", "DELETE FROM t WHERE n = 10"):
                with pytest.raises(psycopg.errors.SerializationFailure):
                    await one.execute(refused)
                await one.execute("ROLLBACK TO s")
            for row in (
                "(1, 11) ON CONFLICT DO NOTHING",
                "(2, 22) ON CONFLICT (id) DO UPDATE SET n = 0",
            ):
                assert (await one.execute(f"INSERT INTO t VALUES {row}")).rowcount == 1
            await one.execute("COMMIT")
            cursor = await other.execute("SELECT * FROM t ORDER BY id")
            assert await cursor.fetchall() == [(1, 11), (2, 22)]
            for connection in (one, other):
                await connection.close()

    uvloop.run(body())
