"""What an application on asyncpg does: binary parameters, prepared statements, a pool, COPY."""

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import asyncpg

Seen = dict[str, Any]


def run(url: str) -> Seen:
    """Run the script against `url` and answer what the application saw, as JSON values."""
    return asyncio.run(_run(url))


async def _run(url: str) -> Seen:
    seen: Seen = {}
    connection = await asyncpg.connect(url)
    try:
        await _types(connection, seen)
        await _transactions(connection, seen)
        await _errors(connection, seen)
        await _cursor_and_copy(connection, seen)
        await connection.execute("DROP TABLE asyncpg_items")
    finally:
        await connection.close()
    async with asyncpg.create_pool(url, min_size=1, max_size=3) as pool:
        answers = [pool.fetchval("SELECT $1::int + 1", n) for n in range(6)]
        seen["pool"] = await asyncio.gather(*answers)
    return seen


async def _types(connection: Any, seen: Seen) -> None:
    await connection.execute("DROP TABLE IF EXISTS asyncpg_items")
    await connection.execute(
        "CREATE TABLE asyncpg_items (id int PRIMARY KEY, name text, price numeric, day date,"
        " at timestamptz, local timestamp, yes bool, big bigint, tag char(4))"
    )
    row = (
        1,
        "naïve ☃",
        Decimal("-12.5000"),
        date(1969, 7, 20),
        datetime(2024, 5, 6, 7, 8, 9, 123456, UTC),
        datetime(1999, 12, 31, 23, 59, 59),  # noqa: DTZ001 - a timestamp without time zone
        False,
        -(2**63),
        "ab",
    )
    insert = "INSERT INTO asyncpg_items VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    seen["status"] = await connection.execute(insert, *row)
    seen["back"] = [
        str(value) for value in await connection.fetchrow("SELECT * FROM asyncpg_items")
    ]
    await connection.executemany(
        "INSERT INTO asyncpg_items (id, name) VALUES ($1, $2)",
        [(n, f"row {n}") for n in range(2, 12)],
    )
    seen["any"] = await connection.fetchval(
        "SELECT count(*) FROM asyncpg_items WHERE id = ANY($1::int[])", [1, 3, 5, 99]
    )
    statement = await connection.prepare("SELECT name FROM asyncpg_items WHERE id = $1")
    seen["prepared"] = [await statement.fetchval(n) for n in (2, 3, 99)]
    seen["parameters"] = [parameter.name for parameter in statement.get_parameters()]
    seen["attributes"] = [(a.name, a.type.name) for a in statement.get_attributes()]


async def _transactions(connection: Any, seen: Seen) -> None:
    async def count() -> int:
        return int(await connection.fetchval("SELECT count(*) FROM asyncpg_items"))

    outer = connection.transaction()
    await outer.start()
    await connection.execute("DELETE FROM asyncpg_items WHERE id > 5")
    inner = connection.transaction()
    await inner.start()
    await connection.execute("DELETE FROM asyncpg_items")
    seen["counts"] = [await count()]
    await inner.rollback()
    seen["counts"].append(await count())
    await outer.rollback()
    seen["counts"].append(await count())
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        try:
            await connection.execute("DELETE FROM asyncpg_items")
        except asyncpg.PostgresError as error:
            seen["read only"] = error.sqlstate


async def _errors(connection: Any, seen: Seen) -> None:
    seen["errors"] = []
    for statement, arguments in (
        ("INSERT INTO asyncpg_items VALUES ($1)", [1]),
        ("SELECT $1::int / 0", [1]),
        ("SELECT * FROM nowhere", []),
        ("SELECT $1", []),
    ):
        try:
            await connection.fetch(statement, *arguments)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            seen["errors"].append([type(error).__name__, getattr(error, "sqlstate", None)])


async def _cursor_and_copy(connection: Any, seen: Seen) -> None:
    async with connection.transaction():
        ids = "SELECT id FROM asyncpg_items ORDER BY id"
        seen["cursor"] = [row["id"] async for row in connection.cursor(ids, prefetch=3)]
    seen["copy"] = await connection.copy_records_to_table(
        "asyncpg_items",
        records=[(n, None, Decimal(n) / 4) for n in range(100, 120)],
        columns=["id", "name", "price"],
    )
    total = await connection.fetchval("SELECT sum(price) FROM asyncpg_items WHERE id >= 100")
    seen["copied"] = str(total)
