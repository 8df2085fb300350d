"""What happens to a gateway while clients work: processes die and stall, streams break, the disk
fails. Each of these ends with everything as it was, and what they do is chosen by a seed.

    clients ──▶ proxy ──▶ pods ──▶ relay ──▶ storage ──▶ library before libc ──▶ disk
                 kill     kill    cut, deaf,  kill        full, slow, read-only,
                 stall    stall   slow        stall       a sync that fails

Two fifths of it happen at any time; the rest waits for a moment at which storage has a large
transaction: while pieces of it are staged, or while it is committed and not all in its place.
"""

import asyncio
import errno
import json
import random
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.gateway import OwnGateway, wait_for
from tests.support.cutter import Cutter, cutting
from tests.support.diskfaults import BadDisk
from tests.support.gateway import gateway

KILLS = {"kill storage": 4, "kill pod": 4, "kill proxy": 1}
OTHERS = {
    "cut": 2,
    "deaf": 2,
    "slow stream": 1,
    "stall storage": 1,
    "stall pod": 1,
    "disk full": 2,
    "disk slow": 1,
    "disk read-only": 1,
    "sync fails": 2,
}
"""What happens, and how often beside the others."""
ALLOWED = (
    r"role \w+ died",
    "the engine failed",  # and what is said of it by who has asked
    "garbage collection failed",
    "could not be measured",
    "EngineLost",
)
"""Errors in the logs of a gateway to which this happens."""
_SECONDS_MAX = 1.5
_ROLE_SECONDS = 60.0
_MOMENT_POLL_SECONDS = 0.002
"""A large transaction is in its place after some dozen milliseconds."""
_WENT_ON = "a commit of before the start is put in its place"
_PURGED = "staged writes purged"


class Moment(Enum):
    """When something happens, as storage's gauges have it."""

    ANY = "at any time"
    STAGED = "dormouse_storage_staged_bytes "
    ROLLING = "dormouse_storage_roll_forwards "


class Fault(NamedTuple):
    """What happens, and when."""

    what: str
    moment: Moment = Moment.ANY

    def __str__(self) -> str:
        return f"{self.what} ({self.moment.name.lower()})"


class Met(NamedTuple):
    """What storage's processes say of the large transactions that died with one before."""

    rolling: int = 0
    """Were committed, and brought to their place by the next process."""
    staged: int = 0
    """Were not, and what was there of them was removed."""


def plan(*, kills: int, seed: int) -> list[Fault]:
    """So many kills in some order, and after about every second one something else."""
    chance = random.Random(seed)
    planned = []
    for _ in range(kills):
        planned += chance.choices([*KILLS], [*KILLS.values()])
        if chance.random() < 0.6:
            planned += chance.choices([*OTHERS], [*OTHERS.values()])
    return [Fault(what, *chance.choices([*Moment], [2, 1, 2])) for what in planned]


class Nemesis:
    """Lets things happen to a gateway. Made by `haunted`."""

    def __init__(self, running: OwnGateway, relay: "Relay", disk: BadDisk, seed: int) -> None:
        self._running = running
        self._relay = relay
        self._disk = disk
        self._chance = random.Random(seed)
        self._happens: dict[str, Callable[[], None]] = {
            "kill storage": lambda: self._kill("storage"),
            "kill pod": self._kill_pod,
            "kill proxy": lambda: self._kill("proxy"),
            "cut": self._relay.cut,
            "deaf": self._deaf,
            "slow stream": self._slow_stream,
            "stall storage": lambda: self._stall(self._process("storage")),
            "stall pod": lambda: self._stall(self._a_pod()),
            "disk full": self._full,
            "disk slow": self._slow,
            "disk read-only": self._read_only,
            "sync fails": self._unsynced,
        }

    def let(self, fault: Fault) -> None:
        """Let it happen, and be over."""
        if fault.moment is not Moment.ANY:
            self._await(fault.moment)
        self._happens[fault.what]()

    def met(self) -> Met:
        """What storage's log has of large transactions."""
        files = (self._running.folder / "logs").glob("storage.log*")
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        return Met(text.count(_WENT_ON), text.count(_PURGED))

    def _await(self, moment: Moment) -> None:
        end = time.monotonic() + _ROLE_SECONDS
        while not self._is(moment):
            if time.monotonic() > end:
                raise AssertionError(f"storage has no large transaction: {moment}")
            time.sleep(_MOMENT_POLL_SECONDS)

    def _is(self, moment: Moment) -> bool:
        page = self._running.metrics("storage")
        try:
            with urllib.request.urlopen(page, timeout=_SECONDS_MAX) as lines:
                return any(
                    float(line.rpartition(b" ")[2]) > 0
                    for line in lines
                    if line.startswith(moment.value.encode())
                )
        except OSError:
            return False  # it has not come back yet

    def _process(self, role: str) -> psutil.Process:
        return psutil.Process(self._running.pid(role))

    def _a_pod(self) -> psutil.Process | None:
        """Any pod; most are the tenant's, some are warm."""
        pods = self._process("podhost").children()
        return self._chance.choice(pods) if pods else None

    def _kill(self, role: str) -> None:
        self._running.kill_role(role)

    def _kill_pod(self) -> None:
        if (pod := self._a_pod()) is not None:
            pod.kill()
            psutil.wait_procs([pod], timeout=10)

    def _stall(self, process: psutil.Process | None) -> None:
        if process is not None:
            process.suspend()
            try:
                self._pause()
            finally:
                process.resume()

    def _deaf(self) -> None:
        """What one side says is lost for a while, and then the connection."""
        self._relay.lose(requests=self._chance.random() < 0.3)
        self._pause()
        self._relay.cut()

    def _slow_stream(self) -> None:
        self._relay.delay(self._chance.uniform(0.01, 0.2))
        self._pause()
        self._relay.delay(0.0)

    def _full(self) -> None:
        self._disk.full(room=self._chance.randrange(100_000))
        self._pause()
        self._disk.heals()

    def _slow(self) -> None:
        self._disk.slow("sync", self._chance.randrange(20, 300))
        self._pause()
        self._disk.heals()

    def _read_only(self) -> None:
        self._disk.fails("write", errno.EROFS)
        self._pause()
        self._disk.heals()

    def _unsynced(self) -> None:
        """Storage does not survive this one, as soon as it is a commit's: a checkpoint, which may
        be the first to sync, is tried again."""
        before = self._running.pid("storage")
        self._disk.fails("sync", errno.EIO, suffix="-wal")
        wait_for(
            lambda: self._running.pid("storage") != before,
            seconds=_ROLE_SECONDS,
            what="storage to end",
        )
        self._disk.heals()
        wait_for(
            lambda: self._running.pid("storage"),
            seconds=_ROLE_SECONDS,
            what="storage to come back",
        )

    def _pause(self) -> None:
        time.sleep(self._chance.uniform(0.2, _SECONDS_MAX))


class Relay:
    """A `Cutter` on a thread of its own."""

    def __init__(self, cutter: Cutter, loop: asyncio.AbstractEventLoop) -> None:
        self.address = cutter.address
        self._cutter = cutter
        self._loop = loop

    def cut(self) -> None:
        """Break every connection."""
        self._call(self._cutter.cut)

    def lose(self, *, requests: bool) -> None:
        """Lose requests or else replies until the next `cut`."""
        self._call(lambda: self._cutter.lose(requests=requests))

    def delay(self, seconds: float) -> None:
        """Hold every reply back for so long."""
        self._call(lambda: self._cutter.delay(seconds))

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)


@contextmanager
def _relaying(target: str) -> Iterator[Relay]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()
    way = cutting(target)
    try:
        cutter = asyncio.run_coroutine_threadsafe(way.__aenter__(), loop).result(10)
        yield Relay(cutter, loop)
        asyncio.run_coroutine_threadsafe(way.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _lead_through(running: OwnGateway, relay: Relay) -> None:
    """Pods that are stamped from now on reach storage through the relay."""
    file = running.folder / "run" / "autoscaler.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["storage_address"] = relay.address
    file.write_text(json.dumps(settings), encoding="utf-8")
    running.kill_role("autoscaler")


@contextmanager
def haunted(folder: Path, seed: int) -> Iterator[tuple[OwnGateway, Nemesis]]:
    """A gateway in `folder` and its nemesis; at the end its logs are read."""
    disk = BadDisk(folder, folder / "gateway" / "storage")
    with gateway(folder, allowed=ALLOWED, environment=disk.environment) as running:
        settings = json.loads((running.folder / "run" / "autoscaler.json").read_bytes())
        with _relaying(settings["storage_address"]) as relay:
            _lead_through(running, relay)
            yield running, Nemesis(running, relay, disk, seed)
            disk.heals()
