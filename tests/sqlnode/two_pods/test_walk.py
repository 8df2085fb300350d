"""A random walk: sessions on three pods change rows and the schema at once, and every answer is
checked against what each session knows.

Rows belong to the session that made them, so each knows exactly what it must find of its own,
whatever the others do to columns and indexes: a column's name tells its default, and so what a row
shows that was written before it came. Of all rows together it is known that an index leads to what
a scan finds, and that a unique index has each key once.

`DORMOUSE_SEED=n` walks that seed alone; decisions repeat, the interleaving of the pods does not.
"""

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Set
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvloop

from dormouse.base.tasks import spawn
from tests.support.kv import storage_running
from tests.support.pod import pod_on

_PODS, _SESSIONS, _STEPS = 3, 6, 45
_TABLES = ("keyed", "plain")
_TIRED = {"40P01", "55P03", "57014"}
"""A deadlock, a lock not got in time, a cancel: the transaction is gone, and that is all. Never
40001: what a statement needs of a table is locked, so no change of the schema overtakes it."""
_RACES = {"23505", "42P07", "42P01", "42704", "42701", "42703", "42P16", "54011"}
"""Somebody else was there first, or has what is needed."""

Row = dict[str, int]


def _default(column: str) -> int:
    """What a row shows in a column that came after it."""
    return int(column.removeprefix("c"))


class Walker:
    """One session and all it knows."""

    def __init__(self, number: int, dsn: str, seed: int, history: list[str]) -> None:
        self.number = number
        self._dsn = dsn
        self._random = random.Random(f"{seed}/{number}")
        self._history = history
        self._rows: dict[str, dict[int, Row]] = {table: {} for table in _TABLES}
        self._next_id = number
        self._connection: psycopg.AsyncConnection[Any] = None  # type: ignore[assignment]

    async def walk(self) -> None:
        """Take all steps."""
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            self._connection = connection
            await connection.execute("SET lock_timeout = '4s'")
            steps: list[tuple[int, Callable[[], Awaitable[object]]]] = [
                (8, self._write_alone),
                (5, self._write_in_block),
                (5, self._read_own),
                (3, self._compare),
                (4, self._change_schema),
                (1, self._cancelled),
            ]
            weights = [weight for weight, _ in steps]
            for _ in range(_STEPS):
                [(_, step)] = self._random.choices(steps, weights)
                await step()
            await self._read_own()
            await self._compare()

    # --- writing ---

    def _write(self, table: str) -> tuple[str, dict[int, Row | None]]:
        """A statement, and what its success does to the session's rows (None: the row is gone)."""
        chance, mine = self._random, self._rows[table]
        kind = chance.choice(("insert", "insert", "update", "update", "move", "delete"))
        if kind == "insert" or not mine:
            new: dict[int, Row | None] = {}
            for _ in range(chance.choice((1, 1, 1, 7))):
                new[self._next_id] = self._new_row(self._next_id)
                self._next_id += _SESSIONS
            values = ", ".join(
                f"({r['id']}, {r['owner']}, {r['n']}, {r['u']})" for r in new.values() if r
            )
            return f"INSERT INTO {table} (id, owner, n, u) VALUES {values}", new
        if kind == "move":
            n = chance.randrange(10)
            moved = {id_: {**row, "n": row["n"] + 1} for id_, row in mine.items() if row["n"] == n}
            return f"UPDATE {table} SET n = n + 1 WHERE owner = {self.number} AND n = {n}", {
                **moved
            }
        picked = chance.choice(list(mine))
        if kind == "delete":
            return f"DELETE FROM {table} WHERE id = {picked}", {picked: None}
        u = chance.randrange(100_000)
        row = {**mine[picked], "u": u}
        return f"UPDATE {table} SET u = {u} WHERE id = {picked}", {picked: row}

    def _new_row(self, number: int) -> Row:
        chance = self._random
        u = chance.randrange(300) if chance.random() < 0.2 else chance.randrange(100_000)
        return {"id": number, "owner": self.number, "n": chance.randrange(10), "u": u}

    def _did(self, table: str, changes: dict[int, Row | None]) -> None:
        for number, row in changes.items():
            if row is None:
                del self._rows[table][number]
            else:
                self._rows[table][number] = row

    async def _write_alone(self) -> None:
        table = self._random.choice(_TABLES)
        statement, changes = self._write(table)
        # Alone, a statement waits for changes of the schema and never fails for them.
        if await self._try(statement, allowed={*_TIRED, "23505"}):
            self._did(table, changes)

    async def _write_in_block(self) -> None:
        before = {table: dict(rows) for table, rows in self._rows.items()}
        repeatable = self._random.random() < 0.3
        level = "REPEATABLE READ" if repeatable else "READ COMMITTED"
        # A snapshot can be overtaken by a change of the schema, or by others' writes.
        overtaken = {"40001"} if repeatable else set()
        done = await self._try(f"BEGIN ISOLATION LEVEL {level}", allowed=set())
        for _ in range(self._random.randrange(1, 5)):
            table = self._random.choice(_TABLES)
            if self._random.random() < 0.2:
                done = done and await self._lock(table, overtaken)
            statement, changes = self._write(table)
            done = done and await self._try(statement, allowed={*_TIRED, "23505", *overtaken})
            if not done:
                break
            self._did(table, changes)
            if self._random.random() < 0.3:
                done = await self._read_own()
        if done and self._random.random() < 0.8:
            done = await self._try("COMMIT", allowed={*_TIRED, *overtaken})
        else:
            await self._rollback()
            done = False
        if not done:
            self._rows = before

    async def _lock(self, table: str, overtaken: set[str]) -> bool:
        mode = self._random.choice(
            ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
        )
        nowait = self._random.choice(("", " NOWAIT"))
        statement = f"LOCK TABLE {table} IN {mode} MODE{nowait}"
        return await self._try(statement, allowed={*_TIRED, *overtaken})

    async def _cancelled(self) -> None:
        table = self._random.choice(_TABLES)
        statement, changes = self._write(table)
        trying = spawn(self._try(statement, allowed={*_TIRED, "23505"}), name="to be cancelled")
        await asyncio.sleep(self._random.random() * 0.01)
        await self._connection.cancel_safe()
        if await trying:
            self._did(table, changes)

    # --- the schema ---

    async def _change_schema(self) -> None:
        chance = self._random
        table = chance.choice(_TABLES)
        column = f"c{chance.randrange(1, 6)}"
        index = f"{table}_{chance.choice(('n', 'owner_n', 'u'))}"
        columns = index.removeprefix(f"{table}_").replace("_", ", ")
        unique = "UNIQUE " if index.endswith("_u") else ""
        statement = chance.choice(
            (
                f"CREATE {unique}INDEX {index} ON {table} ({columns})",
                f"CREATE {unique}INDEX {index} ON {table} ({columns})",
                f"DROP INDEX {index}",
                f"ALTER TABLE {table} ADD COLUMN {column} int DEFAULT {_default(column)}",
                f"ALTER TABLE {table} DROP COLUMN {column}",
                "ALTER TABLE plain ADD CONSTRAINT plain_id PRIMARY KEY (id)",
                "ALTER TABLE plain DROP CONSTRAINT plain_id",
                f"CREATE TABLE scratch_{self.number} (x int)",
                f"DROP TABLE scratch_{chance.randrange(_SESSIONS)}",
                "ANALYZE",
            )
        )
        if chance.random() < 0.7:
            await self._try(statement, allowed={*_TIRED, *_RACES})
            return
        await self._connection.execute("BEGIN")
        if await self._try(statement, allowed={*_TIRED, *_RACES}):
            await asyncio.sleep(chance.random() * 0.02)
            if chance.random() < 0.5:
                await self._try("COMMIT", allowed=_TIRED)
                return
        await self._rollback()

    # --- reading ---

    async def _read_own(self) -> bool:
        """Compare what there is with what should be; False where the reading was refused."""
        for table in _TABLES:
            where = self._random.choice(
                ("", " AND n >= 0", " AND n IN (0, 1, 2, 3, 4, 5, 6, 7, 8)")
            )
            condition = f"owner = {self.number}{where}"
            rows = await self._rows_of(f"SELECT * FROM {table} WHERE {condition}")
            if rows is None:
                return False
            wanted = {
                number: row
                for number, row in self._rows[table].items()
                if "IN" not in where or row["n"] <= 8
            }
            found = {row["id"]: row for row in rows}
            assert len(found) == len(rows), (table, "a row twice", rows)
            assert found.keys() == wanted.keys(), (table, condition)
            for number, row in found.items():
                own = wanted[number]
                shown = {name: own[name] if name in own else _default(name) for name in row}
                assert row == shown, (table, condition)
        return True

    async def _compare(self) -> None:
        """In one snapshot: indexes against scans, keys against uniqueness."""
        await self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        for table in _TABLES:
            every = await self._rows_of(f"SELECT id, n, u FROM {table} WHERE id + 0 >= 0")
            if every is None:
                break
            n = self._random.randrange(10)
            by_index = await self._rows_of(f"SELECT id, n, u FROM {table} WHERE n = {n}") or []
            want = sorted((row["id"], row["u"]) for row in every if row["n"] == n)
            assert sorted((row["id"], row["u"]) for row in by_index) == want, (table, n)
            if every:
                one = self._random.choice(every)
                found = await self._rows_of(f"SELECT id FROM {table} WHERE u = {one['u']}") or []
                same = sorted(row["id"] for row in every if row["u"] == one["u"])
                assert sorted(row["id"] for row in found) == same, (table, one)
            defined = await self._rows_of(
                f"SELECT indexname FROM pg_indexes WHERE tablename = '{table}'"
            )
            names = {str(row["indexname"]) for row in defined or []}
            for name, column in ((f"{table}_u", "u"), ("plain_id", "id"), ("keyed_pkey", "id")):
                if name in names:
                    seen = Counter(row[column] for row in every)
                    assert max(seen.values(), default=0) <= 1, (table, name)
        await self._connection.execute("COMMIT")

    async def _rollback(self) -> None:
        await self._connection.execute("ROLLBACK")
        self._told("ROLLBACK", "done")

    async def _rows_of(self, query: str) -> list[Row] | None:
        """The rows; None where its tables could not be locked."""
        cursor = self._connection.cursor(row_factory=psycopg.rows.dict_row)
        try:
            await cursor.execute(query, prepare=False)
        except psycopg.Error as error:
            self._note(error, query, _TIRED)
            return None
        return await cursor.fetchall()

    async def _try(self, statement: str, *, allowed: set[str]) -> bool:
        """Whether it succeeded; any error but those `allowed` is the walk's."""
        try:
            await self._connection.execute(statement)
        except psycopg.Error as error:
            self._note(error, statement, allowed)
            return False
        self._told(statement, "done")
        return True

    def _told(self, statement: str, answer: str) -> None:
        self._history.append(f"{self.number} {answer}: {statement}")

    def _note(self, error: psycopg.Error, statement: str, allowed: Set[str]) -> None:
        code = error.sqlstate or "none"
        self._told(statement, code)
        if code not in allowed:
            raise AssertionError(f"{statement}: {code} {error}") from error


async def _walk(seed: int, history: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            storage = await stack.enter_async_context(
                storage_running(Path(folder), engine="memory")
            )
            pods = [await stack.enter_async_context(pod_on(storage)) for _ in range(_PODS)]
            async with await psycopg.AsyncConnection.connect(
                pods[0].dsn, autocommit=True
            ) as connection:
                columns = "owner int, n int, u int"
                await connection.execute(f"CREATE TABLE keyed (id int PRIMARY KEY, {columns})")
                await connection.execute(f"CREATE TABLE plain (id int, {columns})")
            walkers = [
                Walker(number, pods[number % _PODS].dsn, seed, history)
                for number in range(_SESSIONS)
            ]
            async with asyncio.timeout(240), asyncio.TaskGroup() as group:
                for walker in walkers:
                    group.create_task(walker.walk())


def _seeds() -> list[int]:
    given = os.environ.get("DORMOUSE_SEED")
    return [int(given)] if given else [1, 2, 3]


@pytest.mark.parametrize("seed", _seeds())
def test_walk(seed: int) -> None:
    history: list[str] = []
    try:
        uvloop.run(_walk(seed, history))
    except BaseException:
        print(f"seed {seed}", *history, sep="\n")
        raise
    # A walk on which nothing happens proves nothing.
    assert sum(" done: " in each for each in history) > 100
