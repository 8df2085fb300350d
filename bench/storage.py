"""Storage by itself: commits, point reads and scans over the wire beside the bare engine, and what
a quiet tenant notices of a noisy one, with and without the queues that are fair.

All of it shares one machine, and clients would be on others. So the noise gives way to everybody
(bench/kv.py), and the quiet client goes before everybody where it may (bench/priority.py): what is
looked for is how long storage takes, not how long its client waits for a core. And there is a
floor: what the quiet tenant notices of the same noise made at *another* storage process, where it
has a quiet tenant of its own to give way to.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from bench.kv import LITTLE, NOISES, Client, Tenant, noise, storage_process
from bench.priority import going_first
from bench.stats import percentile, table
from dormouse.base import scheduling
from storage.engines.interface import ScanRange
from storage.engines.sqlite import SqliteEngine

_ROWS = 50_000
_VALUE = b"x" * 100
_ALL = 1 << 40
_QUIET_PAUSE_SECONDS = 0.005
_TURNS = 8
_SETTLE_SECONDS = 1.0
"""At the beginning of a turn, for what the one before has left behind; no longer than the turn."""
Work = Callable[[], Awaitable[object]]
Times = dict[str, list[float]]
"""Of each kind of request."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--each-for", type=float, default=5.0, metavar="SECONDS", help="(default: 5)"
    )
    parser.add_argument(
        "--quiet-for",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="for a p99 of the quiet tenant: 50 requests of each kind a second (default: 20)",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    scheduling.answer()  # as pods do, and what this starts
    with tempfile.TemporaryDirectory(prefix="dormouse-bench-") as name:
        # One event loop for all: gRPC's poller belongs to the first it sees.
        return uvloop.run(_measure(Path(name), float(options.each_for), float(options.quiet_for)))


async def _measure(folder: Path, seconds: float, quiet_seconds: float) -> dict[str, Any]:
    bare = await _bare(folder / "bare.sqlite", seconds)
    with storage_process(folder / "wire") as storage:
        wire = await _wire(storage.tenant(1), seconds)
    neighbours = {
        kind: await _neighbours(folder / kind, fair=kind == "fair", seconds=quiet_seconds)
        for kind in ("fair", "as they come")
    }
    _print(bare, wire, neighbours)
    return {"bare": bare, "wire": wire, "neighbours": neighbours}


async def _per_second(work: Work, clients: int, seconds: float) -> float:
    """How often `work` is done, so many at a time."""
    done = 0
    end = time.perf_counter() + seconds

    async def go_on() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await work()
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*[go_on() for _ in range(clients)])
    return done / (time.perf_counter() - started)


def _key() -> bytes:
    return b"r%06d" % random.randrange(_ROWS)


async def _bare(file: Path, seconds: float) -> dict[str, float]:
    engine = await SqliteEngine.open(file)
    rows = [(b"r%06d" % number, _VALUE) for number in range(_ROWS)]
    await engine.apply(rows)

    async def commit() -> None:
        await engine.apply([(_key(), _VALUE)])

    async def read() -> None:
        engine.get_now([_key()])

    async def scan() -> None:
        await engine.scan([ScanRange(b"r", b"s", _ALL, _ALL)])

    found = await _figures(commit, read, scan, seconds)
    await engine.close()
    return found


async def _wire(tenant: Tenant, seconds: float) -> dict[str, float]:
    async with tenant.session() as client:
        for at in range(0, _ROWS, 1000):
            await client.put({b"r%06d" % n: _VALUE for n in range(at, at + 1000)})

        async def commit() -> None:
            await client.put({_key(): _VALUE})

        async def read() -> None:
            await client.get([_key()])

        async def scan() -> None:
            await client.scan(b"r", b"s")

        return await _figures(commit, read, scan, seconds)


async def _figures(commit: Work, read: Work, scan: Work, seconds: float) -> dict[str, float]:
    megabytes = _ROWS * (len(_VALUE) + len(b"r000000")) / 1e6
    return {
        "commits/s, 1 client": await _per_second(commit, 1, seconds),
        "commits/s, 64 clients": await _per_second(commit, 64, seconds),
        "point reads/s, 1 client": await _per_second(read, 1, seconds),
        "point reads/s, 64 clients": await _per_second(read, 64, seconds),
        "scan MB/s": await _per_second(scan, 1, seconds) * megabytes,
    }


async def _neighbours(folder: Path, *, fair: bool, seconds: float) -> dict[str, dict[str, float]]:
    """p99 of the quiet tenant's requests in ms: alone, beside each kind of noise, and the floor.

    A machine is not the same all the time, so what is compared is measured in turns.
    """
    times: dict[str, Times] = {}
    turn = seconds / _TURNS
    with storage_process(folder / "one", fair=fair) as storage:
        quiet, noisy = storage.tenant(1), storage.tenant(2)
        await _fill(quiet)
        with storage_process(folder / "other", fair=fair) as other:
            for kind in NOISES * _TURNS:
                await _quiet(quiet, turn / len(NOISES), times.setdefault("alone", {}))
                with noise(noisy, kind):
                    await _quiet(quiet, turn, times.setdefault(f"beside {kind}", {}))
                if fair:
                    with noise(other.tenant(1), LITTLE), noise(other.tenant(2), kind):
                        await _quiet(quiet, turn, times.setdefault(f"floor of {kind}", {}))
    return {
        place: {name: percentile(each, 99) for name, each in found.items()}
        for place, found in times.items()
    }


async def _fill(tenant: Tenant) -> None:
    async with tenant.session() as client:
        await client.put({b"r%06d" % n: _VALUE for n in range(1000)})


async def _quiet(tenant: Tenant, seconds: float, times: Times) -> None:
    """Add to what each kind of request took, ms; at least one of each."""
    async with tenant.session() as client:
        settled = time.perf_counter() + min(_SETTLE_SECONDS, seconds)
        while time.perf_counter() < settled:
            await _round(client)
        with going_first():
            end = time.perf_counter() + seconds
            while True:
                for name, took in (await _round(client)).items():
                    times.setdefault(name, []).append(took)
                if time.perf_counter() >= end:
                    return


async def _round(client: Client) -> dict[str, float]:
    """What one request of each kind took, ms."""
    times = {}
    for name in ("read", "scan", "commit"):
        times[name] = await _timed(client, name)
        await asyncio.sleep(_QUIET_PAUSE_SECONDS)
    return times


async def _timed(client: Client, name: str) -> float:
    key = b"r%06d" % random.randrange(1000)
    started = time.perf_counter()
    if name == "read":
        await client.get([key])
    elif name == "scan":
        await client.scan(key, b"s", rows=20)
    else:
        await client.put({key: _VALUE})
    return (time.perf_counter() - started) * 1000


def _print(
    bare: dict[str, float],
    wire: dict[str, float],
    neighbours: dict[str, dict[str, dict[str, float]]],
) -> None:
    rows = [[name, round(bare[name]), round(wire[name]), wire[name] / bare[name]] for name in bare]
    print(table(["", "bare engine", "storage", "ratio"], rows))
    with going_first() as first:
        way = "its client goes first" if first else "its client waits for a core (no CAP_SYS_NICE)"
    print(f"\nA quiet tenant's p99, ms, and how many times what it is alone; {way}:\n")
    lines = []
    for way, found in neighbours.items():
        for place, figures in found.items():
            times = [f"{ms:.1f} ({ms / found['alone'][name]:.1f})" for name, ms in figures.items()]
            lines.append([f"{way}, {place}", *times])
    print(table(["", "read", "scan", "commit"], lines))
