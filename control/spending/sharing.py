"""How what is left of a limit is shared among the pods that spend it: a token bucket whose tokens
are handed out in advance. Pure.

A pod's *ceiling* is how far its use, a sum since its stamp, may grow without asking. What it may
still use, ceiling less use, is its *reserve*.

              use known       use, really
    pod a  ───────┼───────────────┼·········│ ceiling
                  └─────── reserve ─────────┘

                                                     reserves            free
    left of the limit   ├──────── a ────────┼── b ──┼──── c ────┼──────────────────┤

The law: the reserves never add up to more than what is left. It is kept because

- a ceiling is raised only from what is free;
- a ceiling that was lowered keeps its reserve until the pod has said that it goes by a later leave
  (`UsageReport.leave`), for until then it may spend it;
- a report moves use and what is left by the same amount, and one that is lost moves neither.

How much a pod wants: ADVANCE_SECONDS of its recent rate, and no less than its part of half of what
is left, up to FLOOR_MICRO_UNITS_MAX, so that a sudden load meets a ceiling only where the limit
itself is near. When all of them together want more than there is, they share what there is by
their rates: to the very end for a single pod, in ever smaller pieces for several.

A ceiling is raised when the reserve has fallen under three quarters of what is wanted, so a pod at
an even pace gets a leave every three seconds. It is lowered when the reserve exceeds twice of that,
and where another pod cannot have what it wants, when it exceeds four thirds. The pod says at once
that it goes by that, and the other one gets the rest with the next round.

Without control, ceilings grow by a fallback rate: what is free, spread over FALLBACK_SECONDS and
the pods. So an hour without control passes no limit.

A pod that was not heard for SILENT_SECONDS counts no more, and its reserve goes to the others. If
it is cut off and not dead, it may spend that besides; that is the bound that docs/limits.md states.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dormouse.base.units import MICRO

ADVANCE_SECONDS = 10
FLOOR_MICRO_UNITS_MAX = 200_000 * MICRO
"""What a pod may write or send within two seconds, about."""
FLOOR_PARTS = 2
ROOM_MAX = 1 << 62
"""More is never left to anybody; messages and SQLite's integers hold it."""
FALLBACK_SECONDS = 3600
SILENT_SECONDS = 20.0
"""A pod that is there reports every five seconds at the least."""
RATE_FADES_SECONDS = 10.0
RATE_FIRST = 10 * MICRO
"""Of a pod that has not reported yet, a second."""


@dataclass(frozen=True, slots=True)
class Sharer:
    """A pod that wants its share; millionths of a unit."""

    use: int
    may_reach: int
    """The highest ceiling that it may go by now."""

    per_second: int
    """Its recent rate."""

    @property
    def reserve(self) -> int:
        """What it may use without asking."""
        return max(self.may_reach - self.use, 0)


@dataclass(frozen=True, slots=True)
class Share:
    """What a pod gets."""

    ceiling: int
    fallback_per_second: int


def rate_after(before: float, *, used: int, seconds: float) -> float:
    """A pod's rate when it used that much in that time: up at once, down slowly."""
    now = used / max(seconds, 0.1)
    return max(now, before * math.exp(-seconds / RATE_FADES_SECONDS))


def share(room: int, pods: Sequence[Sharer]) -> list[Share]:
    """What each pod gets of `room`, in the order of `pods`."""
    if not pods:
        return []
    room = min(max(room, 0), ROOM_MAX)
    wants = _wants(room, pods)
    free = max(room - sum(pod.reserve for pod in pods), 0)
    raises = [
        want - pod.reserve if 4 * pod.reserve < 3 * want else 0
        for pod, want in zip(pods, wants, strict=True)
    ]
    total = sum(raises)
    if is_scarce := total > free:
        raises = [each * free // total for each in raises]
    fallback = (free - sum(raises)) // (len(pods) * FALLBACK_SECONDS)
    return [
        Share(pod.use + _reserve(pod, want, more, is_scarce=is_scarce), fallback)
        for pod, want, more in zip(pods, wants, raises, strict=True)
    ]


def _reserve(pod: Sharer, want: int, more: int, *, is_scarce: bool) -> int:
    if more:
        return pod.reserve + more
    lowers = 3 * pod.reserve > 4 * want if is_scarce else pod.reserve > 2 * want
    return want if lowers else pod.reserve


def _wants(room: int, pods: Sequence[Sharer]) -> list[int]:
    """What each pod should have in reserve; together no more than there is."""
    floor = min(room // (FLOOR_PARTS * len(pods)), FLOOR_MICRO_UNITS_MAX)
    ahead = [ADVANCE_SECONDS * pod.per_second for pod in pods]
    wants = [max(each, floor) for each in ahead]
    if sum(wants) <= room:
        return wants
    weights = [each + 1 for each in ahead]
    whole = sum(weights)
    return [room * weight // whole for weight in weights]
