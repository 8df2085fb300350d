"""Who goes first, for how long, and where nobody may."""

import os
import subprocess
import sys
import threading

import pytest

from bench.priority import giving_way, going_first

_SAYS = "import os; print(os.sched_getscheduler(0))"


def test_only_who_is_there_goes_first_and_not_for_longer() -> None:
    before = os.sched_getscheduler(0)
    made: list[int] = []
    with going_first() as granted:
        here = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        thread = threading.Thread(target=lambda: made.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
        child = subprocess.run([sys.executable, "-c", _SAYS], capture_output=True, check=True)
        made.append(int(child.stdout))
    assert here == (os.SCHED_RR if granted else before)
    assert made == [before, before]
    assert os.sched_getscheduler(0) == before


def test_who_gives_way_does_so_with_all_it_makes() -> None:
    told: list[int] = []

    def gives_way() -> None:
        giving_way()
        child = subprocess.run([sys.executable, "-c", _SAYS], capture_output=True, check=True)
        told.extend([os.sched_getscheduler(0), int(child.stdout)])

    before = os.sched_getscheduler(0)
    thread = threading.Thread(target=gives_way)
    thread.start()
    thread.join()
    assert told == [os.SCHED_IDLE, os.SCHED_IDLE]
    assert os.sched_getscheduler(0) == before


def test_without_the_privilege_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: int, _policy: int, _param: os.sched_param) -> None:
        raise PermissionError

    before = os.sched_getscheduler(0)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with going_first() as granted:
        assert not granted
        assert os.sched_getscheduler(0) == before
