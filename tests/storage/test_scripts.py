"""Runs the golden scripts (see `tests.storage.scripting`)."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.storage.scripting import TENANT, Script

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


async def played(text: str) -> str:
    script = Script()
    await script.open()
    blocks = []
    for block in text.strip("\n").split("\n\n"):
        lines = block.split("\n")
        commands = lines[: lines.index("---")] if "---" in lines else lines
        said = await script.run([line for line in commands if not line.startswith("#")])
        blocks.append("\n".join([*commands, "---", *said]))
    await script.close()
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    text = path.read_text()
    answered = asyncio.run(played(text))
    if os.environ.get("DORMOUSE_REWRITE"):
        path.write_text(answered)
    assert answered == text or os.environ.get("DORMOUSE_REWRITE")


def test_what_is_given_back_leaves_nothing_behind() -> None:
    async def again_and_again() -> None:
        script = Script()
        await script.open()
        for _ in range(3):
            await script.run(["a: lock k l savepoint=1 tentative", "a: forgo"])
        [transaction] = script.shard.tenants.open(TENANT).transactions.values()
        assert (transaction.undo, transaction.tentative) == ([], [])
        assert script.shard.locks.total == 0
        await script.close()

    asyncio.run(again_and_again())


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 10
