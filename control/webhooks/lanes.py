"""Which webhooks are sent to next. Pure.

    16 lanes   ███████▓▓▒······     one lane = one webhook, its deliveries one after the other
               └ healthy ┘ │
                           └ failing: at most half of the lanes

A receiver that takes its time holds up nobody but itself: a webhook has one lane, a host two, and
those whose last attempt failed (which a receiver that hangs is among after one time-out) have half
of the lanes at most, so that the others always find one. Who has had a lane longest ago is next, so
one with thousands of deliveries to make has its turns and no more.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

LANES = 16
FAILING_LANES = LANES // 2
LANES_PER_HOST = 2


@dataclass(frozen=True, slots=True)
class Due:
    """A webhook that something waits for."""

    webhook: int
    host: str
    failing: bool
    """Its last attempt failed."""

    due_ns: int
    """When its next attempt is."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to begin now, and when to look again if nothing happens before."""

    begin: Sequence[Due]
    look_ns: int | None
    """None: nothing waits for time to pass."""


def choose(
    due: Sequence[Due], busy: Collection[Due], now_ns: int, turns: Mapping[int, int]
) -> Choice:
    """The webhooks that get a lane; `busy` are those that have one, `turns` says of webhooks in
    which turn they last got one.
    """
    taken = {each.webhook for each in busy}
    hosts = Counter(each.host for each in busy)
    failing = sum(each.failing for each in busy)
    begin: list[Due] = []
    later: list[int] = []
    for each in sorted(due, key=lambda each: (turns.get(each.webhook, 0), each.due_ns)):
        if each.webhook in taken:
            continue
        if each.due_ns > now_ns:
            later.append(each.due_ns)
            continue
        # Who finds no lane now is looked at again when one becomes free.
        if len(busy) + len(begin) >= LANES or hosts[each.host] >= LANES_PER_HOST:
            continue
        if each.failing and failing >= FAILING_LANES:
            continue
        begin.append(each)
        hosts[each.host] += 1
        failing += each.failing
    return Choice(begin, min(later, default=None))
