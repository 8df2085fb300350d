"""Successors of roles: in turn, beside a draining or retiring predecessor, and those that fail."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from dormouse.cli import keeper
from dormouse.cli.keeper import RollFailed
from dormouse.cli.spec import Handover, State
from dormouse.cli.supervisor import Supervisor
from tests.cli.support import Changes, behave, run_roles, spec, trace


def test_in_turn_the_successor_stands_by_before_the_predecessor_ends(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _changes: Changes) -> None:
        await supervisor.start()
        a, before = supervisor.statuses["a"], supervisor.statuses["a"].pid
        await supervisor.roll("a")
        assert (a.state, a.restarts, a.generation, a.retiring) == (State.RUNNING, 0, 2, [])
        assert a.pid != before

    lines = run_roles(tmp_path, [spec(tmp_path, "a")], body)
    assert lines == ["a started", "a stands by", "a ended", "a started", "a ended"]


def test_a_successor_that_does_not_stand_by_changes_nothing(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, changes: Changes) -> None:
        await supervisor.start()
        a, before = supervisor.statuses["a"], supervisor.statuses["a"].pid
        behave(tmp_path, "a", "die")
        with pytest.raises(RollFailed, match=r"ended before it answered.*[\s\S]*no reason"):
            await supervisor.roll("a")
        assert (a.state, a.pid, a.restarts) == (State.RUNNING, before, 0)
        # The one that runs on is kept as before.
        behave(tmp_path, "a", "serve")
        os.kill(before or 0, signal.SIGKILL)
        await changes.until(lambda: a.state is State.RUNNING and a.pid != before)
        assert a.restarts == 1

    run_roles(tmp_path, [spec(tmp_path, "a")], body)


def test_a_successor_that_fails_late_is_started_again(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, changes: Changes) -> None:
        await supervisor.start()
        a = supervisor.statuses["a"]
        behave(tmp_path, "a", "fail")
        with pytest.raises(RollFailed, match="the old one had ended"):
            await supervisor.roll("a")
        behave(tmp_path, "a", "serve")
        await changes.until(lambda: a.state is State.RUNNING and a.restarts >= 1)

    run_roles(tmp_path, [spec(tmp_path, "a")], body)


def _beside(folder: Path, handover: Handover, behaviour: str = "serve") -> list[str]:
    name = "a.2"

    async def body(supervisor: Supervisor, changes: Changes) -> None:
        await supervisor.start()
        a, before = supervisor.statuses["a"], supervisor.statuses["a"].pid
        await supervisor.roll("a")
        assert a.state is State.RUNNING
        assert a.report["name"] == name
        assert [(each.pid, each.generation) for each in a.retiring] == [(before, 1)]
        assert a.document()["retiring"][0]["version"] == "1"
        (folder / "trace.done").touch()
        if handover is Handover.RETIRING:
            os.kill(before or 0, signal.SIGINT)  # somebody else's business
        await changes.until(lambda: not a.retiring)
        assert a.restarts == 0

    role = spec(folder, "a", handover=handover, is_numbered=True, behaviour=behaviour)
    return run_roles(folder, [role], body)


def test_a_predecessor_drains_once_its_successor_answers(tmp_path: Path) -> None:
    lines = _beside(tmp_path, Handover.DRAINING, "drain")
    assert lines == ["a.1 started", "a.2 started", "a.1 drains", "a.1 ended", "a.2 ended"]


def test_a_predecessor_retires_when_somebody_else_says_so(tmp_path: Path) -> None:
    lines = _beside(tmp_path, Handover.RETIRING)
    assert lines == ["a.1 started", "a.2 started", "a.1 ended", "a.2 ended"]


@pytest.mark.parametrize("behaviour", ["die", "hang"])
def test_a_predecessor_is_not_told_of_a_successor_that_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    async def body(supervisor: Supervisor, _changes: Changes) -> None:
        await supervisor.start()
        a, before = supervisor.statuses["a"], supervisor.statuses["a"].pid
        behave(tmp_path, "a", behaviour)
        monkeypatch.setattr(keeper, "START_SECONDS_MAX", 0.5)
        with pytest.raises(RollFailed):
            await supervisor.roll("a")
        assert (a.state, a.pid, a.retiring) == (State.RUNNING, before, [])

    role = spec(tmp_path, "a", handover=Handover.DRAINING, behaviour="drain")
    assert "a drains" not in run_roles(tmp_path, [role], body)


def test_a_role_that_dies_after_a_roll_comes_back(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, changes: Changes) -> None:
        await supervisor.start()
        a = supervisor.statuses["a"]
        await supervisor.roll("a")
        second = a.pid
        os.kill(second or 0, signal.SIGKILL)
        await changes.until(lambda: a.state is State.RUNNING and a.pid != second)
        assert (a.generation, a.restarts, len(a.retiring)) == (3, 1, 1)

    role = spec(tmp_path, "a", handover=Handover.DRAINING, is_numbered=True, behaviour="drain")
    run_roles(tmp_path, [role], body)


def test_every_generation_ends_with_the_supervisor(tmp_path: Path) -> None:
    pids: list[int] = []

    async def body(supervisor: Supervisor, _changes: Changes) -> None:
        await supervisor.start()
        a = supervisor.statuses["a"]
        for _ in range(keeper.RETIRING_MAX):
            await supervisor.roll("a")
        with pytest.raises(RollFailed, match="have not ended yet"):
            await supervisor.roll("a")
        pids.extend([each.pid for each in a.retiring] + [a.pid or 0])

    role = spec(tmp_path, "a", handover=Handover.RETIRING)
    run_roles(tmp_path, [role], body)
    assert len(set(pids)) == keeper.RETIRING_MAX + 1
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert trace(tmp_path).count("a ended") == len(pids)


def test_a_role_that_is_down_is_not_rolled(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _changes: Changes) -> None:
        with pytest.raises(RollFailed, match="does not run"):
            await supervisor.roll("a")

    run_roles(tmp_path, [spec(tmp_path, "a")], body)
