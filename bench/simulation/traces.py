"""Made-up days of tenants, of the kinds that one meets, from one seed.

```
 steady     ▃▃▄▃▃▄█▃▃▄▃▃▄▃▃▄▃▃   a service that is never idle, surprised now and then
 office     ______▃█▅▂▅█▃_______   people at work: minutes of activity, pauses, a lunch
 bursty     __█_____▂█▅____█____   on and off at random, heavy tails on both sides
 nightly    _██_________________   a batch of some minutes at night, from a few sessions
 cron       ▂__▂__▂__▂__▂__▂__▂_   seconds of work on the minute, every so many minutes
 abandoned  ____________▂_______   a demo, a test, a side project; often still connected
```

A trace is the work that the clients of one tenant would do if nothing held them up: stretches of
constant load, with nothing between them. Sizes are log-normal: most tenants are small and a few
need many pods. Nothing here knows about pods.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

HOUR = 3600.0
DAY = 24 * HOUR
REQUEST_CORE_SECONDS = 0.004
"""What a statement costs, over pod and session."""
_STRETCH_SECONDS_MIN = 1.0
_SURGE_EVERY = 3 * HOUR
"""How often, on average, a steady service is surprised: a campaign, a deploy, a crawler."""


class Stretch(NamedTuple):
    """Some seconds of constant load."""

    start: float
    end: float
    cores: float
    """That the clients would use."""
    sessions: int
    """That work at the same time; one uses one core at most."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What one tenant does."""

    kind: str
    stretches: tuple[Stretch, ...]
    """In order, apart from each other or touching."""
    stays_connected: bool
    """Whether its clients keep their connections while they have nothing to do."""
    skew: float
    """How much more than an even share the busiest of its pods gets."""

    @property
    def requests(self) -> float:
        """Statements of all stretches."""
        return sum((s.end - s.start) * s.cores for s in self.stretches) / REQUEST_CORE_SECONDS


@dataclass(frozen=True, slots=True)
class Kind:
    """How often a kind is met, and what it is like."""

    share: float
    connected_share: float
    """Of those, how many keep idle connections."""
    make: Callable[[random.Random, float], Iterator[Stretch]]
    """The stretches of so many seconds, from midnight on."""


def fleet(tenants: int, days: float, seed: int) -> list[Trace]:
    """`tenants` traces, the kinds by their shares; the same for the same arguments."""
    names = list(KINDS)
    weights = [KINDS[name].share for name in names]
    quotas = [0.0] * len(names)
    traces = []
    for number in range(tenants):
        quotas = [quota + weight for quota, weight in zip(quotas, weights, strict=True)]
        most = max(range(len(names)), key=quotas.__getitem__)
        quotas[most] -= 1.0
        traces.append(_trace(names[most], days * DAY, random.Random(f"{seed}/{number}")))
    return traces


def _trace(name: str, seconds: float, dice: random.Random) -> Trace:
    kind = KINDS[name]
    return Trace(
        kind=name,
        stretches=tuple(_in_order(kind.make(dice, seconds), seconds)),
        stays_connected=dice.random() < kind.connected_share,
        skew=dice.uniform(0.0, 0.4),
    )


def _in_order(stretches: Iterable[Stretch], end: float) -> Iterator[Stretch]:
    at = 0.0
    for stretch in stretches:
        start, stop = max(stretch.start, at), min(stretch.end, end)
        if stop - start >= _STRETCH_SECONDS_MIN:
            yield stretch._replace(start=start, end=stop)
            at = stop


def _steady(dice: random.Random, seconds: float) -> Iterator[Stretch]:
    size, night = _size(dice, 0.4, 1.0), dice.uniform(0.4, 0.9)
    at, surge_at = 0.0, dice.expovariate(1 / _SURGE_EVERY)
    while at < seconds:
        lasts, cores = dice.uniform(60, 240), size * dice.lognormvariate(0, 0.12)
        if at >= surge_at:
            lasts, cores = dice.uniform(30, 300), cores * dice.uniform(1.5, 4.0)
            surge_at = at + dice.expovariate(1 / _SURGE_EVERY)
        share = 1.0 if 8 <= at % DAY / HOUR < 20 else night
        yield _stretch(dice, at, lasts, cores * share, 4 * size)
        at += lasts


def _office(dice: random.Random, seconds: float) -> Iterator[Stretch]:
    size = _size(dice, 0.15, 1.1)
    pause = dice.lognormvariate(5.3, 0.8)  # about 200 s, for some tenants a quarter of an hour
    at = dice.uniform(6.5, 9.0) * HOUR
    while at < seconds:
        hour = at % DAY / HOUR
        if not 6.5 <= hour < 19 or at // DAY % 7 >= 5:
            at = (at // DAY + 1) * DAY + dice.uniform(6.5, 9.0) * HOUR
            continue
        share = 0.4 if 12 <= hour < 13 or hour >= 17.5 else 1.0
        lasts = dice.expovariate(1 / 150)
        yield from _activity(dice, at, lasts, size * share)
        at += lasts + dice.expovariate(1 / pause)


def _bursty(dice: random.Random, seconds: float) -> Iterator[Stretch]:
    size = _size(dice, 0.8, 0.9)
    at = dice.uniform(0, 2 * HOUR)
    while at < seconds:
        lasts = min(10 * dice.paretovariate(1.1), 1800)
        yield from _activity(dice, at, lasts, size * dice.lognormvariate(0, 0.6))
        at += lasts + min(120 * dice.paretovariate(0.8), 6 * HOUR)


def _nightly(dice: random.Random, seconds: float) -> Iterator[Stretch]:
    sessions = dice.choice([1, 1, 2, 4, 8])
    starts, lasts = dice.uniform(0, 5) * HOUR, dice.uniform(300, 3600)
    while starts < seconds:
        for offset in range(0, int(lasts), 60):
            cores = sessions * dice.uniform(0.5, 1.0)
            yield Stretch(starts + offset, starts + offset + 60, cores, sessions)
        starts += DAY + dice.uniform(-60, 60)


def _cron(dice: random.Random, seconds: float) -> Iterator[Stretch]:
    every = dice.choice([1, 5, 5, 10, 15, 30, 60, 60]) * 60
    lasts, cores = dice.uniform(1, 20), dice.uniform(0.1, 1.0)
    for minute in range(0, int(seconds), every):
        start = minute + dice.expovariate(1 / 6)  # on the minute, like everybody
        yield Stretch(start, start + lasts * dice.uniform(0.7, 1.4), cores, 1)


def _abandoned(dice: random.Random, seconds: float) -> Iterator[Stretch]:
    at = dice.expovariate(1 / (16 * HOUR))
    while at < seconds:
        yield from _activity(dice, at, dice.expovariate(1 / 60), 0.1)
        at += HOUR + dice.expovariate(1 / (16 * HOUR))


def _activity(dice: random.Random, start: float, lasts: float, size: float) -> Iterator[Stretch]:
    """A while of work that goes up and down, with a spike of a few seconds now and then."""
    at = start
    while at < start + lasts:
        spike = dice.random() < 0.12
        each = dice.uniform(1, 5) if spike else dice.uniform(10, 50)
        level = size * dice.lognormvariate(0, 0.4) * (dice.uniform(2, 4) if spike else 1.0)
        yield _stretch(dice, at, min(each, max(start + lasts - at, 1.0)), level, size)
        at += each


def _stretch(dice: random.Random, start: float, lasts: float, cores: float, size: float) -> Stretch:
    """Clients think between statements, so they are more than the cores they use."""
    sessions = max(round(size * dice.uniform(3, 6)), 1)
    return Stretch(start, start + lasts, min(cores, float(sessions)), sessions)


def _size(dice: random.Random, median: float, spread: float) -> float:
    return min(dice.lognormvariate(0, spread) * median, 12.0)


KINDS = {
    "steady": Kind(0.06, 1.0, _steady),
    "office": Kind(0.22, 0.8, _office),
    "bursty": Kind(0.12, 0.6, _bursty),
    "nightly": Kind(0.08, 0.1, _nightly),
    "cron": Kind(0.10, 0.2, _cron),
    "abandoned": Kind(0.42, 0.5, _abandoned),
}
"""Shares add up to one."""
