"""Sorts, joins, groups and WITH queries beyond their memory give the same rows."""

import asyncio
import random
import tempfile
from typing import Any

import pytest

from tests.sqlnode.execute.schema import TABLES
from tests.support.memory_transaction import MemoryTransaction
from tests.support.sqlrig import Rig

COUNT = 4000
STATEMENTS = [
    "SELECT x, y FROM loose ORDER BY y DESC, x",
    "SELECT x % 2999 AS k, count(*), sum(x), min(y) FROM loose GROUP BY x % 2999",
    "SELECT x, count(*) FROM loose GROUP BY x",
    "SELECT DISTINCT y FROM loose",
    "SELECT a.x, b.y FROM loose a JOIN loose b ON a.x = b.x",
    "SELECT a.x, b.y FROM loose a FULL JOIN loose b ON a.x = b.x + 2000 AND b.ok",
    "SELECT a.x FROM loose a LEFT JOIN loose b ON a.x = b.x + 2000 WHERE b.x IS NULL",
    "SELECT x FROM loose WHERE x IN (SELECT x + 1 FROM loose)",
    "SELECT x FROM loose INTERSECT ALL SELECT x * 2 FROM loose",
    "SELECT y FROM loose EXCEPT SELECT y FROM loose WHERE ok",
    (
        "WITH w AS MATERIALIZED (SELECT * FROM loose) SELECT count(*) FROM w a, (SELECT 1 FROM w) b"
        " WHERE a.x < 3"
    ),
]


@pytest.fixture(scope="module")
def rig() -> Rig:
    made = Rig(TABLES, page_rows=1000)
    chance = random.Random(7)
    rows = ", ".join(
        f"({chance.randrange(3000)}, 'text {chance.randrange(500)}', {chance.random() < 0.5})"
        for _ in range(COUNT)
    )
    asyncio.run(made.run(f"INSERT INTO loose VALUES {rows}"))
    return made


@pytest.mark.parametrize("sql", STATEMENTS)
def test_spilling_changes_no_answer(rig: Rig, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    original = tempfile.TemporaryFile

    def counted(**more: Any) -> Any:
        made.append(original(**more))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", counted)
    rig.memory_bytes_max = 64 << 20
    plenty = asyncio.run(rig.run(sql))
    assert not made
    rig.memory_bytes_max = 20_000
    tight = asyncio.run(rig.run(sql))
    assert made, "nothing was spilled"
    if "ORDER BY" in sql:
        assert tight == plenty
    else:
        assert sorted(tight, key=repr) == sorted(plenty, key=repr)


def test_limit_stops_the_scan(rig: Rig) -> None:
    prepared = rig.prepare("SELECT x FROM loose LIMIT 5")
    read = 0

    class Counting(MemoryTransaction):
        async def scan(self, *args: Any, **options: Any) -> Any:
            nonlocal read
            async for page in super().scan(*args, **options):
                read += len(page.values)
                yield page

    transaction = Counting(rig.store, page_rows=10)
    assert len(asyncio.run(rig.run(prepared, transaction=transaction))) == 5
    assert read == 10
