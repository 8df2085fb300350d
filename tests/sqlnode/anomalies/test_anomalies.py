"""Each named anomaly at each isolation level: as on PostgreSQL 15, or with our own answer.

READ COMMITTED and REPEATABLE READ are the same to the letter. SERIALIZABLE is refused at the commit
(PostgreSQL: sometimes before), and for any write to what was read (PostgreSQL: only where two such
dependencies follow each other). `name.serializable.ours` is what Dormouse answers there.
"""

import tempfile
from pathlib import Path

import pytest
import uvloop

from tests.sqlnode.anomalies.runner import LEVELS, play, scripts
from tests.support.kv import storage_running
from tests.support.pod import pod_on

REFUSED = "ERROR 40001"
PAGES = {"own_rows"}
"""PostgreSQL refuses these though nothing is wrong: it remembers pages and whole small tables."""


def answers(script: Path, level: str, *, extended: bool) -> str:
    async def run() -> str:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory") as storage,
                pod_on(storage) as a,
                pod_on(storage) as b,
            ):
                return await play([a.dsn, b.dsn], script, level, extended=extended)

    return uvloop.run(run())


@pytest.mark.parametrize(
    ("level", "extended"),
    [
        ("read_committed", False),
        ("repeatable_read", True),
        ("serializable", False),
        ("serializable", True),
    ],
)
@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_anomaly(script: Path, level: str, extended: bool) -> None:
    expected = script.with_suffix(f".{level}.out").read_text(encoding="utf-8")
    own = script.with_suffix(f".{level}.ours")
    if own.exists():
        postgres, expected = expected, own.read_text(encoding="utf-8")
        assert level == "serializable"
        assert expected != postgres
        assert REFUSED in expected or script.stem in PAGES
    assert answers(script, level, extended=extended) == expected


def test_what_postgresql_refuses_is_refused() -> None:
    for script in scripts():
        for level in LEVELS:
            postgres = script.with_suffix(f".{level}.out").read_text(encoding="utf-8")
            own = script.with_suffix(f".{level}.ours")
            if own.exists() and REFUSED in postgres:
                assert REFUSED in own.read_text(encoding="utf-8") or script.stem in PAGES


def test_there_are_scripts() -> None:
    assert len(scripts()) >= 20
