"""Ten thousand clients that say nothing, held by one proxy: what each of them costs.

Some of them are measured with their tenants awake, each with a session in a pod; then all tenants
fall asleep and the sessions are parked: the client's connection stays, the pod is gone. At the end
some of the parked ones ask something, which wakes their tenants. The clients live in processes of
their own, one for each tenant.
"""

import argparse
import json
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench import memory
from bench.connect import ConnectFailed
from bench.gateway import Gateway, GatewayError, own_gateway, wait_for
from bench.scrape import read_samples, total
from bench.stats import table

_LOGINS_AT_A_TIME = 16
_ASKED_PER_TENANT = 2
_SPARE_DESCRIPTORS = 500
_PARK_SECONDS = 60
"""The shortest idle timeout there is."""


def start(folder: Path) -> AbstractContextManager[Gateway]:
    """A gateway whose proxy may have as many descriptors as this machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return own_gateway(folder)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--connections", type=int, default=10_000, metavar="N", help="in all (default: 10000)"
    )
    parser.add_argument(
        "--with-a-pod",
        type=int,
        default=4_000,
        metavar="N",
        help="of them measured awake, too (default: 4000)",
    )
    parser.add_argument(
        "--per-tenant", type=int, default=1_000, metavar="N", help="(default: 1000)"
    )
    parser.add_argument(
        "--park-timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="until all must be parked (default: 300)",
    )


def run(gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Measure; returns bytes for each connection."""
    _check_descriptors(gateway, options)
    before, pods_before = _proxy_pss(gateway), _pods_pss(gateway)
    with ExitStack() as crowd:
        awake = _arrive(gateway, crowd, options, options.with_a_pod, idle_timeout="never")
        held = sum(each.count for each in awake)
        time.sleep(memory.SETTLE_SECONDS)
        result: dict[str, Any] = {
            "connections": options.connections,
            "awake": {
                "connections": held,
                "proxy_bytes_each": round((_proxy_pss(gateway) - before) / max(held, 1)),
                "pod_bytes_each": round((_pods_pss(gateway) - pods_before) / max(held, 1)),
            },
        }
        for each in awake:
            gateway.change(each.tenant, idle_timeout_seconds=_PARK_SECONDS)
        rest = options.connections - held
        _until_parked(gateway, options, held)  # all at once would take two descriptors each
        everybody = list(awake)
        while rest > 0:
            few = min(rest, options.per_tenant)
            newcomers = _arrive(gateway, crowd, options, few, idle_timeout=_PARK_SECONDS)
            for each in newcomers:
                gateway.suspend(each.tenant)
            everybody += newcomers
            rest -= few
        seconds = _until_parked(gateway, options, options.connections)
        time.sleep(memory.SETTLE_SECONDS)
        proxy = _proxy_pss(gateway)
        result["parked"] = {
            "connections": options.connections,
            "proxy_bytes_each": round((proxy - before) / options.connections),
            "proxy_mib": round(proxy / 2**20, 1),
            "seconds_until_all_were": round(seconds, 1),
            "pods": len(memory.pods(gateway)),
        }
        asked = [each.ask(_ASKED_PER_TENANT) for each in everybody]
    result["woken"] = {"asked": sum(n for n, _ in asked), "slowest_ms": max(ms for _, ms in asked)}
    _print(result)
    return result


def _check_descriptors(gateway: Gateway, options: argparse.Namespace) -> None:
    """A session with a pod takes two of the proxy's descriptors, a parked one takes one."""
    proxy = psutil.Process(int(gateway.roles()["proxy"]["pid"]))
    most = proxy.rlimit(psutil.RLIMIT_NOFILE)[0]
    needed = max(2 * options.with_a_pod, options.connections + 2 * options.per_tenant)
    if needed + _SPARE_DESCRIPTORS > most:
        raise GatewayError(
            f"the proxy may have {most} open files and needs {needed + _SPARE_DESCRIPTORS}"
        )


class _Holder:
    """A process with all the connections of one tenant."""

    def __init__(self, process: "subprocess.Popen[str]", tenant: int, count: int) -> None:
        self._process = process
        self.tenant = tenant
        self.count = count

    def say(self, line: str) -> None:
        """Write a line to it."""
        if self._process.stdin is None:
            raise GatewayError("the holder has no stdin")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self, word: str) -> list[str]:
        """The rest of its next line, which begins with `word`. Raises ConnectFailed."""
        if self._process.stdout is None:
            raise GatewayError("the holder has no stdout")
        line = self._process.stdout.readline()
        if not line.startswith(word):
            raise ConnectFailed(f"a process that holds connections said {line!r}")
        return line.split()[1:]

    def ask(self, count: int) -> tuple[int, float]:
        """Have some of its connections ask for a row; how many did, and the longest wait in ms."""
        self.say(f"ask {count}")
        asked, slowest = self.answer("asked")
        return int(asked), float(slowest)


@contextmanager
def _holding(tenant: dict[str, Any], count: int) -> Iterator[_Holder]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.holders"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    holder = _Holder(process, int(tenant["id"]), count)
    order = {"url": tenant["connection_url"], "count": count, "at_a_time": _LOGINS_AT_A_TIME}
    try:
        holder.say(json.dumps(order))
        holder.answer("held")
        yield holder
    finally:
        process.terminate()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _arrive(
    gateway: Gateway,
    crowd: ExitStack,
    options: argparse.Namespace,
    connections: int,
    *,
    idle_timeout: int | str,
) -> list[_Holder]:
    """So many connections more, on tenants of their own, held until the end of `crowd`."""
    holders = []
    while connections > 0:
        count = min(connections, options.per_tenant)
        tenant = gateway.create_tenant(f"idle-{secrets.token_hex(6)}")
        gateway.change(
            tenant["id"],
            idle_timeout_seconds=idle_timeout,
            pods_max=1,
            connections_max=options.per_tenant,
        )
        holders.append(crowd.enter_context(_holding(tenant, count)))
        connections -= count
    return holders


def _until_parked(gateway: Gateway, options: argparse.Namespace, connections: int) -> float:
    started = time.monotonic()

    def all_parked() -> bool:
        parked = total(read_samples(gateway.roles()), "proxy", "dormouse_proxy_parked")
        return parked >= float(connections)

    wait_for(all_parked, seconds=options.park_timeout, what="all sessions to be parked")
    return time.monotonic() - started


def _proxy_pss(gateway: Gateway) -> int:
    return sum(memory.pss(each) for each in memory.processes(gateway, only=["proxy"]))


def _pods_pss(gateway: Gateway) -> int:
    return sum(memory.pss(each) for each in memory.pods(gateway))


def _print(result: dict[str, Any]) -> None:
    awake, parked, woken = result["awake"], result["parked"], result["woken"]
    rows = [
        ("with a pod", awake["connections"], awake["proxy_bytes_each"], awake["pod_bytes_each"]),
        ("parked", parked["connections"], parked["proxy_bytes_each"], 0),
    ]
    print(table(("idle clients", "", "proxy, bytes each", "pod, bytes each"), rows), end="\n\n")
    print(f"the proxy has {parked['proxy_mib']} MiB; {parked['pods']} pods live, all of them warm")
    print(f"{woken['asked']} parked ones asked; the slowest answer took {woken['slowest_ms']} ms")
