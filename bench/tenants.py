"""What a tenant costs before anybody uses it: time to create, memory and processes while asleep.

Memory is counted as what would be freed if the gateway ended: the unique set size (USS) of every
process of it, before and after.
"""

import argparse
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.gateway import Gateway, OwnGateway
from bench.memory import usage
from bench.stats import summary, table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--tenants", type=int, default=10_000, metavar="N", help="in all (default: 10000)"
    )
    parser.add_argument(
        "--timed",
        type=int,
        default=300,
        metavar="N",
        help="of them created one after the other, to take the time (default: 300)",
    )


def run(gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Measure; the tenants of a gateway that goes on running are deleted again."""
    timed = min(options.timed, options.tenants)
    times, made = [], []
    prefix = f"bench-{secrets.token_hex(4)}"
    for number in range(timed):
        started = time.perf_counter()
        made.append(gateway.create_tenant(f"{prefix}-{number}")["id"])
        times.append((time.perf_counter() - started) * 1000)
    before = usage(gateway)
    started = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        names = (f"{prefix}-{number}" for number in range(timed, options.tenants))
        made += [tenant["id"] for tenant in pool.map(gateway.create_tenant, names)]
        elapsed = time.perf_counter() - started
    after = usage(gateway)
    more = max(options.tenants - timed, 1)
    result = {
        "tenants": options.tenants,
        "create_ms": summary(times),
        "creates_per_second": round((options.tenants - timed) / elapsed, 1),
        "processes": {"before": before["processes"], "after": after["processes"]},
        "uss_mib": {name: round(each["uss"] / 2**20, 1) for name, each in _both(before, after)},
        "bytes_per_idle_tenant": round((after["uss"] - before["uss"]) / more),
    }
    _print(result)
    if not isinstance(gateway, OwnGateway):  # its folder goes with it
        for tenant in made:
            gateway.delete(tenant)
    return result


def _both(before: dict[str, int], after: dict[str, int]) -> list[tuple[str, dict[str, int]]]:
    return [("before", before), ("after", after)]


def _print(result: dict[str, Any]) -> None:
    create = result["create_ms"]
    print(table(("create, ms", *create), [("one after the other", *create.values())]), end="\n\n")
    rows = [
        ("processes", result["processes"]["before"], result["processes"]["after"]),
        ("unique memory, MiB", result["uss_mib"]["before"], result["uss_mib"]["after"]),
    ]
    print(table((f"{result['tenants']} idle tenants", "before", "after"), rows), end="\n\n")
    print(f"{result['bytes_per_idle_tenant']} bytes of memory per idle tenant")
    print(f"{result['creates_per_second']} tenants created per second, 8 at a time")
