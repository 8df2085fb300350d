"""Golden scripts: what two sessions of one PostgreSQL 15 were answered, two pods answer."""

import asyncio
import tempfile
from pathlib import Path

import pytest
import uvloop

from tests.sqlnode.two_pods.runner import Player, scripts
from tests.support.kv import storage_running
from tests.support.pod import pod_on


async def answers(text: str, *, extended: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            storage_running(Path(folder), engine="memory") as storage,
            pod_on(storage) as a,
            pod_on(storage) as b,
        ):
            return await Player([a.dsn, b.dsn], extended=extended).play(text)


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_golden(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    expected = script.with_suffix(".out").read_text(encoding="utf-8")

    async def both() -> tuple[str, str]:
        # At once, each on storage of its own: most of the time a script only waits.
        return await asyncio.gather(answers(text, extended=False), answers(text, extended=True))

    simple, extended = uvloop.run(both())
    assert simple == expected, "by the simple protocol"
    assert extended == expected, "by the extended protocol"


def test_there_are_scripts() -> None:
    assert len(scripts()) >= 10
