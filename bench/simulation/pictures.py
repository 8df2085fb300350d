"""The simulation drawn: what each constant buys, one tenant's hours, and the pool's day."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.simulation import constants, warmpool
from bench.simulation.life import Sleep, live
from bench.simulation.traces import DAY, HOUR, Stretch, Trace

_SIZE = (8.0, 4.2)
_HOURS = (9.0, 13.0)
_POOL_HOURS = 5.0
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dormouse",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(
    folder: Path, result: Mapping[str, Any], traces: Sequence[Trace], claims: Sequence[float]
) -> None:
    """Write simulation-*.svg into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        if "constants" in result:
            _constants(folder / "simulation-constants.svg", result)
        _tenant(folder / "simulation-tenant.svg", traces)
        _pool(folder / "simulation-pool.svg", claims)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    print(f"drawn: {path}")


def _constants(path: Path, result: Mapping[str, Any]) -> None:
    figure, axes = plt.subplots(figsize=_SIZE)
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
    _save(figure, path)


def _tenant(path: Path, traces: Sequence[Trace]) -> None:
    """The bursty tenant that has most to do, in the morning."""
    bursty = (trace for trace in traces if trace.kind == "bursty")
    trace = max(bursty, key=lambda each: _work(_between(each, *_HOURS)))
    make_rule, sleep = constants.RULES["dormouse"]
    life = live(trace, make_rule, Sleep(sleep.idle_timeout), DAY)
    figure, axes = plt.subplots(figsize=_SIZE)
    at, cores = [0.0], [0.0]
    for stretch in _between(trace, *_HOURS):
        at += [stretch.start / HOUR, stretch.end / HOUR]
        cores += [stretch.cores, 0.0]
    axes.fill_between(at, cores, step="post", alpha=0.6, label="cores asked for")
    steps = [(0.0, 0), *life.pods_over_time]
    axes.step(
        [x / HOUR for x, _ in steps], [y for _, y in steps], where="post", color="C1", label="pods"
    )
    axes.set_xlim(*_HOURS)
    axes.set_ylim(0, 1 + max(y for x, y in steps if _HOURS[0] <= x / HOUR < _HOURS[1]))
    axes.set_xlabel("hour of the day")
    axes.set_title("A bursty tenant: what its clients would use, and the pods it had")
    axes.legend()
    _save(figure, path)


def _between(trace: Trace, start: float, end: float) -> list[Stretch]:
    return [each for each in trace.stretches if start * HOUR <= each.start < end * HOUR]


def _work(stretches: Sequence[Stretch]) -> float:
    return sum((each.end - each.start) * each.cores for each in stretches)


def _pool(path: Path, claims: Sequence[float]) -> None:
    morning = [at for at in claims if at < _POOL_HOURS * HOUR]
    day = warmpool.play(morning, warmpool.following(2, 32), _POOL_HOURS * HOUR)
    minutes = Counter(int(at / 60) for at in morning)
    hours = [minute / 60 for minute in range(int(_POOL_HOURS * 60))]
    figure, axes = plt.subplots(figsize=_SIZE)
    taken = [minutes[minute] for minute in range(len(hours))]
    axes.fill_between(hours, taken, step="post", alpha=0.5, label="pods taken in a minute")
    at, wanted = zip(*day.sizes, strict=True)
    label = "warm pods wanted"
    axes.step([each / HOUR for each in at], wanted, where="post", color="C1", lw=0.8, label=label)
    axes.set_xlim(0.5, _POOL_HOURS)
    axes.set_ylim(0, 1.1 * max(taken[30:], default=1))
    axes.set_xlabel("hour of the day")
    axes.set_title("The warm pool follows the claims, and knows the hour after it has seen one")
    axes.legend()
    _save(figure, path)
