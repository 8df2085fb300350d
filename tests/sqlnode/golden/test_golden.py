"""Golden scripts of expressions, queries and tables: what PostgreSQL 15 answered (record.py)."""

from pathlib import Path

import pytest

from tests.sqlnode.golden.record import scripts
from tests.sqlnode.session.test_golden import answers


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_golden(script: Path, extended: bool) -> None:
    expected = script.with_suffix(".out").read_text(encoding="utf-8")
    assert answers(script, extended=extended) == expected
