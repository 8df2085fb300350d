"""Golden scripts: what PostgreSQL 15 answered, we answer, by both protocols."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from tests.sqlnode.session.golden_runner import play, scripts
from tests.support.pod import pod_running


def answers(script: Path, *, extended: bool) -> str:
    text = script.read_text(encoding="utf-8")

    async def run() -> str:
        with tempfile.TemporaryDirectory() as folder:
            async with pod_running(Path(folder)) as pod:
                return await asyncio.to_thread(play, pod.dsn, text, extended=extended)

    return asyncio.run(run())


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_golden(script: Path, extended: bool) -> None:
    expected = script.with_suffix(".out").read_text(encoding="utf-8")
    assert answers(script, extended=extended) == expected
