"""A pod's leave to spend, from the limits it is under: its tenant's and its organisation's. Pure.

    reached by `stop`      STOPPED    at once, but for reading out and deleting at a trickle
    reached by `throttle`  THROTTLED  at a rate that does not end
    not reached            OPEN       up to a ceiling (control/spending/sharing.py)
    `notify`, or no limit  FREE       and told how much of the limit is used

Of two limits the stricter one counts: the first of these lines that one of them asks for, and there
the lower ceiling and rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from control.spending.limits import Policy, in_words, scope_of
from control.spending.room import Stand
from control.spending.sharing import Share
from dormouse.base.units import MICRO
from proto import control_pb2

TRICKLE = 50 * MICRO
"""A second, of all pods of a stopped account together."""
CEILING_MAX = 1 << 62
"""SQLite's integers hold it, whatever a broken pod says that it has used."""
THROTTLED_LEAST = 10 * MICRO
"""Likewise of one that is throttled; more where the limit spread over the month is more."""


class State(IntEnum):
    """What a pod may do, the strictest last; see proto/control.proto."""

    FREE = 0
    OPEN = 1
    THROTTLED = 2
    STOPPED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """What a pod may use; millionths of a unit."""

    state: State = State.FREE
    ceiling: int = 0
    """Of OPEN."""
    per_second: int = 0
    limit: str = ""
    resets_at: int = 0
    percent: int = 0
    slows: bool = False
    """Of OPEN: whether statements wait at the ceiling instead of being refused."""

    def is_news_to(self, told: "Leave | None") -> bool:
        """Whether a pod that was told that has to be told this; a fallback rate is no news."""
        if told is None or self.state is not State.OPEN:
            return self != told
        return self != replace(told, per_second=self.per_second)


FREE = Leave()


def state_of(stand: Stand | None) -> State:
    """What a limit asks for."""
    if stand is None or stand.limit.policy is Policy.NOTIFY:
        return State.FREE
    if not stand.is_reached:
        return State.OPEN
    return State.STOPPED if stand.limit.policy is Policy.STOP else State.THROTTLED


def words_of(account: int, stand: Stand, currency: str) -> str:
    """The amount of the limit that is reached first, for people."""
    limit = stand.limit
    scope = scope_of(account)
    if stand.by_money:
        return in_words(cents=limit.monthly_cents, scope=scope, currency=currency)
    return in_words(units=limit.monthly_units, scope=scope, currency=currency)


def leave_under(account: int, stand: Stand, share: Share, *, pods: int, currency: str) -> Leave:
    """The leave of a pod under one limit, of `pods` that share it."""
    state = state_of(stand)
    rates = {
        State.FREE: 0,
        State.OPEN: share.fallback_per_second,
        State.THROTTLED: max(_even_rate(stand), THROTTLED_LEAST) // max(pods, 1),
        State.STOPPED: TRICKLE // max(pods, 1),
    }
    return Leave(
        state=state,
        ceiling=min(share.ceiling, CEILING_MAX) if state is State.OPEN else 0,
        per_second=rates[state],
        limit=words_of(account, stand, currency),
        resets_at=stand.position.end,
        percent=stand.percent,
        slows=state is State.OPEN and stand.limit.policy is Policy.THROTTLE,
    )


def strictest(leaves: Sequence[Leave]) -> Leave:
    """What counts of several limits."""
    if not leaves:
        return FREE
    state = max(each.state for each in leaves)
    those = [each for each in leaves if each.state is state]
    first = min(those, key=lambda each: (each.ceiling, -each.percent))
    return Leave(
        state=state,
        ceiling=first.ceiling,
        per_second=min(each.per_second for each in those),
        limit=first.limit,
        resets_at=first.resets_at,
        percent=max(each.percent for each in leaves),
        slows=first.slows,
    )


def message_of(leave: Leave, number: int) -> control_pb2.SpendLeave:
    """As it is told to the pod."""
    return control_pb2.SpendLeave(
        state=control_pb2.SpendLeave.State.ValueType(leave.state),
        ceiling_micro_units=leave.ceiling,
        rate_micro_units=leave.per_second,
        limit=leave.limit,
        resets_at_unix=leave.resets_at,
        percent=leave.percent,
        number=number,
        slows=leave.slows,
    )


def _even_rate(stand: Stand) -> int:
    """What was used when the limit was reached, spread over the month; in whole units."""
    position = stand.position
    return position.micro_units // max(position.end - position.start, 1) // MICRO * MICRO
