"""Golden scripts: what PostgreSQL 15 answered (see regenerate.py), statement by statement."""

import asyncio
from pathlib import Path

import pytest

from tests.sqlnode.execute.regenerate import GOLDEN
from tests.sqlnode.execute.schema import TABLES
from tests.support.sqlrig import Rig, statements

SCRIPTS = sorted(path for path in GOLDEN.glob("*.sql") if path.name != "schema.sql")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("memory", [64 << 20, 2000], ids=["in memory", "spilling"])
def test_golden(script: Path, memory: int) -> None:
    wanted = statements(script.read_text())

    async def whole() -> str:
        rig = Rig(TABLES)
        rig.memory_bytes_max = memory
        return "\n".join([f"{statement};\n{await rig.shown(statement)}\n" for statement in wanted])

    assert asyncio.run(whole()) == script.with_suffix(".out").read_text()
