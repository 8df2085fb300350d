"""What a tenant costs before anybody uses it: memory and processes while asleep.

Memory is counted as what would be freed if the gateway ended: the unique set size (USS) of every
process of it, before and after.
"""

import argparse
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.gateway import Gateway, OwnGateway
from bench.memory import usage
from bench.stats import table

_FIRST = 300
"""Made before memory is first taken, so that what every process needs once is there."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--tenants", type=int, default=10_000, metavar="N", help="in all (default: 10000)"
    )


def run(gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Measure; the tenants of a gateway that goes on running are deleted again."""
    prefix = f"bench-{secrets.token_hex(4)}"
    made = [gateway.create_tenant(f"{prefix}-{number}")["id"] for number in range(_FIRST)]
    before = usage(gateway)
    with ThreadPoolExecutor(8) as pool:
        names = (f"{prefix}-{number}" for number in range(_FIRST, options.tenants))
        made += [tenant["id"] for tenant in pool.map(gateway.create_tenant, names)]
    after = usage(gateway)
    more = max(options.tenants - _FIRST, 1)
    result = {
        "tenants": options.tenants,
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
    rows = [
        ("processes", result["processes"]["before"], result["processes"]["after"]),
        ("unique memory, MiB", result["uss_mib"]["before"], result["uss_mib"]["after"]),
    ]
    print(table((f"{result['tenants']} idle tenants", "before", "after"), rows), end="\n\n")
    print(f"{result['bytes_per_idle_tenant']} bytes of memory per idle tenant")
