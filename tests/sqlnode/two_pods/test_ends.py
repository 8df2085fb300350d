"""A transaction that is over has no locks any more when its client hears of that."""

import asyncio

import psycopg
import pytest
import uvloop

from proto import kv_pb2 as kv
from storage.operations import Operations
from tests.support.pod import two_sessions


@pytest.mark.parametrize(
    "statements",
    [
        ["BEGIN", "SELECT * FROM t FOR UPDATE", "ROLLBACK"],
        ["BEGIN", "SELECT * FROM t FOR UPDATE", "COMMIT"],
        ["BEGIN", "UPDATE t SET n = 2", "ROLLBACK"],
        ["BEGIN", "SELECT * FROM t FOR UPDATE", "SELECT 1 / 0"],
        ["BEGIN", "LOCK TABLE t", "ROLLBACK"],
        ["BEGIN ISOLATION LEVEL REPEATABLE READ", "UPDATE t SET n = 2", "ABORT"],
        ["SELECT * FROM t FOR UPDATE"],
        ["INSERT INTO t SELECT 2 - n FROM generate_series(0, 1) n"],
    ],
    ids=", ".join,
)
def test_its_locks_are_free_on_every_pod(
    monkeypatch: pytest.MonkeyPatch, statements: list[str]
) -> None:
    end = Operations._end

    def late(operations: Operations, request: kv.Request) -> None:
        def reply() -> None:
            operations._stream.reply(end(operations, request))

        asyncio.get_running_loop().call_later(0.1, reply)

    monkeypatch.setattr(Operations, "_end", late)

    async def run() -> None:
        async with two_sessions() as (one, other, _):
            await one.execute("CREATE TABLE t (n int PRIMARY KEY)")
            await one.execute("INSERT INTO t VALUES (1)")
            for statement in statements:
                try:
                    await one.execute(statement)
                except (psycopg.errors.DivisionByZero, psycopg.errors.UniqueViolation):
                    break
            await other.execute("BEGIN")
            await other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT")
            await other.execute("SELECT * FROM t FOR UPDATE NOWAIT")
            await other.execute("ROLLBACK")

    uvloop.run(run())
