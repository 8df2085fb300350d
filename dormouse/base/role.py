"""How a role runs: settings from a file, uvloop, JSON logs, a ready line, an end on a signal.

The parent learns that a role answers, and where, from one JSON line the role writes to the file
descriptor named by `--ready-fd`, after which the role closes it. A successor that is to take its
predecessor's place at once is started ahead with `--hold-fd`: it imports everything, says so with a
line `{"standby": true}`, and goes on when it reads a byte there.

    signal            a role                 a role that can drain
    SIGINT            ends                   ends
    SIGTERM           ends                   takes nothing new, and ends when its work is done;
                                             a second one ends it
    SIGHUP            (as the system does)   and a role that can reload reads its files again
"""

import argparse
import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from dormouse.base import config, logs, scheduling, version
from dormouse.base.tasks import cancel, spawn

T = TypeVar("T")
Ready = dict[str, Any]
"""What a role tells its parent once it answers: at least its addresses."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A role that is up, and what it can do besides ending."""

    ready: Ready
    drain: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Take nothing new and return when what is there has ended. May be cancelled."""
    reload: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Read again what may have changed on disk. Handles its own failures."""
    failed: Callable[[], Coroutine[Any, Any, Exception]] | None = None
    """Return when the role cannot go on, and why: it ends, and its process with exit code 1."""


def run(
    name: str,
    kind: type[T],
    serve: Callable[[T], AbstractAsyncContextManager[Ready | Service]],
) -> None:
    """Run the role `name` until a signal ends it.

    `serve(settings)` is an async context manager: entering it brings the role up and yields what
    to report, or a `Service` with it; leaving it ends the role in order.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--config", type=Path, required=True, help="settings, a JSON file")
    parser.add_argument("--ready-fd", type=int, help="write one JSON line here when answering")
    parser.add_argument("--hold-fd", type=int, help="serve only after a byte was read here")
    arguments = parser.parse_args()
    settings = config.load(kind, arguments.config)
    logs.configure(name, os.environ.get("DORMOUSE_LOG_LEVEL", "info"))
    version.installed()  # of the code that was imported, not of what may replace it
    if arguments.hold_fd is not None and not _held(arguments.hold_fd, arguments.ready_fd):
        return
    scheduling.answer()
    uvloop.run(_until_signal(serve(settings), arguments.ready_fd))


def _held(hold_fd: int, ready_fd: int | None) -> bool:
    """Wait until the parent says go; False where it never will."""
    if ready_fd is not None:
        os.write(ready_fd, json.dumps({"standby": True}).encode() + b"\n")
    with os.fdopen(hold_fd, "rb", buffering=0) as stream:
        return bool(stream.read(1))


class _Signals:
    """What the signals ask for; they count from before the role is up."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.drain = asyncio.Event()
        self.reload = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.stop.set)
        loop.add_signal_handler(signal.SIGTERM, self._terminate)

    def _terminate(self) -> None:
        if self.drain.is_set():
            self.stop.set()
        self.drain.set()


async def _until_signal(
    service: AbstractAsyncContextManager[Ready | Service], ready_fd: int | None
) -> None:
    signals = _Signals()
    async with service as up:
        running = up if isinstance(up, Service) else Service(ready=up)
        if running.reload is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, signals.reload.set)
        if ready_fd is not None:
            line = {**running.ready, "version": version.installed()}
            os.write(ready_fd, json.dumps(line).encode() + b"\n")
            os.close(ready_fd)
        _log.info("ready", extra={"ready": running.ready})
        failure = await _serve_signals(running, signals)
        _log.info("ending")
    if failure is not None:
        _log.critical("ended, for the role cannot go on", exc_info=failure)
        raise SystemExit(1)
    _log.info("ended")


async def _serve_signals(running: Service, signals: _Signals) -> Exception | None:
    """Return when the role is to end; what has failed, if anything."""
    reloading = spawn(_reload(running, signals), name="reload") if running.reload else None
    draining = spawn(_drain(running, signals), name="drain")
    failing = spawn(running.failed(), name="failure") if running.failed else None
    if failing is not None:
        failing.add_done_callback(lambda _: signals.stop.set())
    try:
        await signals.stop.wait()
        return failing.result() if failing is not None and failing.done() else None
    finally:
        await cancel(reloading, draining, failing)


async def _reload(running: Service, signals: _Signals) -> None:
    while running.reload is not None:
        await signals.reload.wait()
        signals.reload.clear()
        _log.info("reloading")
        await running.reload()


async def _drain(running: Service, signals: _Signals) -> None:
    await signals.drain.wait()
    try:
        if running.drain is not None:
            _log.info("draining")
            await running.drain()
    finally:
        signals.stop.set()  # also where draining failed: there is nothing left to wait for
