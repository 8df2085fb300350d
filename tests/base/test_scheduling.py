"""What the kernel says of threads that have asked for something."""

import os
import platform
import threading
from collections.abc import Callable

import pytest

from dormouse.base import scheduling
from tests.support.scheduled import Found, found


def in_thread(body: Callable[[], Found]) -> Found:
    """What it finds in a thread of its own."""
    told: list[Found] = []
    thread = threading.Thread(target=lambda: told.append(body()))
    thread.start()
    thread.join()
    return told[0]


def test_who_answers_has_short_slices_and_so_has_what_it_makes() -> None:
    def body() -> Found:
        assert scheduling.answer()
        of_thread = in_thread(found)
        assert of_thread == found()
        return of_thread

    before = found()
    answering = in_thread(body)
    assert answering[:2] == before[:2]
    assert answering.slice <= before.slice
    assert found() == before


def test_who_works_gives_way_and_nobody_else_does() -> None:
    def body() -> Found:
        assert scheduling.answer()
        assert in_thread(lambda: (scheduling.work(nicer=2), found())[1]).nice == before.nice + 2
        assert found().policy == os.SCHED_OTHER
        assert scheduling.work()
        return found()

    before = found()
    working = in_thread(body)
    assert (working.policy, working.nice) == (os.SCHED_BATCH, before.nice)
    assert working.slice >= before.slice


def test_urgent_work_has_long_slices_and_pushes_others_aside() -> None:
    def body() -> Found:
        assert scheduling.answer()
        short = found().slice
        assert scheduling.work(urgent=True)
        assert found().slice > short or not short
        return found()

    assert in_thread(body).policy == os.SCHED_OTHER


@pytest.fixture
def _own_core_of_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "_own_core", set())
    monkeypatch.setattr(scheduling, "_cores", set())


@pytest.mark.usefixtures("_own_core_of_a_test")
def test_who_has_a_core_of_its_own_shares_it_with_no_urgent_work() -> None:
    def body() -> Found:
        has_own = scheduling.reserve_core()
        assert has_own == (len(before.cores) > 1)
        assert in_thread(found).cores == found().cores == before.cores
        assert scheduling.stay() == has_own
        of_thread = in_thread(found)
        assert of_thread.cores == found().cores
        assert in_thread(lambda: (scheduling.work(), found())[1]).cores == before.cores
        urgent = in_thread(lambda: (scheduling.work(urgent=True), found())[1]).cores
        assert urgent == (before.cores - found().cores if has_own else before.cores)
        return found()

    before = found()
    own = in_thread(body).cores
    assert len(own) == 1
    assert own <= before.cores
    assert found() == before


@pytest.mark.usefixtures("_own_core_of_a_test")
def test_where_there_is_one_core_or_none_is_granted_nobody_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_thread: int, _cores: set[int]) -> None:
        raise PermissionError

    before = found()
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_setaffinity", refuse)
        scheduling.reserve_core()
        assert not scheduling.stay()
    scheduling._own_core.clear()

    def body() -> Found:
        os.sched_setaffinity(0, [min(before.cores)])
        assert not scheduling.reserve_core()
        assert not scheduling.stay()
        assert scheduling.work()
        return found()

    assert in_thread(body).cores == {min(before.cores)}
    assert found() == before


def test_niceness_has_an_end() -> None:
    assert in_thread(lambda: (scheduling.work(nicer=100), found())[1]).nice == 19


def test_where_the_system_grants_nothing_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    before = found()
    monkeypatch.setattr(scheduling, "_SCHED_SETATTR", {platform.machine(): 1 << 20})
    assert not scheduling.answer()
    assert not scheduling.work()
    monkeypatch.setattr(scheduling, "_SCHED_SETATTR", {})
    assert not scheduling.answer()
    assert found() == before
