"""List appends over two pods of a tenant while processes die, streams break and the disk fails."""

from pathlib import Path

import pytest

from tests.e2e.listappend.checker import Level, problems
from tests.e2e.listappend.load import measure
from tests.e2e.listappend.nemeses import KILLS, OTHERS, Fault, Moment, plan

pytestmark = pytest.mark.e2e

_PLANNED = {
    Level.READ_COMMITTED: [
        Fault("kill storage", Moment.ROLLING),
        Fault("disk full", Moment.STAGED),
        Fault("deaf"),
        Fault("stall pod"),
        Fault("kill pod", Moment.STAGED),
    ],
    Level.REPEATABLE_READ: [
        Fault("sync fails", Moment.ROLLING),
        Fault("cut", Moment.STAGED),
        Fault("disk slow"),
        Fault("kill proxy"),
        Fault("slow stream"),
    ],
    Level.SERIALIZABLE: [
        Fault("kill pod", Moment.ROLLING),
        Fault("disk read-only", Moment.ROLLING),
        Fault("stall storage"),
        Fault("kill storage", Moment.STAGED),
    ],
}


@pytest.mark.parametrize("level", Level)
def test_nothing_is_lost_and_no_anomaly_shows(tmp_path: Path, level: Level) -> None:
    load = measure(tmp_path, level, planned=_PLANNED[level], seed=1, between=10, large=2)
    assert load.committed() >= 50


def test_a_plan_is_its_seeds_and_holds_everything_in_the_end() -> None:
    planned = plan(kills=200, seed=5)
    assert planned == plan(kills=200, seed=5) != plan(kills=200, seed=6)
    assert {each.what for each in planned} == KILLS.keys() | OTHERS.keys()
    assert {each.moment for each in planned} == set(Moment)
    assert sum(each.what in KILLS for each in planned) == 200


def test_a_weaker_level_shows_what_a_stronger_one_forbids(tmp_path: Path) -> None:
    load = measure(tmp_path, Level.REPEATABLE_READ, planned=[], seed=3, between=120)
    assert any(each.startswith("G2") for each in problems(load.history, Level.SERIALIZABLE))
