"""Reading the past as a client of the database does it."""

import asyncio
import io
import random
import tempfile
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import uvloop

from tests.support.kv import storage_running
from tests.support.pod import pod_on

_SEED = 20260101


def _with_clients(*bodies: Callable[[Any], Awaitable[None]], seconds: int = 3600) -> None:
    """Each body on a pod and a storage process of its own, one after the other on one file."""

    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for body in bodies:
                async with (
                    storage_running(
                        Path(folder),
                        recovery_window_seconds=seconds,
                        history_seconds=0.3,
                        collect_seconds=0.02,
                    ) as storage,
                    pod_on(storage) as pod,
                ):
                    client = await asyncpg.connect(pod.dsn, ssl=False, statement_cache_size=0)
                    try:
                        await body(client)
                    finally:
                        await client.close()

    uvloop.run(whole())


async def _now(client: Any) -> str:
    """The time between two commits, to the microsecond."""
    await asyncio.sleep(0.002)
    now = str(await client.fetchval("SELECT clock_timestamp()::text"))
    await asyncio.sleep(0.002)
    return now


async def _at(client: Any, time: str, sql: str) -> list[tuple[Any, ...]]:
    await client.execute(f"SET dormouse.as_of = '{time}'")
    try:
        return [tuple(row) for row in await client.fetch(sql)]
    finally:
        await client.execute("RESET dormouse.as_of")


def test_every_earlier_time_reads_as_it_was_also_after_a_restart() -> None:
    chance = random.Random(_SEED)
    past: list[tuple[str, list[tuple[int, int]]]] = []

    async def write(client: Any) -> None:
        await client.execute("CREATE TABLE IF NOT EXISTS a (id int PRIMARY KEY, n int)")
        await client.execute("CREATE INDEX IF NOT EXISTS a_n ON a (n)")
        now: dict[int, int] = dict(past[-1][1]) if past else {}
        for _ in range(25):
            key, value = chance.randrange(6), chance.randrange(100)
            if chance.random() < 0.3:
                await client.execute("DELETE FROM a WHERE id = $1", key)
                now.pop(key, None)
            else:
                sql = "INSERT INTO a VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET n = $2"
                await client.execute(sql, key, value)
                now[key] = value
            past.append((await _now(client), sorted(now.items())))

    async def read(client: Any) -> None:
        for time, rows in chance.sample(past, len(past)):
            assert await _at(client, time, "SELECT * FROM a ORDER BY id") == rows, _SEED
            found = await _at(client, time, "SELECT id, n FROM a WHERE n >= 50 ORDER BY id")
            assert found == [row for row in rows if row[1] >= 50], _SEED
            one = await _at(client, time, "SELECT id, n FROM a WHERE id = 3")
            assert one == [row for row in rows if row[0] == 3], _SEED

    async def both(client: Any) -> None:
        await read(client)
        await write(client)
        await read(client)

    async def first(client: Any) -> None:
        await write(client)
        await read(client)

    _with_clients(first, both, read)


def test_a_transaction_keeps_its_time() -> None:
    async def body(client: Any) -> None:
        await client.execute("CREATE TABLE a (n int)")
        await client.execute("INSERT INTO a VALUES (1)")
        time = await _now(client)
        await client.execute("UPDATE a SET n = 2")
        await client.execute("BEGIN")
        await client.execute(f"SET LOCAL dormouse.as_of = '{time}'")
        assert await client.fetchval("SELECT n FROM a") == 1
        assert await client.fetchval("SELECT n FROM a") == 1
        with pytest.raises(asyncpg.ActiveSQLTransactionError, match="before any query"):
            await client.execute("SET dormouse.as_of = '-1 minute'; SELECT n FROM a")
        await client.execute("ROLLBACK")
        assert await client.fetchval("SHOW dormouse.as_of") == ""
        assert await client.fetchval("SELECT n FROM a") == 2

    _with_clients(body)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO a VALUES (2)",
        "UPDATE a SET n = 2",
        "DELETE FROM a",
        "SELECT n FROM a FOR UPDATE",
        "CREATE TABLE b ()",
        "TRUNCATE a",
    ],
)
def test_nothing_is_written_in_the_past(sql: str) -> None:
    async def body(client: Any) -> None:
        await client.execute("CREATE TABLE a (n int)")
        time = await _now(client)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await _at(client, time, sql)
        await client.execute("INSERT INTO a VALUES (2)")

    _with_clients(body)


def test_a_time_that_cannot_be_read_is_refused() -> None:
    async def body(client: Any) -> None:
        early = await _now(client)
        await client.execute("CREATE TABLE a (n int)")
        with pytest.raises(asyncpg.InvalidParameterValueError, match="in the future"):
            await _at(client, "2999-01-01", "SELECT n FROM a")
        with pytest.raises(asyncpg.InvalidParameterValueError, match="in the future"):
            await _at(client, "-5 minutes ago", "SELECT n FROM a")
        for text in ("yesteryear", "-5 parsecs", "5 parsecs ago", "ago", "5 minutes"):
            with pytest.raises(asyncpg.InvalidParameterValueError, match="invalid value"):
                await client.execute(f"SET dormouse.as_of = '{text}'")
        with pytest.raises(asyncpg.UndefinedTableError):
            await _at(client, early, "SELECT n FROM a")

    _with_clients(body)


def test_a_time_before_the_history_names_the_oldest_that_can_be_read() -> None:
    async def body(client: Any) -> None:
        await client.execute("CREATE TABLE a (n int)")
        await client.execute("INSERT INTO a VALUES (1)")
        time = await _now(client)

        async def read_on() -> None:
            for n in range(1000):
                await client.execute("UPDATE a SET n = $1", n)
                await _at(client, time, "SELECT n FROM a")
                await asyncio.sleep(0.01)

        with pytest.raises(asyncpg.PostgresError, match="older than the history") as refused:
            await read_on()
        assert refused.value.sqlstate == "72000"
        oldest = str(refused.value.detail).removeprefix("The oldest time that can be read is ")
        assert datetime.fromisoformat(oldest.removesuffix(".")) > datetime.fromisoformat(time)


def test_a_relative_time_is_counted_from_now() -> None:
    async def body(client: Any) -> None:
        await client.execute("CREATE TABLE a (n int)")
        assert await _at(client, "-0 s", "SELECT n FROM a") == []
        with pytest.raises(asyncpg.PostgresError, match="older than the history"):
            await _at(client, "-1 day", "SELECT n FROM a")

    _with_clients(body, seconds=0)


def test_what_was_dropped_or_truncated_is_read_back_also_after_a_restart() -> None:
    times: list[str] = []

    async def write(client: Any) -> None:
        await client.execute("CREATE TABLE a (id int PRIMARY KEY, n int, note text)")
        await client.execute("CREATE INDEX a_n ON a (n)")
        await client.execute("INSERT INTO a SELECT g, g * 2, 'x' || g FROM generate_series(1, 5) g")
        times.append(await _now(client))
        await client.execute("TRUNCATE a")
        await client.execute("INSERT INTO a VALUES (9, 9, 'after')")
        times.append(await _now(client))
        await client.execute("ALTER TABLE a DROP COLUMN n")
        await client.execute("ALTER TABLE a ADD COLUMN m int DEFAULT 7")
        times.append(await _now(client))
        await client.execute("DROP TABLE a")

    async def read(client: Any) -> None:
        everything = [(g, g * 2, f"x{g}") for g in range(1, 6)]
        assert await _at(client, times[0], "SELECT * FROM a ORDER BY id") == everything
        assert await _at(client, times[0], "SELECT id FROM a WHERE n = 6") == [(3,)]
        assert await _at(client, times[1], "SELECT * FROM a") == [(9, 9, "after")]
        assert await _at(client, times[2], "SELECT * FROM a") == [(9, "after", 7)]
        tables = "SELECT count(*) FROM pg_class WHERE relname = 'a'"
        assert await _at(client, times[2], tables) == [(1,)]
        assert await client.fetchval(tables) == 0
        with pytest.raises(asyncpg.UndefinedTableError):
            await client.fetch("SELECT * FROM a")

    async def copied(client: Any) -> None:
        await read(client)
        copy = io.BytesIO()
        for source in ("a", "(SELECT * FROM a ORDER BY id)"):
            copy = io.BytesIO()
            async with client.transaction():
                await client.execute(f"SET LOCAL dormouse.as_of = '{times[0]}'")
                await client._copy_out(f"COPY {source} TO STDOUT", copy, None)
            assert copy.getvalue().splitlines()[0] == b"1\t2\tx1"
            assert len(copy.getvalue().splitlines()) == 5
        await client.execute("CREATE TABLE a (id int PRIMARY KEY, n int, note text)")
        await client.copy_to_table("a", source=io.BytesIO(copy.getvalue()))
        assert await client.fetchval("SELECT sum(n) FROM a") == 30
        assert await _at(client, times[1], "SELECT * FROM a") == [(9, 9, "after")]

    _with_clients(write, read, copied)


def test_a_prepared_statement_reads_each_time_with_its_own_catalog() -> None:
    async def body(client: Any) -> None:
        await client.execute("CREATE TABLE a (n int)")
        await client.execute("INSERT INTO a VALUES (1)")
        await client.execute("PREPARE p AS SELECT n FROM a")
        first = await _now(client)
        await client.execute("ALTER TABLE a ADD COLUMN m int DEFAULT 3")
        await client.execute("UPDATE a SET n = 11")
        await client.execute("CREATE INDEX a_n ON a (n)")
        for _ in range(2):
            assert await _at(client, first, "EXECUTE p") == [(1,)]
            assert await _at(client, first, "SELECT n FROM a WHERE n = 1") == [(1,)]
            assert await client.fetch("SELECT n FROM a WHERE n = 11")
            assert [tuple(row) for row in await client.fetch("EXECUTE p")] == [(11,)]

    _with_clients(body)


@pytest.mark.parametrize("text", ["-1 year", "1 year ago", "1 YEAR 2 days Ago"])
def test_the_setting_can_be_taken_back_whatever_it_says(text: str) -> None:
    async def body(client: Any) -> None:
        await client.execute("CREATE TABLE a (n int)")
        await client.execute(f"SET dormouse.as_of = '{text}'")
        with pytest.raises(asyncpg.PostgresError, match="older than the history"):
            await client.fetch("SELECT n FROM a")
        assert await client.fetchval("SHOW dormouse.as_of") == text
        await client.execute("BEGIN")
        with pytest.raises(asyncpg.PostgresError, match="older than the history"):
            await client.fetch("SELECT n FROM a")
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await client.fetch("SELECT n FROM a")
        await client.execute("ROLLBACK")
        await client.execute("SET dormouse.as_of = ''")
        assert await client.fetch("SELECT n FROM a") == []
        setting = "SELECT setting FROM pg_settings WHERE name = 'dormouse.as_of'"
        assert await client.fetchval(setting) == ""

    _with_clients(body, seconds=0)
