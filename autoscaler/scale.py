"""How many pods a tenant needs: a load that remembers five minutes, and a rule without memory.

```
 cores of all pods, once a second            demand, in pods
   │      ▄                                    │    ┌────┐ 1.33 × peak of the window
   │  ▂   █ ▂                  average ×4 ─┐   │    │    └─── held: the most of the quiet period
   │ ▃█▂▁▂█▄█▂▁▁▁  ─▶ TenantLoad ─┤ peak ×1.33─▶ │ ───┘- - - - - ┐  dead band below the next step
   └────────────▶               └ saturated    │                └────
                                               └──────────────────▶  pods_wanted()
```

*Demand* is max(4 × average, 1.33 × peak) over the window, in pods. The average says what the tenant
does all day and leaves room for a burst of four times that; the peak is what it did at its busiest
and leaves a third for the next one. A tenant that was asleep did nothing: the average divides by
the whole window, however young the load is, so a wake is not taken for a storm.

*The peak* is the busiest few seconds in a row, not the busiest sample. A report that runs for a
second is no reason for a second pod.

*Saturation* is what the window cannot see. A pod has one core, so a load that needs ten shows as
one until there are more pods. A pod that is saturated for `saturated_seconds` asks for a helper at
once: where all of n are saturated, 2n are wanted, and sixty clients who come at the same moment
have their pods in a handful of steps. A pod whose helper idles asks for no other, and one that has
just come is given time to take its share.

*Sessions* bound it all: one uses one core at most, so more pods than the window saw sessions at
once would only wait.

*Down* is slower than up. The number falls to what the most demanding moment of the last
`quiet_seconds` needs, and only where that leaves `dead_band` of a pod to spare, so a load that
swings around a whole number of pods does not make them come and go. A load that has not been
watched for a whole window (the autoscaler was restarted) is no ground for fewer pods.
"""

import math
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from autoscaler.windows import SlidingMax, SlidingSum

SAMPLE_SECONDS_MIN = 0.5
"""A sample that comes sooner after the last one is left out: what is kept is bounded by it."""

_Pod = TypeVar("_Pod", bound=Hashable)
"""Whatever the caller knows a pod by."""
_MICROS = 1_000_000
"""Time is counted in whole microseconds and work in those of one core: sums of them never drift."""
_CEIL_SLACK = 1e-6
"""What rounding may add to a demand that is a whole number of pods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePolicy:
    """The constants of the rule; docs/autoscaler.md shows what each of them buys."""

    window_seconds: float = 300.0
    """How far back the average and the peak look."""

    average_factor: float = 4.0
    """Capacity per average use."""

    peak_factor: float = 1.33
    """Capacity per use at the peak."""

    peak_seconds: float = 2.0
    """How long a peak is: its height is the mean over so long."""

    cores_per_pod: float = 1.0
    """What one pod can use."""

    saturated_at: float = 0.9
    """The share of its cores from which on a pod is saturated."""

    saturated_seconds: float = 2.0
    """How long until it asks for a helper."""

    quiet_seconds: float = 60.0
    """How long fewer pods must have been enough before there are fewer."""

    dead_band: float = 0.1
    """Pods that must be left to spare after giving one up."""

    sample_seconds_max: float = 2.5
    """A sample speaks for the time since the last one, but for no longer than this."""

    stale_seconds: float = 10.0
    """Without a sample for so long nothing is known, and nothing changes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The number of pods, and why."""

    pods: int
    reason: str
    """For people."""
    seen: tuple[float, ...]
    """The numbers it was based on, in the order of `_INPUTS`."""

    @property
    def inputs(self) -> dict[str, str]:
        """What it was based on, for people: numbers by name."""
        return {
            name: f"{value:{form}}"
            for (name, form), value in zip(_INPUTS.items(), self.seen, strict=True)
        }


_INPUTS = {
    "average_cores": ".3f",
    "peak_cores": ".3f",
    "demand_pods": ".2f",
    "held_pods": ".2f",
    "saturated_seconds": ".0f",
    "sessions": ".0f",
    "pods": ".0f",
}
"""Names of what a decision is based on, and how they are written."""


class TenantLoad:
    """What all pods of a tenant used over the window, as of the last sample. Keep it while the
    tenant naps: what it needed a moment ago it is given again at once."""

    __slots__ = (
        "_held",
        "_latest",
        "_latest_micros",
        "_latest_work",
        "_peaks",
        "_saturated_since",
        "_sessions",
        "_since",
        "_work",
        "average",
        "demand",
        "held",
        "helped",
        "helpers",
        "peak",
        "policy",
        "sampled_at",
        "sessions",
    )

    def __init__(self, policy: ScalePolicy) -> None:
        entries_max = math.ceil(policy.window_seconds / SAMPLE_SECONDS_MIN) + 1
        self.policy = policy
        self.sampled_at = float("-inf")
        """When the last sample was taken; -inf before the first."""
        self.average = 0.0
        """Cores, over the whole window; what came before the first sample counts as nothing."""
        self.peak = 0.0
        """Cores, in the busiest `peak_seconds` of the window."""
        self.sessions = 1.0
        """The most sessions that were open at once in the window; at least 1."""
        self.demand = 0.0
        """Pods that the average or the peak asks for; saturation is not in it."""
        self.helpers = 0
        """How many more pods the saturated ones ask for."""
        self.helped = 0.0
        """Pods with those helpers, as far as there are sessions for them; 0.0 where none is asked
        for."""
        self.held = 0.0
        """The most pods that were asked for in the quiet period, for whatever reason."""
        self._work = SlidingSum(policy.window_seconds, entries_max)
        self._peaks = SlidingMax(policy.window_seconds)
        self._held = SlidingMax(policy.quiet_seconds)
        self._sessions = SlidingMax(policy.window_seconds)
        self._latest: deque[tuple[int, int]] = deque()
        """(microseconds, work) of the samples that the current stretch of `peak_seconds` covers."""
        self._latest_micros = 0
        self._latest_work = 0
        self._saturated_since: dict[Hashable, float | None] = {}
        self._since: float | None = None

    def __repr__(self) -> str:
        cores = f"average={self.average:.2f} peak={self.peak:.2f}"
        return f"<TenantLoad {cores} demand={self.demand:.2f}>"

    def watched_seconds(self, now: float) -> float:
        """Since the first sample; 0 before it."""
        return 0.0 if self._since is None else now - self._since

    def saturated_seconds(self, now: float) -> float:
        """How long the pod that is saturated for the longest has been so; 0 where none is. A pod
        that comes starts the count anew."""
        since = [at for at in self._saturated_since.values() if at is not None]
        return now - min(since) if since else 0.0

    def add(
        self,
        at: float,
        cores_by_pod: Mapping[_Pod, float],
        *,
        sessions: int,
        leaving_cores: float = 0.0,
    ) -> None:
        """What each serving pod uses just now, at `at` (seconds), and all draining ones together;
        `sessions` of the tenant have a pod.

        Call it once a second while the tenant has pods. A late sample is left out, and one that
        comes within SAMPLE_SECONDS_MIN of the last.
        """
        if at < self.sampled_at + SAMPLE_SECONDS_MIN:
            return
        policy, seconds = self.policy, 0.0
        if self._since is None:
            self._since = at
        else:
            seconds = min(at - self.sampled_at, policy.sample_seconds_max)
        self.sampled_at = at
        self._note_work(at, sum(cores_by_pod.values()) + leaving_cores, round(seconds * _MICROS))
        self._note_saturation(at, cores_by_pod)
        self._sessions.add(at, float(sessions))
        self.sessions = max(self._sessions.largest, 1.0)
        cores = max(policy.average_factor * self.average, policy.peak_factor * self.peak)
        self.demand = min(cores / policy.cores_per_pod, self.sessions)
        self.helped = min(len(cores_by_pod) + self.helpers, self.sessions) if self.helpers else 0.0
        self._held.add(at, max(self.demand, self.helped))
        self.held = self._held.largest

    def _note_work(self, at: float, cores: float, micros: int) -> None:
        work = round(cores * micros)
        self._work.add(at, work)
        self._latest.append((micros, work))
        self._latest_micros += micros
        self._latest_work += work
        stretch = round(self.policy.peak_seconds * _MICROS)
        while self._latest_micros - self._latest[0][0] >= stretch:
            gone_micros, gone_work = self._latest.popleft()
            self._latest_micros -= gone_micros
            self._latest_work -= gone_work
        self._peaks.add(at, self._latest_work / max(self._latest_micros, stretch))
        self.average = self._work.total / _MICROS / self.policy.window_seconds
        self.peak = self._peaks.largest

    def _note_saturation(self, at: float, cores_by_pod: Mapping[_Pod, float]) -> None:
        policy, before = self.policy, self._saturated_since
        line = policy.saturated_at * policy.cores_per_pod
        ripe = at - policy.saturated_seconds
        joined = not before.keys() >= cores_by_pod.keys()
        since: dict[Hashable, float | None] = {}
        saturated, room = 0, 0.0
        for pod, cores in cores_by_pod.items():
            if cores < line:
                since[pod] = None
                room += line - cores
            else:
                begun = None if joined else before[pod]
                since[pod] = begun = at if begun is None else begun
                saturated += begun <= ripe
        self._saturated_since = since
        self.helpers = max(saturated - round(room / line), 0)


def pods_wanted(
    load: TenantLoad, *, pods_now: int, pods_min: int, pods_max: int, active: bool, now: float
) -> Wanted:
    """How many pods the tenant is to have, of which `pods_now` serve or are on their way.

    `active`: it has a session that keeps it awake, so it is not left without a pod. Otherwise
    `pods_min` are wanted, most often none. `pods_max` wins over `pods_min`.
    """
    least = min(max(pods_min, 1 if active else 0), pods_max)
    if not active:
        return _wanted(load, least, "idle", pods_now, now)
    if now - load.sampled_at > load.policy.stale_seconds:
        pods, reason = pods_now, "no samples: what is there stays"
    else:
        pods, reason = _by_load(load, pods_now, now)
    if pods < least:
        pods, reason = least, f"at the least {least}"
    elif pods > pods_max:
        pods, reason = pods_max, f"at the most {pods_max}; {reason}"
    return _wanted(load, pods, reason, pods_now, now)


def _by_load(load: TenantLoad, pods_now: int, now: float) -> tuple[int, str]:
    policy = load.policy
    demand = load.demand
    rise = math.ceil(demand - _CEIL_SLACK)
    helped = math.ceil(load.helped)
    if helped > pods_now and helped >= rise:
        return helped, f"saturated for {load.saturated_seconds(now):.0f} s"
    if rise > pods_now:
        return rise, _why(load)
    fall = math.ceil(min(load.held + policy.dead_band, load.sessions) - _CEIL_SLACK)
    if fall >= pods_now:
        return pods_now, "enough" if rise == pods_now else "needed a moment ago"
    if load.watched_seconds(now) < policy.window_seconds:
        return pods_now, "watched for too short a time for fewer"
    return fall, f"{fall} were enough for {policy.quiet_seconds:g} s"


def _why(load: TenantLoad) -> str:
    policy = load.policy
    if policy.average_factor * load.average > policy.peak_factor * load.peak:
        return f"{policy.average_factor:g} × the average of {load.average:.2f} cores"
    return f"{policy.peak_factor:g} × the peak of {load.peak:.2f} cores"


def _wanted(load: TenantLoad, pods: int, reason: str, pods_now: int, now: float) -> Wanted:
    numbers = (load.average, load.peak, load.demand, load.held, load.saturated_seconds(now))
    return Wanted(pods, reason, (*numbers, load.sessions, pods_now))
