"""What may happen to a session, as one table, and what to do when its pod hangs up. Pure.

    LOGGING_IN ──ready──▶ RELAYING ──asked──▶ MOVING ──given away──▶ RESUMING ──taken up──▶ RELAYING
                            ▲   │               │                     ▲    │
                            │   └──recovered────┼─────────────────────┤    └──kept──▶ PARKED
                            └─────refused───────┘                     └────woken────────┘

RELAYING   bytes pass both ways
MOVING     the pod has been asked to give the session away; what the client sends is held
RESUMING   no pod has it: its state is here, and one is being found to take it up
PARKED     likewise, but nobody looks for a pod until the client says something

From every phase an end leads to CLOSED.
"""

from collections.abc import Mapping
from enum import Enum

from pgwire.exchange import Exchange


class Phase(Enum):
    """Where a session is. See the module."""

    LOGGING_IN = "logging in"
    RELAYING = "relaying"
    MOVING = "moving"
    RESUMING = "resuming"
    PARKED = "parked"
    CLOSED = "closed"


class Event(Enum):
    """What happens to a session."""

    READY = "the login is over"
    ASKED = "the pod was asked to give it away"
    REFUSED = "the pod keeps it"
    GIVEN_AWAY = "the pod has let go of it"
    RECOVERED = "the pod is gone, its last checkpoint is here"
    KEPT = "its state is kept here"
    WOKEN = "the client has said something"
    TAKEN_UP = "another pod has it"
    ENDED = "it is over"


TRANSITIONS: Mapping[tuple[Phase, Event], Phase] = {
    (Phase.LOGGING_IN, Event.READY): Phase.RELAYING,
    (Phase.RELAYING, Event.ASKED): Phase.MOVING,
    (Phase.RELAYING, Event.RECOVERED): Phase.RESUMING,
    (Phase.MOVING, Event.REFUSED): Phase.RELAYING,
    (Phase.MOVING, Event.GIVEN_AWAY): Phase.RESUMING,
    (Phase.MOVING, Event.RECOVERED): Phase.RESUMING,
    (Phase.RESUMING, Event.KEPT): Phase.PARKED,
    (Phase.RESUMING, Event.TAKEN_UP): Phase.RELAYING,
    (Phase.PARKED, Event.WOKEN): Phase.RESUMING,
    **{(phase, Event.ENDED): Phase.CLOSED for phase in Phase},
}


def after(phase: Phase, event: Event) -> Phase:
    """The phase an event leads to. Raises RuntimeError on one that cannot happen there."""
    try:
        return TRANSITIONS[phase, event]
    except KeyError:
        raise RuntimeError(f"a session that is {phase.value}: {event.value}?") from None


class Loss(Enum):
    """What becomes of an open session whose pod has hung up."""

    OVER = "the client wanted it, or was told why: close"
    RECOVER = "take it up elsewhere from the checkpoint"
    TELL = "close with an error"
    CUT = "close: an error would be taken for a part of a message"


def on_pod_lost(phase: Phase, exchange: Exchange, *, recoverable: bool, was_quiet: bool) -> Loss:
    """See `Loss`. `recoverable`: a checkpoint is here that holds all of the session.

    `was_quiet` is for MOVING: the session was quiescent when its pod was asked.
    """
    if exchange.goodbye or exchange.errored:
        return Loss.OVER
    quiet = was_quiet if phase is Phase.MOVING else exchange.quiescent
    if quiet and recoverable and exchange.server_between:
        return Loss.RECOVER
    return Loss.TELL if exchange.server_between else Loss.CUT


def may_ask(exchange: Exchange, *, patient: bool, client_slow: bool) -> bool:
    """Whether this is the moment to ask the pod for the session.

    The pod may be asked wherever the client stands between two messages: it decides. A moment when
    it has nothing left to do is the best, for then the client waits the shortest. Where there has
    been none for long (not `patient`), it will do that no transaction was open when it was ready
    last. Never while the client leaves its answers unread: the pod's would have to wait behind.
    """
    possible = exchange.idle and exchange.client_between and not client_slow
    return possible and (exchange.quiescent or not patient)
