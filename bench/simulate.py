"""The scaling rule and the warm pool over thousands of made-up tenants, in virtual time.

The functions that decide are the autoscaler's own; nothing is started and nothing waits. Four
tables come out of it: the rule beside simpler ones, the idle timeout, the pool's size, and each
constant of the rule turned by itself.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from bench.simulation import constants, report, warmpool
from bench.simulation.life import Sleep
from bench.simulation.traces import DAY, Trace, fleet
from bench.stats import percentile, table

_POOLS: dict[str, warmpool.Size] = {
    "2": warmpool.fixed(2),
    "16": warmpool.fixed(16),
    "32": warmpool.fixed(32),
    "2 to 16, following": warmpool.following(2, 16),
    "2 to 32, following": warmpool.following(2, 32),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--fleet", type=int, default=2_000, metavar="N", help="tenants (default: 2000)"
    )
    parser.add_argument("--days", type=float, default=1.0, metavar="N", help="(default: 1)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the fleet (default: 1)"
    )
    parser.add_argument(
        "--sweep-fleet",
        type=int,
        default=100,
        metavar="N",
        help="tenants for turning constants; 0 leaves that out (default: 100)",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Simulate; returns the figures."""
    traces = fleet(options.fleet, options.days, options.seed)
    print(f"{len(traces)} tenants, {options.days:g} days, seed {options.seed}\n", flush=True)
    rules, claims = _rules(traces, options.days)
    result: dict[str, Any] = {"tenants": len(traces), "days": options.days, "seed": options.seed}
    result["rules"] = rules
    result["pool"] = _pool(claims, options.days)
    if options.sweep_fleet:
        few = fleet(options.sweep_fleet, options.days, options.seed + 1)
        result["idle_timeouts"] = _idle_timeouts(few, options.days)
        result["constants"] = _constants(few, options.days)
    if options.pictures is not None:
        from bench.simulation import pictures

        pictures.draw(options.pictures, result, traces, claims)
    return result


def _rules(traces: Sequence[Trace], days: float) -> tuple[dict[str, Any], list[float]]:
    figures, claims = {}, list[float]()
    for name, (make_rule, sleep) in constants.RULES.items():
        total = report.simulate(traces, days, make_rule, sleep)
        figures[name] = total.figures
        claims = claims or total.claims
    _print("rule", figures)
    return figures, claims


def _idle_timeouts(traces: Sequence[Trace], days: float) -> dict[str, Any]:
    make_rule, _ = constants.RULES["dormouse"]
    figures = {
        f"{timeout:g} s": report.simulate(traces, days, make_rule, Sleep(timeout)).figures
        for timeout in constants.IDLE_TIMEOUTS
    }
    _print("idle timeout", figures)
    return figures


def _constants(traces: Sequence[Trace], days: float) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    shipped = report.simulate(traces, days, constants.RULES["dormouse"][0], Sleep()).figures
    for name, values in constants.SWEPT.items():
        for value in values:
            same = getattr(constants.POLICY, name) == value
            make_rule = constants.turned(name, value)
            found = shipped if same else report.simulate(traces, days, make_rule, Sleep()).figures
            figures[f"{name} {value:g}{' (as shipped)' if same else ''}"] = found
    free = report.simulate(traces, days, constants.without_sessions(), Sleep()).figures
    figures["more pods than sessions"] = free
    _print("constant", figures)
    return figures


def _pool(claims: Sequence[float], days: float) -> dict[str, Any]:
    figures = {}
    for name, size in _POOLS.items():
        day = warmpool.play(claims, size, days * DAY)
        waits_ms = [1000 * seconds for seconds in day.waits] or [0.0]
        figures[name] = {
            "claims": day.claims,
            "misses": day.misses,
            "miss_percent": round(100 * day.misses / max(day.claims, 1), 2),
            "wait_ms_p50": round(percentile(waits_ms, 50)),
            "wait_ms_max": round(max(waits_ms)),
            "warm_pods_mean": round(day.pod_seconds / days / DAY, 1),
        }
    rows = [(name, *found.values()) for name, found in figures.items()]
    header = (
        "warm pool",
        "claims",
        "misses",
        "%",
        "wait p50, ms",
        "wait max, ms",
        "pods on average",
    )
    print(table(header, rows), end="\n\n", flush=True)
    return figures


def _print(what: str, figures: dict[str, dict[str, float]]) -> None:
    rows = [(name, *found.values()) for name, found in figures.items()]
    print(table((what, *report.HEADINGS.values()), rows), end="\n\n", flush=True)
