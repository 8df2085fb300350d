"""Golden scripts: what two sessions of one PostgreSQL 15 were answered, two pods answer."""

import tempfile
from pathlib import Path

import pytest
import uvloop

from tests.sqlnode.two_pods.runner import Player, scripts
from tests.support.kv import storage_running
from tests.support.pod import pod_on


def answers(script: Path, *, extended: bool) -> str:
    text = script.read_text(encoding="utf-8")

    async def run() -> str:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory") as storage,
                pod_on(storage) as a,
                pod_on(storage) as b,
            ):
                player = Player([a.dsn, b.dsn], extended=extended)
                return await player.play(text)

    return uvloop.run(run())


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_golden(script: Path, extended: bool) -> None:
    expected = script.with_suffix(".out").read_text(encoding="utf-8")
    assert answers(script, extended=extended) == expected


def test_there_are_scripts() -> None:
    assert len(scripts()) >= 10
