"""How long the first row of a sleeping tenant takes: connect, TLS, wake, SCRAM, `SELECT 1`.

Each round puts the tenant to sleep through the API, gives the warm pool time to refill, and
connects with libpq. The client's clock decides; the phases show where its time went, and the roles'
own clocks what they did meanwhile, which must add up to it. Beside it stands the same connection to
a tenant that is awake, which is what a wake adds to.
"""

import argparse
import time
from typing import Any

from bench.breakdown import breakdown
from bench.connect import PHASES, Timing, connect_and_select
from bench.gateway import Gateway
from bench.scrape import means, read_histograms
from bench.stats import percentile, summary, table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument("--wakes", type=int, default=200, metavar="N", help="rounds (default: 200)")
    parser.add_argument(
        "--pause",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="between sleep and wake, for the warm pool (default: 0.5)",
    )
    parser.add_argument(
        "--unexplained",
        type=float,
        default=20.0,
        metavar="PERCENT",
        help="of what the client saw that the roles' clocks may leave open (default: 20)",
    )


def run(gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Measure; returns the figures in milliseconds. Raises DoesNotAddUp."""
    tenant = gateway.create_tenant("cold-start")
    url = tenant["connection_url"]
    connect_and_select(url)  # the first wake also makes the tenant's catalog
    before = read_histograms(gateway.roles())
    cold = []
    for _ in range(options.wakes):
        gateway.suspend(tenant["id"])
        time.sleep(options.pause)
        cold.append(connect_and_select(url))
    after = read_histograms(gateway.roles())
    client_ms = sum(timing.total_ms for timing in cold) / len(cold)
    parts = breakdown(before, after, client_ms, len(cold))
    warm = [connect_and_select(url) for _ in range(options.wakes)]
    gateway.delete(tenant["id"])
    result = {
        "wakes": options.wakes,
        "cold_ms": summary([timing.total_ms for timing in cold]),
        "awake_ms": summary([timing.total_ms for timing in warm]),
        "phases_p50_ms": {"cold": _phases(cold), "awake": _phases(warm)},
        "breakdown_mean_ms": {
            "client": round(client_ms, 3),
            **parts.parts_ms,
            "unexplained": round(parts.unexplained_ms, 3),
        },
        "roles_mean_ms": [
            {"role": role, "histogram": name, "count": count, "mean_ms": round(mean, 3)}
            for role, name, count, mean in means(before, after)
        ],
    }
    _print(result)
    parts.check(options.unexplained)
    return result


def _phases(timings: list[Timing]) -> dict[str, float]:
    return {
        name: round(percentile([timing.phases_ms[name] for timing in timings], 50), 2)
        for name in PHASES
    }


def _print(result: dict[str, Any]) -> None:
    columns = ("p50", "p90", "p99", "max")
    rows = [
        ("asleep, first row", *(result["cold_ms"][column] for column in columns)),
        ("awake, first row", *(result["awake_ms"][column] for column in columns)),
    ]
    print(table(("ms", *columns), rows), end="\n\n")
    phases = result["phases_p50_ms"]
    print(
        table(
            ("p50 of each phase, ms", "asleep", "awake"),
            [(name, phases["cold"][name], phases["awake"][name]) for name in PHASES],
        ),
        end="\n\n",
    )
    rows = list(result["breakdown_mean_ms"].items())
    print(table(("where a wake's time goes, mean ms", ""), rows), end="\n\n")
    roles = [
        (f"{each['role']}: {each['histogram']}", each["count"], each["mean_ms"])
        for each in result["roles_mean_ms"]
    ]
    if roles:
        print(table(("measured by the roles while waking", "count", "mean ms"), roles))
