"""The one-machine supervisor: keeps every role running, and ends them in order.

    start    storage   control   podhost        at once: nobody waits without need
                          └────┬────┘
                           autoscaler
                               │
                             proxy

    end      proxy, autoscaler, podhost, control, storage: whoever uses another ends before it

A role starts when those it comes after answer. Once it has answered, nobody waits for it again:
when it dies it starts anew at the same addresses, and its peers reconnect by themselves. Before
everything has answered for the first time, a role that keeps dying ends the whole start, with its
last log lines for the person who watches.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from dormouse.base import tasks
from dormouse.base.clock import Clock
from dormouse.cli.backoff import Backoff
from dormouse.cli.folder import CommandError
from dormouse.cli.logfile import LogFile
from dormouse.cli.process import NotReady, RoleProcess

_log = logging.getLogger(__name__)

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 15.0
_DEATHS_AT_START_MAX = 3
_LAST_LINES_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """How to run a role."""

    name: str
    module: str
    config: Path
    after: tuple[str, ...] = ()
    fds: tuple[int, ...] = ()
    """Listening sockets it inherits."""


class State(StrEnum):
    """What a role is doing."""

    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPED = "stopped"


@dataclass(slots=True)
class RoleStatus:
    """A role as the supervisor sees it."""

    state: State = State.STOPPED
    pid: int | None = None
    restarts: int = 0
    since: datetime | None = None
    report: dict[str, Any] = field(default_factory=dict)
    """What it said when it last became ready: its addresses."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        since = self.since.isoformat() if self.since is not None else None
        return {
            "pid": self.pid,
            "state": str(self.state),
            "restarts": self.restarts,
            "since": since,
            "metrics": self.report.get("metrics"),
        }


class Supervisor:
    """Runs `specs`, each of which uses only roles before it.

    `on_change` hears of every change of a role's status, after it happened.
    """

    def __init__(
        self,
        specs: Sequence[RoleSpec],
        *,
        logs: Path,
        cwd: Path,
        clock: Clock,
        on_change: Callable[[str, RoleStatus], None],
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._logs = {spec.name: LogFile(logs / f"{spec.name}.log") for spec in specs}
        self._cwd = cwd
        self._clock = clock
        self._on_change = on_change
        self._processes: dict[str, RoleProcess] = {}
        self._answered = {spec.name: asyncio.Event() for spec in specs}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._gave_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.statuses: Mapping[str, RoleStatus] = {spec.name: RoleStatus() for spec in specs}

    async def start(self) -> None:
        """Start every role and wait until all have answered. Raises CommandError."""
        self._keepers = [
            tasks.spawn(self._keep(spec), name=f"keep {spec.name}") for spec in self._specs.values()
        ]
        everyone = tasks.spawn(self._all_answered(), name="all roles answer")
        watched: list[asyncio.Future[Any]] = [everyone, self._gave_up, *self._keepers]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if not everyone.done():
            await tasks.cancel(everyone)
            for keeper in self._keepers:
                if keeper.done():  # only a defect ends one before the end
                    keeper.result()
            raise CommandError(await self._gave_up)

    async def stop(self) -> None:
        """End every role, one after the other: whoever uses another ends before it."""
        self._stopping.set()
        for name in reversed(self._specs):
            if (process := self._processes.get(name)) is not None:
                await process.stop(STOP_SECONDS_MAX)
        # The keepers end by themselves once they have the last lines of the logs.
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=_LAST_LINES_SECONDS)
        await tasks.cancel(*self._keepers)
        for name in self._specs:
            self._change(name, State.STOPPED, pid=None)
            self._logs[name].close()

    def kill(self) -> None:
        """SIGKILL to every role: for a person who does not want to wait."""
        for process in self._processes.values():
            process.signal(signal.SIGKILL)

    async def _all_answered(self) -> None:
        for event in self._answered.values():
            await event.wait()

    async def _keep(self, spec: RoleSpec) -> None:
        for name in spec.after:
            await self._answered[name].wait()
        backoff = Backoff()
        while not self._stopping.is_set():
            answered_seconds, reason = await self._run(spec)
            if self._stopping.is_set():
                return
            backoff = backoff.died(answered_seconds)
            self.statuses[spec.name].restarts += 1
            self._change(spec.name, State.BACKOFF, pid=None)
            _log.error("role %s died", spec.name, extra={"reason": reason})
            first_start = not all(event.is_set() for event in self._answered.values())
            if first_start and backoff.deaths >= _DEATHS_AT_START_MAX:
                log = self._logs[spec.name]
                text = f"{spec.name} does not start ({reason}); the end of {log.path}:"
                if not self._gave_up.done():
                    self._gave_up.set_result(f"{text}\n\n{log.tail()}")
                await self._stopping.wait()
                return
            await asyncio.sleep(backoff.delay_seconds)

    async def _run(self, spec: RoleSpec) -> tuple[float, str]:
        """One life of a role: how long it answered, in seconds, and what it ended with."""
        self._change(spec.name, State.STARTING, pid=None)
        process = await RoleProcess.start(
            spec.module,
            spec.config,
            pass_fds=spec.fds,
            log=self._logs[spec.name],
            cwd=self._cwd,
        )
        self._processes[spec.name] = process
        self._change(spec.name, State.STARTING, pid=process.pid)
        since = None
        reason = ""
        try:
            report = await process.ready(START_SECONDS_MAX)
            since = self._clock.monotonic()
            self.statuses[spec.name].report = report
            self._change(spec.name, State.RUNNING, pid=process.pid)
            self._answered[spec.name].set()
        except NotReady as error:
            reason = f"{error}, "
            process.signal(signal.SIGKILL)
        finally:
            if self._stopping.is_set():  # it came up too late to be stopped with its level
                process.signal(signal.SIGTERM)
        code = await process.ended()
        del self._processes[spec.name]
        reason += f"exit code {code}" if code >= 0 else f"signal {-code}"
        return (self._clock.monotonic() - since if since is not None else 0.0), reason

    def _change(self, name: str, state: State, *, pid: int | None) -> None:
        status = self.statuses[name]
        status.state, status.pid = state, pid
        status.since = datetime.fromtimestamp(self._clock.wall_ns() // 1_000_000_000, UTC)
        self._on_change(name, status)
