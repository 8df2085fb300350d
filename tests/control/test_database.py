"""Transactions of the registry that end early."""

import asyncio
from pathlib import Path

import pytest

from control.database import Database, open_database

_TABLE = "CREATE TABLE t (a INTEGER PRIMARY KEY)"


async def _insert(database: Database, value: int) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO t VALUES (?)", (value,))


async def _rows(database: Database) -> set[int]:
    return {value for (value,) in await database.read("SELECT a FROM t")}


@pytest.mark.parametrize("turns", range(12))
def test_one_that_is_cancelled_anywhere_leaves_the_writer_fit_for_use(
    tmp_path: Path, turns: int
) -> None:
    async def run() -> None:
        async with open_database(tmp_path / "registry.sqlite") as database:
            await database.write(_TABLE)
            task = asyncio.get_running_loop().create_task(_insert(database, 1))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await _insert(database, 2)
            rows = await _rows(database)
            assert rows in ({2}, {1, 2})
            assert rows == {1, 2} or task.cancelled()

    asyncio.run(run())


def test_one_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async def fail(database: Database) -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO t VALUES (1)")
            raise ValueError("so")

    async def run() -> None:
        async with open_database(tmp_path / "registry.sqlite") as database:
            await database.write(_TABLE)
            with pytest.raises(ValueError, match="so"):
                await fail(database)
            await _insert(database, 2)
            assert await _rows(database) == {2}

    asyncio.run(run())
