"""The server's side of the protocol as one table: what each message may do in each state.

Everything that depends on the order of messages is here and nowhere else. A state and the type of a
frontend message give an action; what the server then does gives an event that moves the state on.

    HANDLE   act on it                    DISCARD  read and forget it
    REFUSE   08P01, end of connection

A frame of a proxy's link (M, pgwire.link) may stand anywhere in a conversation. It moves nothing
on: it is answered where it is found, and refused like an unknown message where there is no link.

    READY ──P B D E C H──▶ EXTENDED ──error──▶ SKIPPING ──Sync──▶ READY
      │                       └──Sync──▶ READY
      └──Q──▶ READY            COPY_IN: d c f, and Flush and Sync are passed over
"""

from enum import Enum


class State(Enum):
    """Where a connection stands between two messages."""

    STARTUP = "startup"
    AUTHENTICATING = "authenticating"
    READY = "ready"
    """Nothing is open: between simple queries, or after Sync."""
    EXTENDED = "extended"
    """Inside a pipeline of extended messages."""
    SKIPPING = "skipping"
    """A pipeline has failed: everything up to Sync is passed over."""
    COPY_IN = "copy in"
    """COPY FROM STDIN of a simple query."""
    COPY_IN_EXTENDED = "copy in, extended"
    CLOSED = "closed"


class Action(Enum):
    """What to do with a message."""

    HANDLE = "handle"
    DISCARD = "discard"
    REFUSE = "refuse"


class Event(Enum):
    """What moves a connection from one state to another."""

    STARTED = "started"
    AUTHENTICATED = "authenticated"
    EXTENDED_BEGUN = "extended message taken"
    SYNCED = "sync taken"
    FAILED = "error in the extended protocol"
    COPY_IN_BEGUN = "copy in begun"
    COPY_IN_ENDED = "copy in ended"
    COPY_IN_FAILED = "copy in failed"
    ENDED = "ended"


_COPY = b"dcf"
_EXTENDED = b"PBDEC"
_LINK = b"M"

HANDLED: dict[State, bytes] = {
    State.STARTUP: b"",
    State.AUTHENTICATING: b"p",
    State.READY: b"QFSHX" + _EXTENDED + _LINK,
    State.EXTENDED: b"QFSHX" + _EXTENDED + _LINK,
    State.SKIPPING: b"SX" + _LINK,
    State.COPY_IN: _COPY + b"X" + _LINK,
    State.COPY_IN_EXTENDED: _COPY + b"X" + _LINK,
    State.CLOSED: b"",
}

DISCARDED: dict[State, bytes] = {
    State.STARTUP: b"",
    State.AUTHENTICATING: b"",
    # What a client sent for a COPY that has failed meanwhile.
    State.READY: _COPY,
    State.EXTENDED: _COPY,
    State.SKIPPING: b"QFH" + _EXTENDED + _COPY,
    State.COPY_IN: b"HS",
    State.COPY_IN_EXTENDED: b"HS",
    State.CLOSED: b"QFSHXp" + _EXTENDED + _COPY,
}

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.STARTUP, Event.STARTED): State.AUTHENTICATING,
    (State.AUTHENTICATING, Event.AUTHENTICATED): State.READY,
    (State.READY, Event.EXTENDED_BEGUN): State.EXTENDED,
    (State.EXTENDED, Event.EXTENDED_BEGUN): State.EXTENDED,
    (State.READY, Event.SYNCED): State.READY,
    (State.EXTENDED, Event.SYNCED): State.READY,
    (State.SKIPPING, Event.SYNCED): State.READY,
    (State.READY, Event.FAILED): State.SKIPPING,
    (State.EXTENDED, Event.FAILED): State.SKIPPING,
    (State.READY, Event.COPY_IN_BEGUN): State.COPY_IN,
    (State.EXTENDED, Event.COPY_IN_BEGUN): State.COPY_IN_EXTENDED,
    (State.COPY_IN, Event.COPY_IN_ENDED): State.READY,
    (State.COPY_IN, Event.COPY_IN_FAILED): State.READY,
    (State.COPY_IN_EXTENDED, Event.COPY_IN_ENDED): State.EXTENDED,
    (State.COPY_IN_EXTENDED, Event.COPY_IN_FAILED): State.SKIPPING,
    **{(state, Event.ENDED): State.CLOSED for state in State},
}

_ACTIONS: dict[State, list[Action]] = {
    state: [
        Action.HANDLE
        if kind in HANDLED[state]
        else Action.DISCARD
        if kind in DISCARDED[state]
        else Action.REFUSE
        for kind in range(256)
    ]
    for state in State
}


def action(state: State, kind: int) -> Action:
    """What a message of type byte `kind` may do in `state`."""
    return _ACTIONS[state][kind]


def after(state: State, event: Event) -> State:
    """The state an event leads to. Raises KeyError on an event that cannot happen there."""
    return TRANSITIONS[state, event]
