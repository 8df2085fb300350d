"""Statements that others overtake with changes of the schema that do not concern them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import psycopg
import pytest
import uvloop

from sqlnode.execute.api import Execution
from sqlnode.session.retrying import STATEMENTS_OVERTAKEN
from sqlnode.session.session import Session
from tests.support.pod import Connection, two_sessions


@dataclass
class Beside:
    """`own` is a session on one pod, `other` one on another, `tenant` what the first pod has."""

    own: Connection
    other: Connection
    tenant: object


@asynccontextmanager
async def _beside() -> AsyncIterator[Beside]:
    async with two_sessions() as (own, other, pod):
        await own.execute("CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, n int)")
        await own.execute("CREATE TABLE plain (id int, n int)")
        await own.execute("INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)")
        await own.execute("INSERT INTO plain VALUES (1, 1)")
        await other.execute("SET lock_timeout = 50")
        yield Beside(own, other, pod.tenant)


def _run(body: Callable[[Beside], Awaitable[None]]) -> None:
    async def run() -> None:
        async with _beside() as beside:
            await body(beside)

    uvloop.run(run())


@contextmanager
def _overtaken(beside: Beside) -> Iterator[None]:
    """Somebody makes a table whenever a statement of `own` has been planned, 20 times at most."""
    run, made = Session.execution, count()

    async def overtaken(session: Session, *arguments: Any, **named: Any) -> Execution:
        execution = await run(session, *arguments, **named)
        if session.tenant is beside.tenant and (number := next(made)) < 20:
            with suppress(psycopg.errors.LockNotAvailable):  # the statement's turn has come
                await beside.other.execute(f"CREATE TABLE made_{number} (x int)")
        return execution

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "execution", overtaken)
        yield
    assert next(made) > 0


@pytest.mark.parametrize("block", [False, True], ids=["alone", "in a block"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT n FROM t WHERE id = 1",
        "SELECT count(*) FROM t JOIN plain USING (id)",
        "SELECT * FROM t FOR UPDATE",
        "INSERT INTO t VALUES (3, 3, 3)",
        "INSERT INTO plain SELECT id, n FROM t",
        "UPDATE t SET u = u + 10",
        "UPDATE t SET u = 20 WHERE id = 1",
        "DELETE FROM plain",
        "WITH w AS (INSERT INTO plain VALUES (2, 2)) SELECT * FROM t",
        "CREATE INDEX ON plain (n)",
        "CREATE TABLE new (x int)",
    ],
)
def test_a_statement_that_changes_overtake_goes_on(statement: str, block: bool) -> None:
    async def body(beside: Beside) -> None:
        if block:
            await beside.own.execute("BEGIN")
            await beside.own.execute("UPDATE t SET n = 5 WHERE id = 2")
        before = STATEMENTS_OVERTAKEN._value.get()
        with _overtaken(beside):
            await beside.own.execute(statement)
        begun_anew = STATEMENTS_OVERTAKEN._value.get() > before
        assert begun_anew is statement.startswith("CREATE")
        if block:
            await beside.own.execute("COMMIT")

    _run(body)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT n FROM t WHERE id = 1",
        "SELECT id FROM t UNION SELECT n FROM plain",
        "SELECT * FROM t FOR UPDATE",
        "INSERT INTO t VALUES (3, 3, 3)",
        "UPDATE t SET u = u + 10",
    ],
)
def test_so_does_one_that_begins_a_snapshot(statement: str, level: str) -> None:
    async def body(beside: Beside) -> None:
        await beside.own.execute(f"BEGIN ISOLATION LEVEL {level}")
        with _overtaken(beside):
            await beside.own.execute(statement)
            before = await _rows(beside.own, "SELECT count(*) FROM pg_class WHERE relname ~ 'made'")
            await _rows(beside.own, "SELECT u FROM t WHERE u = 2")
        await beside.other.execute("CREATE TABLE made_late (x int)")
        query = "SELECT count(*) FROM pg_class WHERE relname ~ 'made'"
        assert await _rows(beside.own, query) == before
        await beside.own.execute("COMMIT")

    _run(body)


async def _rows(connection: Connection, query: str) -> list[Any]:
    return await (await connection.execute(query)).fetchall()


@pytest.mark.parametrize(
    "begin",
    ["", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"],
)
def test_rows_are_copied_in_while_somebody_makes_a_table(begin: str) -> None:
    async def body(beside: Beside) -> None:
        own = beside.own
        if begin:
            await own.execute(begin)
        async with own.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
            for number in range(10, 3000):
                if number % 1000 == 0:
                    await beside.other.execute(f"CREATE TABLE made_{number} (x int)")
                await copy.write_row((number, number, number))
        if begin:
            await own.execute("COMMIT")
        cursor = await beside.other.execute("SELECT count(*) FROM t")
        assert await cursor.fetchone() == (2992,)

    _run(body)
