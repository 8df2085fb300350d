"""Sessions on two pods that take, waste, fail, cache and give back numbers at the same time."""

import asyncio
import random
import tempfile
from functools import partial
from pathlib import Path

import psycopg
import pytest
import uvloop

from proto import kv_pb2 as kv
from storage.sequence_operations import SequenceOperations
from tests.support.kv import storage_running
from tests.support.pod import pod_on, two_sessions

SESSIONS, STATEMENTS = 6, 40


async def take(dsn: str, chance: random.Random, sequence: str) -> list[int]:
    """What a session is given, in statements of all kinds."""
    seen: list[int] = []
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    async with connection:
        for _ in range(STATEMENTS):
            count, limit = chance.randint(1, 60), chance.randint(1, 30)
            kind = chance.choice(("one", "limit", "insert", "fails", "rolled back"))
            source = f"FROM generate_series(1, {count}) n"
            query = {
                "one": f"SELECT nextval('{sequence}')",
                "limit": f"SELECT nextval('{sequence}') {source} LIMIT {limit}",
                "fails": f"SELECT nextval('{sequence}') / (n - {limit}) {source}",
            }.get(kind, f"INSERT INTO t (id) SELECT nextval('{sequence}') {source} RETURNING id")
            try:
                async with connection.transaction(force_rollback=kind == "rolled back"):
                    cursor = await connection.execute(query)
                    rows = await cursor.fetchall()
                    seen += [] if kind == "fails" else [row[0] for row in rows]
            except psycopg.errors.DivisionByZero:
                continue
    return seen


@pytest.mark.parametrize("cache", [1, 7])
def test_no_number_is_given_twice(cache: int) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory") as storage,
                pod_on(storage) as a,
                pod_on(storage) as b,
            ):
                connection = await psycopg.AsyncConnection.connect(a.dsn, autocommit=True)
                async with connection:
                    await connection.execute(f"CREATE SEQUENCE s CACHE {cache}")
                    await connection.execute("CREATE TABLE t (id bigint)")
                    sessions = [
                        take((a, b)[n % 2].dsn, random.Random(n * 100 + cache), "s")
                        for n in range(SESSIONS)
                    ]
                    given = [each for seen in await asyncio.gather(*sessions) for each in seen]
                    assert len(given) == len(set(given)) > SESSIONS * STATEMENTS
                    cursor = await connection.execute("SELECT nextval('s') > %s", [max(given)])
                    assert await cursor.fetchone() == (True,)

    uvloop.run(run())


@pytest.mark.parametrize("block", [False, True], ids=["alone", "in a block"])
def test_what_goes_back_is_there_for_the_next_on_any_pod(
    monkeypatch: pytest.MonkeyPatch, block: bool
) -> None:
    handle = SequenceOperations.handle

    def late(operations: SequenceOperations, request: kv.Request) -> None:
        if request.sequence.HasField("return"):
            loop = asyncio.get_running_loop()
            loop.call_later(0.1, partial(handle, operations, request))
        else:
            handle(operations, request)

    monkeypatch.setattr(SequenceOperations, "handle", late)

    async def run() -> None:
        async with two_sessions() as (one, other, _):
            await one.execute("CREATE SEQUENCE s")
            if block:
                await one.execute("BEGIN")
            await one.execute("SELECT nextval('s') FROM generate_series(1, 5000)")
            cursor = await other.execute("SELECT nextval('s')")
            assert await cursor.fetchone() == (5001,)
            with pytest.raises(psycopg.errors.DivisionByZero):
                await one.execute("SELECT nextval('s') / (10 - n) FROM generate_series(1, 20) n")
            cursor = await other.execute("SELECT nextval('s')")
            assert await cursor.fetchone() == (5012,)

    uvloop.run(run())
