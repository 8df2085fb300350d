"""The table of states is complete, and says what the protocol's manual says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwire.states import DISCARDED, HANDLED, TRANSITIONS, Action, Event, State, action, after


def test_no_message_is_both_handled_and_discarded() -> None:
    for state in State:
        assert not set(HANDLED[state]) & set(DISCARDED[state])


@pytest.mark.parametrize(
    ("state", "kind", "wanted"),
    [
        (State.AUTHENTICATING, "p", Action.HANDLE),
        (State.AUTHENTICATING, "Q", Action.REFUSE),
        (State.READY, "Q", Action.HANDLE),
        (State.READY, "p", Action.REFUSE),
        (State.READY, "d", Action.DISCARD),
        (State.SKIPPING, "Q", Action.DISCARD),
        (State.SKIPPING, "S", Action.HANDLE),
        (State.SKIPPING, "X", Action.HANDLE),
        (State.COPY_IN, "d", Action.HANDLE),
        (State.COPY_IN, "S", Action.DISCARD),
        (State.COPY_IN, "Q", Action.REFUSE),
        (State.READY, "M", Action.HANDLE),
        (State.SKIPPING, "M", Action.HANDLE),
        (State.COPY_IN, "M", Action.HANDLE),
        (State.AUTHENTICATING, "M", Action.REFUSE),
    ],
)
def test_what_messages_may_do(state: State, kind: str, wanted: Action) -> None:
    assert action(state, ord(kind)) is wanted


@given(st.lists(st.sampled_from(list(Event)), max_size=30))
def test_walks_never_leave_the_table(events: list[Event]) -> None:
    state = State.STARTUP
    for event in events:
        if (state, event) in TRANSITIONS:
            state = after(state, event)
    assert isinstance(state, State)


def test_a_failed_pipeline_is_over_at_sync_only() -> None:
    state = after(State.EXTENDED, Event.FAILED)
    assert state is State.SKIPPING
    leaving = {event for (s, event) in TRANSITIONS if s is State.SKIPPING}
    assert leaving == {Event.SYNCED, Event.ENDED}
    assert after(state, Event.SYNCED) is State.READY
