"""A tenant that has as much open, locked or staged as it may, as its clients see it."""

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import uvloop

from storage.config import Limits
from tests.support.kv import storage_running
from tests.support.pod import pod_on


def _with_clients(body: Callable[[Any, Any], Awaitable[None]], **limits: Any) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory", limits=Limits(**limits)) as up,
                pod_on(up) as pod,
            ):
                one = await asyncpg.connect(pod.dsn, ssl=False)
                two = await asyncpg.connect(pod.dsn, ssl=False)
                try:
                    await one.execute("CREATE TABLE a (id int PRIMARY KEY, b text)")
                    for first in (1, 101):
                        rows = f"generate_series({first}, {first + 99})"
                        await one.execute(f"INSERT INTO a SELECT g, 'b' FROM {rows} g")
                    await body(one, two)
                finally:
                    await one.close()
                    await two.close()

    uvloop.run(whole())


async def _refused(statement: Awaitable[Any]) -> tuple[str, str, str]:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await statement
    error: Any = caught.value
    return error.sqlstate, error.message, error.hint


def test_too_many_locks_are_53200_and_ending_a_transaction_helps() -> None:
    async def body(one: Any, two: Any) -> None:
        await one.execute("BEGIN; SELECT FROM a WHERE id <= 100 FOR UPDATE")
        state, message, hint = await _refused(two.execute("UPDATE a SET b = 'c' WHERE id > 140"))
        assert (state, message) == ("53200", "out of shared memory")
        assert "end transactions that hold many locks" in hint
        await one.execute("COMMIT")
        assert await two.execute("UPDATE a SET b = 'c' WHERE id > 140") == "UPDATE 60"

    _with_clients(body, tenant_locks_max=150)


def test_too_many_transactions_are_53400() -> None:
    async def body(one: Any, two: Any) -> None:
        await one.execute("BEGIN; UPDATE a SET b = 'c' WHERE id = 1")
        state, message, hint = await _refused(two.execute("UPDATE a SET b = 'c' WHERE id = 2"))
        assert (state, message) == ("53400", "too many open transactions in the database")
        assert hint == "End transactions that are open without need."
        await one.execute("COMMIT")
        assert await two.execute("UPDATE a SET b = 'c' WHERE id = 2") == "UPDATE 1"

    _with_clients(body, txns_max=1)


def test_too_much_staged_is_53400() -> None:
    load = "INSERT INTO a SELECT g, repeat('x', 1000) FROM generate_series({}, {}) g"

    async def body(one: Any, two: Any) -> None:
        await one.execute("BEGIN; " + load.format(1000, 21000))
        state, message, hint = await _refused(two.execute(load.format(30000, 50000)))
        assert (state, message) == (
            "53400",
            "too much is being written to the database at the same time",
        )
        assert hint == "Wait for other large transactions to end, or write in smaller ones."
        await one.execute("ROLLBACK")
        assert await two.execute(load.format(30000, 50000)) == "INSERT 0 20001"

    _with_clients(body, tenant_staged_bytes_max=30 << 20)
