"""Statements that others overtake with changes of the schema that do not concern them."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvloop

from sqlnode.execute.api import Execution
from sqlnode.session.session import Session
from tests.support.kv import storage_running
from tests.support.pod import pod_on

Connection = psycopg.AsyncConnection[Any]


@dataclass
class Beside:
    """`own` is a session on one pod, `other` one on another, `tenant` what the first pod has."""

    own: Connection
    other: Connection
    tenant: object


@asynccontextmanager
async def _two_sessions() -> AsyncIterator[Beside]:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            storage_running(Path(folder), engine="memory") as storage,
            pod_on(storage) as a,
            pod_on(storage) as b,
            await psycopg.AsyncConnection.connect(a.dsn, autocommit=True) as own,
            await psycopg.AsyncConnection.connect(b.dsn, autocommit=True) as other,
        ):
            await own.execute("CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, n int)")
            await own.execute("CREATE TABLE plain (id int, n int)")
            await own.execute("INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)")
            await own.execute("INSERT INTO plain VALUES (1, 1)")
            yield Beside(own, other, a.tenant)


def _run(body: Callable[[Beside], Awaitable[None]]) -> None:
    async def run() -> None:
        async with _two_sessions() as beside:
            await body(beside)

    uvloop.run(run())


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
def test_a_statement_that_changes_overtake_goes_on(
    monkeypatch: pytest.MonkeyPatch, statement: str, block: bool
) -> None:
    """However often: somebody makes a table whenever the statement has been planned."""
    run, made = Session.execution, count()

    async def body(beside: Beside) -> None:
        async def overtaken(session: Session, *arguments: Any, **named: Any) -> Execution:
            execution = await run(session, *arguments, **named)
            if session.tenant is beside.tenant and next(made) < 20:
                with suppress(psycopg.errors.LockNotAvailable):  # the statement's turn has come
                    await beside.other.execute(f"CREATE TABLE made_{next(made)} (x int)")
            return execution

        if block:
            await beside.own.execute("BEGIN")
            await beside.own.execute("UPDATE t SET n = 5 WHERE id = 2")
        await beside.other.execute("SET lock_timeout = 50")
        monkeypatch.setattr(Session, "execution", overtaken)
        await beside.own.execute(statement)
        assert next(made) > 1
        monkeypatch.undo()
        if block:
            await beside.own.execute("COMMIT")

    _run(body)


@pytest.mark.parametrize("block", [False, True], ids=["alone", "in a block"])
def test_rows_are_copied_in_while_somebody_makes_a_table(block: bool) -> None:
    async def body(beside: Beside) -> None:
        own = beside.own
        if block:
            await own.execute("BEGIN")
        async with own.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
            for number in range(10, 3000):
                if number % 1000 == 0:
                    await beside.other.execute(f"CREATE TABLE made_{number} (x int)")
                await copy.write_row((number, number, number))
        if block:
            await own.execute("COMMIT")
        cursor = await beside.other.execute("SELECT count(*) FROM t")
        assert await cursor.fetchone() == (2992,)

    _run(body)
