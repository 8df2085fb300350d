"""The hybrid clock beside a wall clock that jumps, over restarts."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dormouse.base.clock import ManualClock
from storage.clock import TICKS_PER_SECOND, HybridClock

_YEAR = 365 * 86_400
_FOLLOWED_SECONDS = 61
steps_of = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([0, 0.001, 1, 30, 100])),
        st.tuples(st.just("leap"), st.sampled_from([-_YEAR, -3600, -1, 1, 9, 3600, _YEAR])),
        st.tuples(st.just("passed"), st.integers(-10, 10)),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=40,
)


@given(steps=steps_of)
@example(steps=[("tick", None), ("leap", _YEAR), ("tick", None), ("leap", -_YEAR)])
@settings(max_examples=400)
def test_commit_times_go_up_whatever_the_wall_clock_does(steps: list[tuple[str, Any]]) -> None:
    wall = ManualClock()
    highest, clock = 1, HybridClock(wall, last=1)
    waited_since, now_then = 0.0, clock.now()
    for action, argument in steps:
        match action:
            case "tick":
                tick = clock.next()
                assert tick > highest
                highest = tick
            case "wait":
                wall.advance(argument)
            case "leap":
                wall.leap(argument)
            case "passed":
                asked = clock.now() + argument
                assert clock.passed(asked) == (argument <= 0)
                highest = max(highest, asked) if argument <= 0 else highest
            case _:
                clock = HybridClock(wall, last=highest)
                waited_since, now_then = wall.monotonic(), clock.now()
        now = clock.now()
        assert now >= highest
        waited = (wall.monotonic() - waited_since) * TICKS_PER_SECOND
        assert now - now_then >= int(waited) // 2 - 1000


def test_a_leap_is_followed_when_it_has_stood_and_leaves_no_trace_before() -> None:
    wall = ManualClock()
    clock = HybridClock(wall, last=1)
    began = clock.next()
    wall.leap(_YEAR)
    wall.advance(30)
    assert clock.next() == began + 30 * TICKS_PER_SECOND
    wall.leap(-_YEAR)
    wall.advance(30)
    assert clock.next() == began + 60 * TICKS_PER_SECOND
    wall.leap(_YEAR)
    clock.now()
    wall.advance(_FOLLOWED_SECONDS)
    assert clock.next() > began + _YEAR * TICKS_PER_SECOND


def test_a_clock_that_is_ahead_goes_at_half_speed_until_the_wall_clock_has_caught_up() -> None:
    wall = ManualClock()
    ahead = wall.wall_ns() + 100 * TICKS_PER_SECOND
    clock = HybridClock(wall, last=ahead)
    wall.advance(60)
    assert clock.next() == ahead + 30 * TICKS_PER_SECOND
    wall.advance(200)
    assert clock.next() == wall.wall_ns()
    assert clock.ago(5) == wall.wall_ns() - 5 * TICKS_PER_SECOND
