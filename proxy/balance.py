"""Which pod gets a session, and which sessions should be elsewhere; for one tenant. Pure.

A pod's *load* is its sessions plus its CPU, a busy core counting as CORE_SESSIONS idle sessions:

    load   24 ┤ ████                  mean 14, dead band 11.9 … 16.1
           14 ┤─████──────────────    above it: half of what is above the mean leaves in one round,
            9 ┤ ████  ████  ████      to the pods that are below it, the emptiest first
              └─ a     b     c

A session takes its share of its pod's load along, as far as anybody knows. It is moved only if the
pod it leaves is still the fuller one afterwards, by which every move brings the loads closer
together: no order of rounds goes round in circles, and one heavy session stays where it is rather
than being passed on and on. What is measured lags behind what was moved; whoever calls leaves a
tenant alone until its figures have caught up.

The band, the half and the rounds are CockroachDB's (pkg/ccl/sqlproxyccl/balancer).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dormouse.base.ids import PodId

CORE_SESSIONS = 20.0
"""How many idle sessions weigh as much as a busy core."""
BAND = 0.15
"""Loads within this part of the mean are left alone."""
BAND_MIN = 1.5
"""And so are loads within this many sessions of it: one session more or less is no imbalance."""
ROUND_SHARE = 0.5
"""Of what a pod has above the mean, this part leaves in one round."""


@dataclass(frozen=True, slots=True)
class PodLoad:
    """A pod that takes sessions."""

    pod: PodId
    sessions: int
    """Of all proxies, as far as they are known."""
    cpu_permille: int = 0

    @property
    def load(self) -> float:
        """In idle sessions."""
        return self.sessions + self.cpu_permille / 1000 * CORE_SESSIONS


@dataclass(frozen=True, slots=True)
class Shift:
    """So many sessions should go from one pod to another."""

    source: PodId
    target: PodId
    sessions: int


def pick(pods: Sequence[PodLoad]) -> PodLoad | None:
    """The pod for one more session; None if there are none."""
    return min(pods, key=lambda pod: (pod.load, pod.pod), default=None)


def plan(
    pods: Sequence[PodLoad], own: Mapping[PodId, int], *, sessions_max: int, dice: float
) -> list[Shift]:
    """The shifts of one round for a proxy that has `own` of the sessions; `sessions_max` at most.

    Of several proxies each moves its part of what should leave; `dice` (from 0 up to 1) decides
    about the fraction of a session, lest all of them round up.
    """
    if len(pods) < 2:
        return []
    mean = sum(pod.load for pod in pods) / len(pods)
    limit = mean + max(mean * BAND, BAND_MIN)
    loads = {pod.pod: pod.load for pod in pods}
    shifts: list[Shift] = []
    left = sessions_max
    for pod in sorted(pods, key=lambda pod: (-pod.load, pod.pod)):
        mine = own.get(pod.pod, 0)
        if pod.load <= limit or not mine:
            continue
        heft = pod.load / max(pod.sessions, mine)
        part = (pod.load - mean) * ROUND_SHARE / heft * mine / max(pod.sessions, mine)
        found = _empty(pod.pod, heft, min(int(part + dice), mine, left), loads)
        left -= sum(found.values())
        shifts += [Shift(pod.pod, target, count) for target, count in found.items()]
    return shifts


def _empty(source: PodId, heft: float, count: int, loads: dict[PodId, float]) -> Counter[PodId]:
    """Where `count` sessions of `heft` each go, one by one; `loads` follow them."""
    targets: Counter[PodId] = Counter()
    for _ in range(count):
        target = min(loads, key=lambda pod: (loads[pod], pod))
        if loads[source] - heft < loads[target] + heft:
            break
        loads[source] -= heft
        loads[target] += heft
        targets[target] += 1
    return targets
