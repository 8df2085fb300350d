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
