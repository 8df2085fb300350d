"""List appends over two pods of a tenant while storage, pods and the proxy are killed."""

from pathlib import Path

import pytest

from tests.e2e.listappend.checker import Fate, Level, problems
from tests.e2e.listappend.load import measure

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("level", Level)
def test_kills_lose_nothing_and_show_no_anomaly(tmp_path: Path, level: Level) -> None:
    load = measure(tmp_path, level, kills=4, seed=1, between=40)
    assert sum(each.fate is Fate.COMMITTED for each in load.history) > 160


def test_a_weaker_level_shows_what_a_stronger_one_forbids(tmp_path: Path) -> None:
    load = measure(tmp_path, Level.REPEATABLE_READ, kills=0, seed=3, between=400)
    assert any(each.startswith("G2") for each in problems(load.history, Level.SERIALIZABLE))
