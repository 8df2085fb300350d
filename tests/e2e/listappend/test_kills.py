"""List appends over two pods of a tenant while processes die, streams break and the disk fails."""

from pathlib import Path

import pytest

from tests.e2e.listappend.checker import Fate, Level, problems
from tests.e2e.listappend.load import measure
from tests.e2e.listappend.nemeses import KILLS, OTHERS, plan

pytestmark = pytest.mark.e2e

_PLANNED = {
    Level.READ_COMMITTED: ["kill storage", "disk full", "deaf", "stall pod", "kill pod"],
    Level.REPEATABLE_READ: ["sync fails", "cut", "disk slow", "kill proxy", "slow stream"],
    Level.SERIALIZABLE: ["kill pod", "disk read-only", "deaf", "stall storage", "kill storage"],
}


@pytest.mark.parametrize("level", Level)
def test_nothing_is_lost_and_no_anomaly_shows(tmp_path: Path, level: Level) -> None:
    load = measure(tmp_path, level, planned=_PLANNED[level], seed=1, between=25)
    assert sum(each.fate is Fate.COMMITTED for each in load.history) > 150


def test_a_plan_is_its_seeds_and_holds_everything_in_the_end() -> None:
    planned = plan(kills=200, seed=5)
    assert planned == plan(kills=200, seed=5) != plan(kills=200, seed=6)
    assert set(planned) == KILLS.keys() | OTHERS.keys()
    assert sum(each in KILLS for each in planned) == 200


def test_a_weaker_level_shows_what_a_stronger_one_forbids(tmp_path: Path) -> None:
    load = measure(tmp_path, Level.REPEATABLE_READ, planned=[], seed=3, between=400)
    assert any(each.startswith("G2") for each in problems(load.history, Level.SERIALIZABLE))
