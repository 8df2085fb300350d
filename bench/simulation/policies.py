"""The rules that are compared: Dormouse's own functions, and simpler ones that people use.

A rule is told once a second or so what each pod uses and answers how many pods there are to be.
All are put to sleep and woken in the same way.
"""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from autoscaler.scale import ScalePolicy, TenantLoad, pods_wanted
from autoscaler.windows import SlidingMax, SlidingSum

STEP_SECONDS_MAX = 20.0
"""While nothing changes, time goes in steps of so long at most."""
PODS_MAX = 32
_MICROS = 1_000_000


class Rule(Protocol):
    """How many pods a tenant is to have; one object a tenant."""

    def pods(
        self, now: float, cores_by_pod: Mapping[int, float], coming: int, sessions: int
    ) -> int:
        """At `now`: what each pod used since the last call, how many more are on their way, and how
        many sessions were at work. A call with no pods says that the tenant was asleep."""
        ...


RuleMaker = Callable[[], Rule]


class Dormouse:
    """The rule of `autoscaler.scale`, as the autoscaler calls it."""

    def __init__(self, policy: ScalePolicy, *, by_sessions: bool = True) -> None:
        self._load = TenantLoad(policy)
        self._by_sessions = by_sessions

    def pods(
        self, now: float, cores_by_pod: Mapping[int, float], coming: int, sessions: int
    ) -> int:
        """See `Rule.pods`."""
        seen = sessions if self._by_sessions else PODS_MAX
        self._load.add(now, cores_by_pod, sessions=seen)
        return pods_wanted(
            self._load,
            pods_now=max(len(cores_by_pod) + coming, 1),
            pods_min=0,
            pods_max=PODS_MAX,
            active=True,
            now=now,
        ).pods


class TargetTracking:
    """Average use of a minute at 80 % of the pods; fewer where that was enough for five minutes.
    It is what Kubernetes' horizontal pod autoscaler does as it comes."""

    def __init__(self, target: float = 0.8) -> None:
        self._target = target
        self._minute = SlidingSum(60.0, 128)
        self._asked = SlidingMax(300.0)
        self._at = -math.inf

    def pods(
        self, now: float, cores_by_pod: Mapping[int, float], coming: int, sessions: int
    ) -> int:
        """See `Rule.pods`."""
        cores = sum(cores_by_pod.values())
        seconds = min(now - self._at, STEP_SECONDS_MAX)
        self._at = now
        self._minute.add(now, round(cores * seconds * _MICROS))
        average = self._minute.total / _MICROS / 60.0
        self._asked.add(now, math.ceil(average / self._target))
        return min(max(int(self._asked.largest), 1), PODS_MAX)


class PeakOnly:
    """The busiest second of five minutes at 80 % of the pods."""

    def __init__(self, target: float = 0.8) -> None:
        self._target = target
        self._peak = SlidingMax(300.0)

    def pods(
        self, now: float, cores_by_pod: Mapping[int, float], coming: int, sessions: int
    ) -> int:
        """See `Rule.pods`."""
        self._peak.add(now, sum(cores_by_pod.values()))
        return min(max(math.ceil(self._peak.largest / self._target), 1), PODS_MAX)


class Reactive:
    """One more where a pod is above 90 % for three seconds; one fewer after a minute below 50 %."""

    def __init__(self) -> None:
        self._hot_since = math.inf
        self._cold_since = math.inf

    def pods(
        self, now: float, cores_by_pod: Mapping[int, float], coming: int, sessions: int
    ) -> int:
        """See `Rule.pods`."""
        pods = max(len(cores_by_pod) + coming, 1)
        hot = any(cores >= 0.9 for cores in cores_by_pod.values())
        cold = sum(cores_by_pod.values()) < 0.5 * pods
        self._hot_since = min(self._hot_since, now) if hot else math.inf
        self._cold_since = min(self._cold_since, now) if cold else math.inf
        if now - self._hot_since >= 3.0:
            self._hot_since = math.inf
            return min(pods + 1, PODS_MAX)
        if now - self._cold_since >= 60.0:
            self._cold_since = math.inf
            return max(pods - 1, 1)
        return pods


class OnePod:
    """One pod while awake: what a tenant had before it could have several."""

    def pods(
        self, now: float, cores_by_pod: Mapping[int, float], coming: int, sessions: int
    ) -> int:
        """See `Rule.pods`."""
        return 1
