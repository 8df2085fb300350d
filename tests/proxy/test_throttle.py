"""The throttle: what waits, what is forgotten, what is bounded; and a dumb twin that agrees."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.ids import TenantId
from proxy.throttle import (
    AT_ONCE,
    FIRST_WAIT,
    FORGET_SECONDS,
    FREE_FAILURES,
    WAIT_MAX,
    Key,
    Outcome,
    Throttle,
    wait_after,
)

ANN: Key = ("192.0.2.1", TenantId(17))
BOB: Key = ("192.0.2.2", TenantId(17))


def fail(throttle: Throttle, key: Key, now: float) -> None:
    assert throttle.begin(key, now) == 0.0
    throttle.end(key, Outcome.FAILED, now)


def test_the_wait_doubles_up_to_a_minute() -> None:
    assert [wait_after(n) for n in (0, 1, 2, 3, 4, 5, 9, 10, 11, 10_000)] == [
        0.0, 0.0, 0.0, 0.5, 1.0, 2.0, 32.0, 60.0, 60.0, 60.0,
    ]  # fmt: skip


def test_a_wait_is_over_when_it_is_over() -> None:
    throttle = Throttle()
    for _ in range(3):
        fail(throttle, ANN, 10.0)
    assert throttle.begin(ANN, 10.25) == 0.25
    assert throttle.begin(BOB, 10.25) == 0.0
    fail(throttle, ANN, 10.5)
    assert throttle.begin(ANN, 11.0) == 0.5


def test_a_success_forgets() -> None:
    throttle = Throttle()
    fail(throttle, ANN, 0.0)
    fail(throttle, ANN, 0.0)
    assert throttle.begin(ANN, 0.0) == 0.0
    throttle.end(ANN, Outcome.SUCCEEDED, 0.0)
    assert len(throttle) == 0
    fail(throttle, ANN, 0.0)
    fail(throttle, ANN, 0.0)
    assert throttle.begin(ANN, 0.0) == 0.0


def test_neither_is_no_failure() -> None:
    throttle = Throttle()
    for _ in range(100):
        assert throttle.begin(ANN, 0.0) == 0.0
        throttle.end(ANN, Outcome.NEITHER, 0.0)
    assert repr(throttle) == "<Throttle failed=0 under_way=0>"


def test_a_pool_that_opens_at_once_stands_in_line_and_guesses_at_once_count_in_full() -> None:
    throttle = Throttle()
    for _ in range(AT_ONCE):
        assert throttle.begin(ANN, 0.0) == 0.0
    assert throttle.begin(ANN, 0.0) is None
    assert throttle.begin(BOB, 0.0) == 0.0
    throttle.end(ANN, Outcome.SUCCEEDED, 0.0)
    assert throttle.begin(ANN, 0.0) == 0.0
    for _ in range(AT_ONCE):
        throttle.end(ANN, Outcome.FAILED, 0.0)
    assert throttle.begin(ANN, 0.0) == WAIT_MAX


def test_one_typing_error_does_not_keep_a_pool_out() -> None:
    throttle = Throttle()
    fail(throttle, ANN, 0.0)
    assert [throttle.begin(ANN, 0.0) for _ in range(AT_ONCE)] == [0.0] * AT_ONCE


def test_when_a_wait_is_over_one_may_try() -> None:
    throttle = Throttle()
    for _ in range(FREE_FAILURES):
        fail(throttle, ANN, 0.0)
    assert throttle.begin(ANN, FIRST_WAIT) == 0.0
    assert throttle.begin(ANN, FIRST_WAIT) == wait_after(FREE_FAILURES + 1)
    throttle.end(ANN, Outcome.NEITHER, FIRST_WAIT)
    assert throttle.begin(ANN, FIRST_WAIT) == 0.0


def test_the_table_is_bounded_and_the_oldest_goes() -> None:
    throttle = Throttle(entries_max=10)
    keys: list[Key] = [(f"192.0.2.{n}", TenantId(1)) for n in range(11)]
    for _ in range(FREE_FAILURES):
        fail(throttle, keys[1], 0.0)
    for key in keys:
        if key != keys[1]:
            fail(throttle, key, 0.0)
    assert len(throttle) == 10
    assert throttle.begin(keys[1], 0.0) == 0.0


class Twin:
    """Keeps every event and looks through all of them at each question."""

    def __init__(self) -> None:
        self.ends: list[tuple[Key, Outcome, float]] = []
        self.running: list[Key] = []

    def failures(self, key: Key, now: float) -> list[float]:
        found: list[float] = []
        for ended, outcome, at in self.ends:
            if ended == key and outcome is Outcome.SUCCEEDED:
                found = []
            if ended == key and outcome is Outcome.FAILED:
                found = [*(found if not found or at - found[-1] < FORGET_SECONDS else []), at]
        return found if found and now - found[-1] < FORGET_SECONDS else []

    def verdict(self, key: Key, now: float) -> str:
        failed, running = self.failures(key, now), self.running.count(key)
        if len(failed) < FREE_FAILURES:
            return "go" if running < AT_ONCE else "stand in line"
        wait = min(FIRST_WAIT * 2.0 ** (len(failed) - FREE_FAILURES), WAIT_MAX)
        return "wait" if running or now < failed[-1] + wait else "go"


_STEP = st.tuples(
    st.sampled_from([ANN, BOB]),
    st.sampled_from([None, None, *Outcome, Outcome.FAILED, Outcome.FAILED]),
    st.sampled_from([1, 1, 1, 2, AT_ONCE]),
    # In eighths of a second, so that sums are exact.
    st.sampled_from([0, 0, 0, 1, 4, 8, 16, 200, 480, 6000, 7200]),
)


@given(st.lists(_STEP, max_size=80))
def test_the_dumb_twin_agrees(steps: list[tuple[Key, Outcome | None, int, int]]) -> None:
    throttle, twin, now = Throttle(), Twin(), 0.0
    for key, outcome, count, eighths in steps:
        now += eighths / 8
        if outcome is None:
            for _ in range(count):
                wait = throttle.begin(key, now)
                told = "stand in line" if wait is None else "wait" if wait else "go"
                assert told == twin.verdict(key, now)
                if told == "go":
                    twin.running.append(key)
        else:
            for _ in range(min(count, twin.running.count(key))):
                twin.running.remove(key)
                twin.ends.append((key, outcome, now))
                throttle.end(key, outcome, now)


@pytest.mark.parametrize("at_once", [1, 5, 100])
def test_a_guesser_gets_few_guesses_an_hour(at_once: int) -> None:
    # The first moment's all at once; ten until the wait is a minute; then one a minute.
    assert _guess(at_once, lambda now: now + 0.25) <= AT_ONCE + 10 + 60


def _guess(at_once: int, later: Callable[[float], float]) -> int:
    throttle, now, heard = Throttle(), 0.0, 0
    while now < 3600:
        running = [n for n in range(at_once) if throttle.begin(ANN, now) == 0.0]
        for _ in running:
            throttle.end(ANN, Outcome.FAILED, now)
        heard += len(running)
        now = later(now)
    return heard
