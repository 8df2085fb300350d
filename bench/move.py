"""Sessions that go on while everything below them is exchanged.

An application holds its sessions and asks something on each of them every now and then. Meanwhile
its pods are drained one after the other, the proxy is replaced, and the whole gateway takes up new
code. Counted is what the application notices: sessions dropped, wrong answers, and how long it
waited. Beside it the same sessions are on PostgreSQL 15, which is restarted.
"""

import argparse
import asyncio
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.connect import ConnectFailed, connect_and_select
from bench.gateway import Gateway, GatewayError, OwnGateway, wait_for
from bench.postgres import postgres, restart
from bench.scrape import read_samples, total
from bench.stats import table
from bench.steady import Steady
from dormouse.base.tasks import spawn

_POLL_SECONDS = 0.25
_CALM_SECONDS = 3.0
"""Without a move for so long, moving is over."""
_NOTHING_SECONDS = 10.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--sessions", type=int, default=500, metavar="N", help="of one tenant (default: 500)"
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="between two queries of a session (default: 2)",
    )
    parser.add_argument(
        "--drains", type=int, default=2, metavar="N", help="pods to drain (default: 2)"
    )
    parser.add_argument(
        "--move-timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="for each change to be over (default: 120)",
    )


def run(gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Measure; returns the figures of each change."""
    if not isinstance(gateway, OwnGateway):
        raise GatewayError("what is upgraded is this benchmark's own gateway: no --ready-file")
    result: dict[str, Any] = {"sessions": options.sessions, "interval_seconds": options.interval}
    result["changes"] = asyncio.run(_Mover(gateway, options).run())
    with tempfile.TemporaryDirectory(prefix="dormouse-bench-") as folder:
        result["changes"]["restart of PostgreSQL 15"] = asyncio.run(
            _restarted_postgres(Path(folder), options)
        )
    _print(result)
    return result


class _Mover:
    """One tenant, its sessions, and what is done below them."""

    def __init__(self, gateway: OwnGateway, options: argparse.Namespace) -> None:
        self._gateway = gateway
        self._options = options
        self._tenant: dict[str, Any] = {}

    async def run(self) -> dict[str, Any]:
        """The figures of each change."""
        options = self._options
        self._tenant = self._gateway.create_tenant(f"move-{secrets.token_hex(4)}")
        self._gateway.change(self._tenant["id"], connections_max=options.sessions + 50)
        await self._pods(2)
        seen: dict[str, Any] = {}
        url = self._tenant["connection_url"]
        async with Steady(url, options.sessions, options.interval) as all_:
            seen["nothing"] = await self._during(all_, self._nothing)
            for number in range(1, options.drains + 1):
                seen[f"pod {number} drained"] = await self._during(all_, lambda: self._pods(1))
                seen[f"pod {number} joins"] = await self._during(all_, lambda: self._pods(2))
            seen["proxy replaced"] = await self._during(all_, self._replace_proxy)
            seen["dormouse upgrade"] = await self._during(all_, self._upgrade)
        return seen

    async def _during(self, all_: Steady, change: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
        """What the sessions see while something is done and until nothing moves any more."""
        before = await self._read()
        window, started = all_.begin(), time.perf_counter()
        extra = await change()
        await self._until_nothing_moves()
        await asyncio.sleep(self._options.interval)  # everybody has asked once more
        window.seconds = time.perf_counter() - started
        after = await self._read()
        stalls = after["stalls"] - before["stalls"]
        return {
            **window.summary(),
            "moved": round(after["moved"] - before["moved"]),
            "stall_mean_ms": round(
                1000 * (after["stalled_seconds"] - before["stalled_seconds"]) / max(stalls, 1), 2
            ),
            **(extra or {}),
        }

    async def _read(self) -> dict[str, float]:
        """What the proxies have counted so far."""
        samples = await asyncio.to_thread(lambda: read_samples(self._gateway.roles()))
        moves, stalls = "dormouse_proxy_moves_total", "dormouse_proxy_stall_seconds"
        return {
            "moved": total(samples, "proxy", moves, purpose="move", outcome="moved"),
            "stalls": total(samples, "proxy", f"{stalls}_count", cause="move"),
            "stalled_seconds": total(samples, "proxy", f"{stalls}_sum", cause="move"),
        }

    async def _nothing(self) -> None:
        await asyncio.sleep(_NOTHING_SECONDS)

    async def _pods(self, pods: int) -> None:
        """Have the tenant's pods be so many: others join, or some are drained."""
        tenant = self._tenant["id"]
        await asyncio.to_thread(self._gateway.change, tenant, pods_min=pods, pods_max=pods)
        await self._until(lambda: self._gateway.tenant(tenant)["pods"] == pods, f"{pods} pods")

    async def _replace_proxy(self) -> dict[str, Any]:
        """Also says how those fared who came meanwhile."""
        upgrade = asyncio.to_thread(self._gateway.upgrade, "proxy")
        replacing = spawn(upgrade, name="replace-proxy")
        came, refused = 0, 0
        while not replacing.done():
            came += 1
            try:
                await asyncio.to_thread(connect_and_select, self._tenant["connection_url"])
            except ConnectFailed:
                refused += 1
        await replacing
        return {"newcomers": came, "newcomers_refused": refused}

    async def _upgrade(self) -> None:
        await asyncio.to_thread(self._gateway.upgrade)
        await self._until(
            lambda: not self._gateway.roles()["podhost"]["retiring"], "the old pods to end"
        )

    async def _until(self, probe: Callable[[], bool], what: str) -> None:
        seconds = self._options.move_timeout
        await asyncio.to_thread(lambda: wait_for(probe, seconds=seconds, what=what))

    async def _until_nothing_moves(self) -> None:
        end = time.monotonic() + self._options.move_timeout
        moved, since = (await self._read())["moved"], time.monotonic()
        while time.monotonic() < min(since + _CALM_SECONDS, end):
            await asyncio.sleep(_POLL_SECONDS)
            now = (await self._read())["moved"]
            if now != moved:
                moved, since = now, time.monotonic()


async def _restarted_postgres(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    settings = {"max_connections": str(options.sessions + 50)}
    with postgres(folder, settings=settings) as url:
        async with Steady(url, options.sessions, options.interval) as all_:
            await asyncio.sleep(options.interval)
            window, started = all_.begin(), time.perf_counter()
            await asyncio.to_thread(restart, folder)
            await asyncio.sleep(2 * options.interval)
            window.seconds = time.perf_counter() - started
            return window.summary()


def _print(result: dict[str, Any]) -> None:
    header = ("", "sessions", "dropped", "wrong", "moved", "p50 ms", "p99 ms", "max ms", "worst*")
    names = ("sessions", "dropped", "wrong", "moved", "p50_ms", "p99_ms", "max_ms")
    rows = [
        (what, *(seen.get(name, "-") for name in names), seen["worst_of_a_session_p99_ms"])
        for what, seen in result["changes"].items()
    ]
    print(table(header, rows), end="\n\n")
    print("* the p99 of the longest wait of each session\n")
    for what, seen in result["changes"].items():
        if seen.get("moved"):
            print(f"{what}: without a pod for {seen['stall_mean_ms']:.1f} ms on average")
        if "newcomers" in seen:
            print(f"{what}: {seen['newcomers']} came, {seen['newcomers_refused']} were refused")
        for error in seen["errors"]:
            print(f"{what}: {error}")
