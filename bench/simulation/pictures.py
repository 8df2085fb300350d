"""The simulation drawn: what each constant buys, one tenant's hours, and the pool's day."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.plots import picture
from bench.simulation import constants, warmpool
from bench.simulation.life import live
from bench.simulation.traces import DAY, HOUR, Stretch, Trace

_HOURS = (9.0, 13.0)
_POOL_HOURS = 5.0


def draw(
    folder: Path, result: Mapping[str, Any], traces: Sequence[Trace], claims: Sequence[float]
) -> None:
    """Write simulation-*.svg into the folder."""
    if "constants" in result:
        _constants(folder / "simulation-constants.svg", result)
    _tenant(folder / "simulation-tenant.svg", traces)
    _pool(folder / "simulation-pool.svg", claims)


def _constants(path: Path, result: Mapping[str, Any]) -> None:
    with picture(path) as axes:
        for name in ("average_factor", "peak_factor", "window_seconds", "saturated_seconds"):
            points = [
                (found["pods_awake"], found["held_back_percent"], key.split()[1])
                for key, found in result["constants"].items()
                if key.split()[0] == name
            ]
            across, up, labels = zip(*sorted(points), strict=True)
            axes.plot(across, up, marker="o", markersize=4, label=name)
            for x, y, label in zip(across, up, labels, strict=True):
                text = "never" if float(label) > 1e6 else label
                axes.annotate(text, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7)
        axes.set_xlabel("pods of a tenant that is awake")
        axes.set_ylabel("work held back, %")
        axes.set_ylim(bottom=0)
        axes.set_title("One constant turned at a time: below and to the left is better")
        axes.legend()


def _tenant(path: Path, traces: Sequence[Trace]) -> None:
    """The bursty tenant that has most to do, in the morning."""
    bursty = (trace for trace in traces if trace.kind == "bursty")
    trace = max(bursty, key=lambda each: _work(_between(each, *_HOURS)))
    make_rule, sleep = constants.RULES["dormouse"]
    life = live(trace, make_rule, sleep, DAY)
    at, cores = [0.0], [0.0]
    for stretch in _between(trace, *_HOURS):
        at += [stretch.start / HOUR, stretch.end / HOUR]
        cores += [stretch.cores, 0.0]
    hours, pods = zip(*[(0.0, 0), *life.pods_over_time, (DAY, 0)], strict=True)
    seen = [n for hour, n in zip(hours, pods, strict=True) if _is_shown(hour / HOUR)]
    with picture(path) as axes:
        axes.fill_between(at, cores, step="post", alpha=0.6, label="cores asked for")
        axes.step([each / HOUR for each in hours], pods, where="post", color="C1", label="pods")
        axes.set_xlim(*_HOURS)
        axes.set_ylim(0, 1 + max(seen, default=1))
        axes.set_xlabel("hour of the day")
        axes.set_title("A bursty tenant: what its clients would use, and the pods it had")
        axes.legend()


def _is_shown(hour: float) -> bool:
    return _HOURS[0] <= hour < _HOURS[1]


def _between(trace: Trace, start: float, end: float) -> list[Stretch]:
    return [each for each in trace.stretches if start * HOUR <= each.start < end * HOUR]


def _work(stretches: Sequence[Stretch]) -> float:
    return sum((each.end - each.start) * each.cores for each in stretches)


def _pool(path: Path, claims: Sequence[float]) -> None:
    morning = [at for at in claims if at < _POOL_HOURS * HOUR]
    day = warmpool.play(morning, warmpool.following(2, 32), _POOL_HOURS * HOUR)
    minutes = Counter(int(at / 60) for at in morning)
    hours = [minute / 60 for minute in range(int(_POOL_HOURS * 60))]
    taken = [minutes[minute] for minute in range(len(hours))]
    times, wanted = zip(*day.sizes, strict=True)
    with picture(path) as axes:
        axes.fill_between(hours, taken, step="post", alpha=0.5, label="pods taken in a minute")
        axes.step(
            [at / HOUR for at in times], wanted, where="post", color="C1", label="warm pods wanted"
        )
        axes.set_xlim(0.5, _POOL_HOURS)
        axes.set_ylim(0, 1.1 * max(taken[30:], default=1))
        axes.set_xlabel("hour of the day")
        axes.set_title("The warm pool follows the claims, and knows the hour after it has seen one")
        axes.legend()
