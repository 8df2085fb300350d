"""What a leave says of a statement, without a pod."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.control_pb2 import SpendLeave
from sqlnode.spending.bucket import BURST_SECONDS
from sqlnode.spending.keeper import (
    AT_CEILING_PER_SECOND,
    MARGIN,
    UNHEARD_SECONDS_MAX,
    Action,
    Keeper,
    Moment,
)
from sqlnode.spending.leave import Kind, Leave, State

UNIT = 1_000_000
WORK = (Kind.READ, Kind.REMOVE, Kind.WRITE)
START = Moment(now=100.0, unix=1_000_000.0, billed=0, used=0)


def later(seconds: float = 0.0, units: float = 0.0, since: Moment = START) -> Moment:
    amount = int(units * UNIT)
    return Moment(
        since.now + seconds, since.unix + seconds, since.billed + amount, since.used + amount
    )


def keeper(state: State, **leave: Any) -> Keeper:
    made = Keeper()
    made.take(Leave(state=state, **leave), START)
    return made


@pytest.mark.parametrize("state", State)
def test_the_session_itself_always_goes_on(state: State) -> None:
    kept = keeper(state)
    moment = later(units=10**6)
    assert kept.begins(Kind.SESSION, moment).action is Action.GO
    assert kept.goes_on(Kind.SESSION, moment).action is Action.GO


@pytest.mark.parametrize("kind", WORK)
def test_a_ceiling(kind: Kind) -> None:
    kept = keeper(State.OPEN, ceiling=50 * UNIT)
    margin = MARGIN / UNIT
    for units, begins, goes_on in (
        (0, Action.GO, Action.GO),
        (49.999999, Action.GO, Action.GO),
        (50, Action.REFUSE, Action.GO),
        (50 + margin, Action.REFUSE, Action.GO),
        (50.000001 + margin, Action.REFUSE, Action.REFUSE),
    ):
        moment = later(units=units)
        assert (kept.begins(kind, moment).action, kept.goes_on(kind, moment).action) == (
            begins,
            goes_on,
        )


@pytest.mark.parametrize("kind", WORK)
def test_a_ceiling_of_a_limit_that_slows_refuses_nobody(kind: Kind) -> None:
    kept = keeper(State.OPEN, ceiling=50 * UNIT, slows=True)
    assert kept.begins(kind, later(units=49)).action is Action.GO
    first = kept.begins(kind, later(units=50))
    assert first.action is Action.WAIT  # for nothing yet but a moment
    assert first.seconds < 0.001
    beyond = later(1, units=50 + MARGIN / UNIT + 30)
    for ask in (kept.begins, kept.goes_on):
        verdict = ask(kind, beyond)
        assert verdict.action is Action.WAIT
        assert round(verdict.seconds) == round((MARGIN + 30 * UNIT) / AT_CEILING_PER_SECOND) - 1
    kept.take(Leave(state=State.OPEN, ceiling=500 * UNIT, slows=True), beyond)
    assert kept.begins(kind, beyond).action is Action.GO


def test_what_was_used_while_stopped_does_not_count_against_the_ceiling() -> None:
    kept = keeper(State.OPEN, ceiling=50 * UNIT)
    moment = replace(later(units=10), used=10**12)
    assert kept.begins(Kind.WRITE, moment).action is Action.GO


def test_stopped() -> None:
    kept = keeper(State.STOPPED, per_second=10 * UNIT)
    for ask in (kept.begins, kept.goes_on):
        assert ask(Kind.WRITE, START).action is Action.REFUSE
        assert ask(Kind.READ, START).action is ask(Kind.REMOVE, START).action is Action.GO
    empty = later(units=10 * BURST_SECONDS + 30)
    verdict = kept.begins(Kind.READ, empty)
    assert (verdict.action, round(verdict.seconds)) == (Action.REFUSE, 3)
    verdict = kept.goes_on(Kind.REMOVE, empty)
    assert (verdict.action, round(verdict.seconds)) == (Action.WAIT, 3)
    assert kept.begins(Kind.READ, later(3.1, since=empty)).action is Action.GO


def test_throttled() -> None:
    kept = keeper(State.THROTTLED, per_second=10 * UNIT)
    assert kept.begins(Kind.WRITE, START).action is Action.GO
    empty = later(units=10 * BURST_SECONDS + 30)
    for ask in (kept.begins, kept.goes_on):
        for kind in WORK:
            verdict = ask(kind, empty)
            assert (verdict.action, round(verdict.seconds)) == (Action.WAIT, 3)


def test_a_leave_of_the_same_state_does_not_fill_the_bucket() -> None:
    kept = keeper(State.THROTTLED, per_second=10 * UNIT)
    empty = later(units=10 * BURST_SECONDS + 30)
    kept.take(Leave(state=State.THROTTLED, per_second=10 * UNIT), empty)
    assert kept.begins(Kind.WRITE, empty).action is Action.WAIT
    kept.take(Leave(state=State.STOPPED, per_second=10 * UNIT), empty)
    assert kept.begins(Kind.READ, empty).action is Action.GO


@given(st.lists(st.floats(0, 3000), max_size=20), st.integers(0, 10**9))
def test_an_unheard_ceiling_grows_by_an_hour_at_most(gaps: list[float], rate: int) -> None:
    kept = keeper(State.OPEN, ceiling=50, per_second=rate)
    now, before = START.now, 0
    for gap in gaps:
        now += gap
        kept.lost(replace(START, now=now))  # said again and again, it counts from the first time
        ceiling = kept.ceiling(now)
        assert before <= ceiling <= 50 + rate * UNHEARD_SECONDS_MAX
        assert ceiling <= 50 + rate * (now - START.now) + 1
        before = ceiling
    kept.take(Leave(state=State.OPEN, ceiling=7, per_second=rate), replace(START, now=now))
    assert kept.ceiling(now + 1e6) == 7


def test_the_month_turns_while_control_is_away() -> None:
    reset = int(START.unix) + 60
    kept = keeper(State.STOPPED, per_second=2 * UNIT, resets_at=reset, percent=100)
    stopped = replace(later(59, units=20), billed=0)
    assert not kept.look(stopped)
    kept.lost(stopped)
    assert not kept.look(stopped)
    assert kept.leave.state is State.STOPPED
    turned = later(2, since=stopped)
    assert kept.look(turned)
    assert not kept.look(turned)
    assert (kept.leave.state, kept.leave.percent) == (State.OPEN, 0)
    assert kept.begins(Kind.WRITE, turned).action is Action.REFUSE  # nothing has come yet
    soon = later(10, since=turned)
    assert kept.begins(Kind.WRITE, soon).action is Action.GO
    assert kept.begins(Kind.WRITE, later(0, units=20, since=soon)).action is Action.REFUSE
    assert kept.ceiling(turned.now + 1e6) == turned.billed + 2 * UNIT * UNHEARD_SECONDS_MAX


def test_the_turn_of_the_month_is_controls_to_tell_while_it_is_heard() -> None:
    kept = keeper(State.STOPPED, per_second=UNIT, resets_at=int(START.unix) + 60)
    assert not kept.look(later(61))


def test_a_state_of_a_later_version_is_an_open_one() -> None:
    message = SpendLeave.FromString(bytes([8, 9, 16, 5]))
    leave = Leave.of_message(message)
    assert (leave.state, leave.ceiling) == (State.OPEN, 5)


_STEP = 40 * UNIT
_EVENTS = st.lists(
    st.tuples(st.sampled_from(WORK), st.lists(st.sampled_from([0, 1, _STEP]), max_size=8))
    | st.integers(0, 500 * UNIT)
    | st.floats(0, 900),
    max_size=60,
)


@given(_EVENTS)
def test_a_ceiling_is_passed_by_the_margin_and_one_step_at_most(
    events: list[tuple[Kind, list[int]] | int | float],
) -> None:
    """A statement with its steps; a new ceiling, maybe lower; or time without control."""
    kept, rate = keeper(State.OPEN), UNIT // 10
    use, now, highest = 0, START.now, 0
    for event in events:
        moment = replace(START, now=now, billed=use, used=use)
        if isinstance(event, int):
            kept.take(Leave(state=State.OPEN, ceiling=event, per_second=rate), moment)
        elif isinstance(event, float):
            kept.lost(moment)
            now += event
        elif kept.begins(event[0], moment).action is Action.GO:
            assert use < kept.ceiling(now)
            for step in event[1]:
                use += step
                moment = replace(moment, billed=use, used=use)
                if kept.goes_on(event[0], moment).action is not Action.GO:
                    break
        highest = max(highest, kept.ceiling(now))
        assert use <= highest + MARGIN + _STEP
