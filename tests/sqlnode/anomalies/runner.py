"""Named anomalies, each played at each isolation level.

python -m tests.sqlnode.anomalies.runner DSN    records what a PostgreSQL 15 answers

A script has `$LEVEL` where the level stands. `name.level.out` is PostgreSQL's answer; where
Dormouse answers otherwise, `name.level.ours` has it.
"""

import asyncio
import sys
from pathlib import Path

from tests.sqlnode.two_pods.runner import Player, record_with

FOLDER = Path(__file__).parent / "scripts"
LEVELS = {
    "read_committed": "READ COMMITTED",
    "repeatable_read": "REPEATABLE READ",
    "serializable": "SERIALIZABLE",
}


def scripts() -> list[Path]:
    """All scripts."""
    return sorted(FOLDER.glob("*.sql"))


def at_level(script: Path, level: str) -> str:
    """The script's text at a level."""
    return script.read_text(encoding="utf-8").replace("$LEVEL", LEVELS[level])


async def play(dsns: list[str], script: Path, level: str, *, extended: bool) -> str:
    """What the sessions are answered."""
    return await Player(dsns, extended=extended).play(at_level(script, level))


async def record(dsn: str) -> None:
    """Write PostgreSQL's answers next to every script."""
    for script in scripts():
        for level in LEVELS:
            answers = await record_with(dsn, at_level(script, level))
            script.with_suffix(f".{level}.out").write_text(answers, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
