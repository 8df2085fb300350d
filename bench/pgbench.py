"""pgbench on the gateway and on PostgreSQL 15, in one run on one machine, and the ratio.

The gateway is reached as applications reach it: TLS, through the proxy. PostgreSQL is reached
directly, without TLS. Both are durable. The same pgbench, unmodified, drives both; after the TPC-B
run the sums it must keep are compared, for a fast wrong answer is worth nothing.
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from bench.gateway import Gateway
from bench.postgres import binary, postgres
from bench.stats import table

_SCRIPTS = {"select-only": ["-S"], "tpc-b": ["-b", "tpcb-like"]}
_TPS = re.compile(r"^tps = ([0-9.]+) \(without initial", re.MULTILINE)
_LATENCY = re.compile(r"^latency average = ([0-9.]+) ms", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)
_SUMS = """
SELECT (SELECT sum(abalance) FROM pgbench_accounts),
       (SELECT sum(tbalance) FROM pgbench_tellers),
       (SELECT sum(bbalance) FROM pgbench_branches),
       (SELECT coalesce(sum(delta), 0) FROM pgbench_history)
"""


class PgbenchFailed(Exception):
    """pgbench ended with an error, or the sums do not agree."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument("--clients", type=int, default=8, metavar="N", help="(default: 8)")
    parser.add_argument(
        "--seconds", type=int, default=20, metavar="N", help="of each run (default: 20)"
    )
    parser.add_argument("--scale", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument(
        "--mode",
        choices=("simple", "extended", "prepared"),
        default="prepared",
        help="pgbench's query mode (default: prepared)",
    )
    parser.add_argument(
        "--script", choices=tuple(_SCRIPTS), action="append", help="only this one; may be repeated"
    )


def run(gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Measure both; returns transactions per second and ratios."""
    tenant = gateway.create_tenant("pgbench")
    with tempfile.TemporaryDirectory(prefix="dormouse-bench-") as folder:
        with postgres(Path(folder)) as url:
            reference = _measure(url, options)
        ours = _measure(tenant["connection_url"], options)
    gateway.delete(tenant["id"])
    ratios = {
        name: round(ours[name]["tps"] / reference[name]["tps"], 3) for name in _chosen(options)
    }
    result = {
        "clients": options.clients,
        "seconds": options.seconds,
        "scale": options.scale,
        "mode": options.mode,
        "postgresql": reference,
        "dormouse": ours,
        "ratio": ratios,
    }
    _print(result)
    return result


def _chosen(options: argparse.Namespace) -> list[str]:
    return list(options.script or _SCRIPTS)


def _measure(url: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    _pgbench(url, ["-i", "-q", "-s", str(options.scale)], seconds=600)
    return {name: _one(url, name, options) for name in _chosen(options)}


def _one(url: str, name: str, options: argparse.Namespace) -> dict[str, float]:
    arguments = [
        *("-n", "-M", options.mode, "-c", str(options.clients), "-j", "2"),
        *("-T", str(options.seconds)),
        *_SCRIPTS[name],
    ]
    output = _pgbench(url, arguments, seconds=options.seconds + 120)
    failed = _FAILED.search(output)
    if failed is not None and int(failed[1]) > 0:
        raise PgbenchFailed(f"{failed[1]} transactions failed:\n{output}")
    if name == "tpc-b":
        _check_sums(url)
    return {"tps": _number(_TPS, output), "latency_ms": _number(_LATENCY, output)}


def _check_sums(url: str) -> None:
    with psycopg.connect(url) as connection:
        row = connection.execute(_SUMS.encode()).fetchone()
    if row is None or len(set(row)) != 1:
        raise PgbenchFailed(f"accounts, tellers, branches and history do not agree: {row}")


def _pgbench(url: str, arguments: list[str], *, seconds: float) -> str:
    done = subprocess.run(
        [binary("pgbench"), *arguments, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if done.returncode != 0 or "ERROR" in done.stderr:
        raise PgbenchFailed(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _number(pattern: re.Pattern[str], text: str) -> float:
    found = pattern.search(text)
    if found is None:
        raise PgbenchFailed(f"pgbench's report cannot be read:\n{text}")
    return float(found[1])


def _print(result: dict[str, Any]) -> None:
    print(f"{result['clients']} clients, {result['mode']}, scale {result['scale']}\n")
    rows = [
        (
            name,
            result["postgresql"][name]["tps"],
            result["dormouse"][name]["tps"],
            result["postgresql"][name]["latency_ms"],
            result["dormouse"][name]["latency_ms"],
            f"{ratio:.3f}",
        )
        for name, ratio in result["ratio"].items()
    ]
    print(table(("", "PostgreSQL tps", "Dormouse tps", "ms", "ms", "ratio"), rows))
