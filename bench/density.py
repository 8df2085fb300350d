"""How many tenants fit: what one costs that sleeps, what one costs that is awake, and how long a
crowd takes to wake.

Tenants are registered and asleep first; then some of them are awake at once, each with a session
that is open; then a crowd of sleeping ones is woken in the same moment, which is more than the warm
pool holds. Beside it stands what PostgreSQL 15 takes for one server per tenant, which is the plain
way to give everybody a database of their own that others can't disturb.
"""

import argparse
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench import memory
from bench.connect import connect_and_select
from bench.gateway import Gateway, GatewayError, wait_for
from bench.postgres import postgres
from bench.stats import summary, table

_AT_A_TIME = 8
_SERVERS = 3
"""PostgreSQL servers that are started to see what one takes."""
_CALM_SECONDS = 5.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--asleep", type=int, default=10_000, metavar="N", help="tenants (default: 10000)"
    )
    parser.add_argument(
        "--awake", type=int, default=200, metavar="N", help="of them awake at once (default: 200)"
    )
    parser.add_argument(
        "--crowd", type=int, default=50, metavar="N", help="woken in a moment (default: 50)"
    )
    parser.add_argument(
        "--crowds", type=int, default=3, metavar="N", help="how often that is done (default: 3)"
    )


def run(gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Measure; the tenants of a gateway that goes on running are left there."""
    used = max(options.awake, options.crowd)
    if options.asleep < used:
        raise GatewayError(f"--asleep must be at least {used}")
    prefix = f"density-{secrets.token_hex(4)}"
    tenants = [gateway.create_tenant(f"{prefix}-{number}") for number in range(used)]
    result: dict[str, Any] = {"asleep": _asleep(gateway, prefix, options.asleep, used)}
    result["awake"] = _awake(gateway, tenants[: options.awake])
    result["crowd"] = _crowds(gateway, tenants[: options.crowd], options.crowds)
    result["postgresql_server_mib"] = _postgres_mib()
    _print(result)
    return result


def _asleep(gateway: Gateway, prefix: str, tenants: int, already: int) -> dict[str, Any]:
    before = memory.usage(gateway)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(gateway.create_tenant, (f"{prefix}-{n}" for n in range(already, tenants))))
    after = memory.usage(gateway)
    return {
        "tenants": tenants,
        "bytes_each": round((after["uss"] - before["uss"]) / max(tenants - already, 1)),
        "processes": {"before": before["processes"], "after": after["processes"]},
    }


def _awake(gateway: Gateway, tenants: Sequence[dict[str, Any]]) -> dict[str, Any]:
    asleep = _roles_pss(gateway)
    started = time.perf_counter()
    with ExitStack() as sessions:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for session in pool.map(_session, tenants):
                sessions.enter_context(session)
        seconds = time.perf_counter() - started
        time.sleep(memory.SETTLE_SECONDS)
        cores = _cores(gateway)
        roles = _roles_pss(gateway) - asleep
        sizes = sorted((memory.pss(pod), memory.uss(pod)) for pod in memory.pods(gateway))
    # Warm pods have less than those that work for a tenant; of those there is one for each.
    used, warm = sizes[-len(tenants) :], sizes[: -len(tenants)]
    return {
        "tenants": len(tenants),
        "seconds_to_wake": round(seconds, 1),
        "idle_cores": round(cores, 2),
        "pod_pss_mib": _mib(statistics.median(pss for pss, _ in used)),
        "pod_pss_mib_max": _mib(used[-1][0]),
        "pod_uss_mib": _mib(statistics.median(uss for _, uss in used)),
        "tenant_mib": _mib((sum(pss for pss, _ in used) + roles) / len(tenants)),
        "warm_pods": len(warm),
        "warm_pod_pss_mib": _mib(statistics.median(pss for pss, _ in warm)) if warm else None,
    }


def _roles_pss(gateway: Gateway) -> int:
    """Of everything but the pods."""
    pods = {pod.pid for pod in memory.pods(gateway)}
    return sum(memory.pss(each) for each in memory.processes(gateway) if each.pid not in pods)


def _session(tenant: dict[str, Any]) -> psycopg.Connection[Any]:
    session = psycopg.connect(tenant["connection_url"], autocommit=True)
    session.execute("SELECT 1")
    return session


def _cores(gateway: Gateway) -> float:
    """What the gateway uses while its tenants are awake and nobody asks for anything."""
    before, started = _cpu_seconds(gateway), time.perf_counter()
    time.sleep(_CALM_SECONDS)
    return (_cpu_seconds(gateway) - before) / (time.perf_counter() - started)


def _cpu_seconds(gateway: Gateway) -> float:
    seconds = 0.0
    for process in memory.processes(gateway):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
    return seconds


def _crowds(gateway: Gateway, tenants: Sequence[dict[str, Any]], crowds: int) -> dict[str, Any]:
    """Wake them all in the same moment, more than once."""
    times: list[float] = []
    whole: list[float] = []
    for _ in range(crowds):
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda tenant: gateway.suspend(tenant["id"]), tenants))
        _until_warm(gateway)
        gate = threading.Barrier(len(tenants) + 1)

        def wake(tenant: dict[str, Any], gate: threading.Barrier = gate) -> float:
            gate.wait()
            return connect_and_select(tenant["connection_url"]).total_ms

        with ThreadPoolExecutor(len(tenants)) as pool:
            waking = [pool.submit(wake, tenant) for tenant in tenants]
            gate.wait()
            started = time.perf_counter()
            times += [each.result() for each in waking]
            whole.append(time.perf_counter() - started)
    return {
        "tenants": len(tenants),
        "times": crowds,
        "first_row_ms": summary(times),
        "all_awake_seconds": [round(seconds, 2) for seconds in whole],
    }


def _until_warm(gateway: Gateway) -> None:
    def is_warm() -> bool:
        pool = gateway.call("GET", "/v1/live")["warm_pool"]
        return pool is not None and pool["ready"] >= pool["wanted"]

    wait_for(is_warm, seconds=60.0, what="the warm pool to be full")


def _postgres_mib() -> float:
    """What one more server takes, with a session that is open."""
    with ExitStack() as servers:
        sizes = []
        for _ in range(_SERVERS):
            before = _postgres_pss()
            folder = tempfile.TemporaryDirectory(prefix="dormouse-bench-")
            url = servers.enter_context(postgres(Path(servers.enter_context(folder))))
            servers.enter_context(psycopg.connect(url)).execute("SELECT 1")
            sizes.append(_postgres_pss() - before)
    return _mib(statistics.median(sizes))


def _postgres_pss() -> int:
    found = [each for each in psutil.process_iter(["name"]) if each.info["name"] == "postgres"]
    return sum(memory.pss(each) for each in found)


def _mib(size: float) -> float:
    return round(size / 2**20, 2)


def _print(result: dict[str, Any]) -> None:
    asleep, awake, crowd = result["asleep"], result["awake"], result["crowd"]
    counts = asleep["processes"]
    print(f"{asleep['tenants']} tenants asleep: {asleep['bytes_each']} bytes each,", end=" ")
    print(f"{counts['before']} processes before and {counts['after']} after\n")
    rows = [
        ("a pod (PSS), median, MiB", awake["pod_pss_mib"]),
        ("a pod (PSS), largest, MiB", awake["pod_pss_mib_max"]),
        ("a pod alone (USS), median, MiB", awake["pod_uss_mib"]),
        ("a tenant, with its share of the other roles' growth, MiB", awake["tenant_mib"]),
        ("a warm pod (PSS), median, MiB", awake["warm_pod_pss_mib"]),
        ("a PostgreSQL 15 server with a session, MiB", result["postgresql_server_mib"]),
        ("cores used while nobody asks", awake["idle_cores"]),
    ]
    print(table((f"{awake['tenants']} awake at once", ""), rows), end="\n\n")
    columns = crowd["first_row_ms"]
    title = f"{crowd['tenants']} woken at once, {crowd['times']} times, ms"
    print(table((title, *columns), [("first row", *columns.values())]))
    print(f"all awake after {', '.join(map(str, crowd['all_awake_seconds']))} s")
