"""The day of one tenant under one rule, in virtual time.

```
 trace     ▃▃▅▅▁▁            ▃▃                   what the clients would do
 awake    ├──────┬─timeout─┤├──┬─timeout─┤        paid for, from the first statement on
 pods      1 1 3 3 3 1 1 1 0 1 1 1 1 1 1 0
            └─ the rule is asked, and obeyed JOIN_SECONDS later
```

Work that pods cannot do is not done later: clients in a pool wait for their answer before they ask
again, so a tenant that is short of pods gets less done. That part is counted as *held back*, and
the seconds in which it happened as *saturated*. The load is spread over the pods as least
connections would spread it: evenly, but for the busiest, which has `skew` more; where there are as
many pods as sessions, each has one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.simulation.policies import STEP_SECONDS_MAX, Rule, RuleMaker
from bench.simulation.traces import Stretch, Trace

JOIN_SECONDS = 1.5
"""From a decision until a new pod has its share of the sessions."""
LEAVE_SECONDS = 2.0
"""How long a pod is paid for that is given up: its sessions move."""
_NEWS_SECONDS = 8.0
"""For so long after the load changed it is looked at more often..."""
_NEAR = 0.6
"""...and every second where a pod has this much to do."""
_CORES_PER_POD = 1.0


@dataclass(frozen=True, slots=True)
class Sleep:
    """When a tenant sleeps."""

    idle_timeout: float = 300.0
    """Seconds without a statement."""
    while_connected: bool = True
    """Whether open connections, which are parked, let it sleep."""


@dataclass(slots=True)
class Life:
    """What came of it; times in seconds."""

    wakes: int = 0
    pod_seconds: float = 0.0
    awake_seconds: float = 0.0
    busy_seconds: float = 0.0
    """With statements running."""
    saturated_seconds: float = 0.0
    work: float = 0.0
    """Core-seconds that the clients would have used."""
    held_back: float = 0.0
    """Core-seconds of it that no pod had room for."""
    changes: int = 0
    """Of the number of pods while awake."""
    claims: list[float] = field(default_factory=list)
    """When warm pods were taken, by wakes and by rises."""
    pods_over_time: list[tuple[float, int]] = field(default_factory=list)


def spread(cores: float, pods: int, sessions: int, skew: float) -> list[float]:
    """What each pod would be asked to do, the busiest first: a session each, if there are pods
    enough for that."""
    working = min(pods, max(sessions, 1))
    even = cores / working
    first = even if working == sessions else min(even * (1.0 + skew), cores)
    rest = (cores - first) / (working - 1) if working > 1 else 0.0
    return [first, *[rest] * (working - 1), *[0.0] * (pods - working)]


def live(trace: Trace, make_rule: RuleMaker, sleep: Sleep, end: float) -> Life:
    """Let the tenant's day go by, until `end`."""
    day = _Day(trace, make_rule(), sleep)
    for stretch in trace.stretches:
        day.rest(stretch.start)
        day.work(stretch)
    day.rest(end)
    return day.life


class _Share(NamedTuple):
    """How the work of a moment is spread; cores."""

    asked: float
    busiest: float
    """What the busiest pod would be asked to do."""
    held_back: float
    used: Mapping[int, float]


class _Day:
    def __init__(self, trace: Trace, rule: Rule, sleep: Sleep) -> None:
        self.life = Life()
        self._skew = trace.skew
        self._rule = rule
        never = not sleep.while_connected and trace.stays_connected
        self._timeout = float("inf") if never else sleep.idle_timeout
        self._now = 0.0
        self._pods = 0
        self._coming: list[float] = []
        """When pods that were asked for will have their share."""

    def rest(self, until: float) -> None:
        """Nobody asks for anything."""
        if self._pods:
            asleep_at = self._now + self._timeout
            while self._pods > 1 and self._now < min(until, asleep_at):
                step = min(STEP_SECONDS_MAX, until - self._now, asleep_at - self._now)
                self._step(step, self._share(0.0, 0), 0)
            self._pay(max(min(until, asleep_at) - self._now, 0.0))
            if asleep_at < until:
                self._pods = 0
                self._coming.clear()
                self.life.pods_over_time.append((asleep_at, 0))
        self._now = max(until, self._now)

    def work(self, stretch: Stretch) -> None:
        """The clients work for a stretch; the tenant is woken first if it sleeps."""
        if not self._pods:
            self._rule.pods(self._now, {}, 0, 0)
            self._pods = 1
            self.life.wakes += 1
            self._claim(1)
        self.life.busy_seconds += stretch.end - stretch.start
        share = self._share(stretch.cores, stretch.sessions)
        while self._now < stretch.end:
            if len(share.used) != self._pods:
                share = self._share(stretch.cores, stretch.sessions)
            fresh = self._now - stretch.start < _NEWS_SECONDS
            step = STEP_SECONDS_MAX
            if self._coming or share.busiest > (_NEAR if fresh else _CORES_PER_POD):
                step = 1.0
            elif fresh and share.busiest > _NEAR / 2:
                step = STEP_SECONDS_MAX / 4
            left = stretch.end - self._now
            self._step(left if left - step < 1.0 else step, share, stretch.sessions)

    def _share(self, cores: float, sessions: int) -> "_Share":
        asked = spread(cores, self._pods, sessions, self._skew)
        used = {pod: min(each, _CORES_PER_POD) for pod, each in enumerate(asked)}
        return _Share(cores, asked[0], cores - sum(used.values()), used)

    def _step(self, seconds: float, share: "_Share", sessions: int) -> None:
        life = self.life
        life.work += share.asked * seconds
        if share.busiest > _CORES_PER_POD:
            life.saturated_seconds += seconds
            life.held_back += share.held_back * seconds
        self._pay(seconds)
        arrived = sum(at <= self._now for at in self._coming) if self._coming else 0
        self._coming = self._coming[arrived:]
        wanted = self._rule.pods(self._now, share.used, arrived + len(self._coming), sessions)
        self._pods += arrived
        self._obey(wanted)

    def _obey(self, wanted: int) -> None:
        change = wanted - self._pods - len(self._coming)
        if not change:
            return
        self.life.changes += 1
        self.life.pods_over_time.append((self._now, wanted))
        if change > 0:
            self._coming += [self._now + JOIN_SECONDS] * change
            self._claim(change)
            return
        self.life.pod_seconds += -change * LEAVE_SECONDS
        kept = min(wanted, self._pods)
        self._coming = self._coming[: wanted - kept]
        self._pods = kept

    def _claim(self, pods: int) -> None:
        self.life.claims += [self._now] * pods
        if len(self.life.claims) == 1 or not self.life.pods_over_time[-1][1]:
            self.life.pods_over_time.append((self._now, 1))

    def _pay(self, seconds: float) -> None:
        self.life.pod_seconds += (self._pods + len(self._coming)) * seconds
        self.life.awake_seconds += seconds
        self._now += seconds


def ideal_pod_seconds(trace: Trace) -> float:
    """What somebody would pay who knows the future: as many pods as the work of each moment needs,
    and none while there is none."""
    return sum(
        (each.end - each.start) * max(-(-each.cores // _CORES_PER_POD), 1.0)
        for each in trace.stretches
    )
