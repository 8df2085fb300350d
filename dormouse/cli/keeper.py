"""Keeps one role running: its lives, one after the other, and side by side in a handover.

    life 1 ──died──▶ life 2 ──roll──▶ life 3            current: what the role is for its peers
                        └── retiring ──ended           predecessors that finish their work

Whoever dies is started anew at the same addresses, at once after the first death and later and
later after more. `roll` starts a successor first: nothing is lost by one that does not come up,
for the predecessor is told to go only when the successor answers (or, where both cannot run at
once, when it stands by with all its imports done).
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dormouse.base import tasks
from dormouse.base.clock import Clock
from dormouse.cli.backoff import Backoff
from dormouse.cli.folder import CommandError
from dormouse.cli.logfile import LogFile
from dormouse.cli.process import NotReady, RoleProcess
from dormouse.cli.spec import Handover, Retiring, RoleSpec, RoleStatus, State

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 15.0
RETIRING_MAX = 4
"""Predecessors of a role that may live; another roll is refused until one has ended."""

_log = logging.getLogger(__name__)


class RollFailed(CommandError):
    """The successor did not come up; the message says what runs now."""


@dataclass(slots=True, eq=False)
class _Life:
    """One process of the role."""

    process: RoleProcess
    generation: int
    ending: asyncio.Task[int]
    answered_at: float | None = None
    """Monotonic."""
    report: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    """Why it was killed, if we did that."""

    async def ended(self) -> str:
        """Wait for the end; how it came."""
        code = await asyncio.shield(self.ending)
        return self.reason + (f"exit code {code}" if code >= 0 else f"signal {-code}")


class Keeper:
    """Runs `spec`; `on_change` hears of every change of `status`, after it happened."""

    def __init__(
        self,
        spec: RoleSpec,
        *,
        log: LogFile,
        cwd: Path,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.log = log
        self.status = RoleStatus()
        self.answered = asyncio.Event()
        """Set when it has answered for the first time."""
        self.deaths = 0
        """In a row."""
        self._cwd = cwd
        self._clock = clock
        self._on_change = on_change
        self._current: _Life | None = None
        self._lives: set[_Life] = set()
        self._one_ended = asyncio.Event()
        self._handing_over = asyncio.Lock()
        self._stopping = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Keeper {self.spec.name} {self.status.state} lives={len(self._lives)}>"

    async def keep(self, on_death: Callable[[str], bool]) -> None:
        """Run the role until `stop`. `on_death` is told why a life ended; False: enough of it."""
        backoff = Backoff()
        while not self._stopping.is_set():
            answered_seconds, reason = await self._live()
            if self._stopping.is_set():
                return
            backoff = backoff.died(answered_seconds)
            self.deaths = backoff.deaths
            self.status.restarts += 1
            self._change(State.BACKOFF, pid=None)
            _log.error("role %s died", self.spec.name, extra={"reason": reason})
            if not on_death(reason):
                return
            await asyncio.sleep(backoff.delay_seconds)

    async def roll(self) -> None:
        """Start a successor and let it take over. Raises RollFailed, whereupon the predecessor
        runs on, or the role is being started again where the predecessor had to end first."""
        async with self._handing_over:
            old = self._current
            running = self.status.state is State.RUNNING
            if old is None or not running or self._stopping.is_set():
                raise RollFailed(f"{self.spec.name} does not run just now")
            if len(self.status.retiring) >= RETIRING_MAX:
                text = f"{RETIRING_MAX} predecessors of {self.spec.name} have not ended yet"
                raise RollFailed(
                    text, hint="wait for their sessions to end, or restart the gateway"
                )
            if self.spec.handover is Handover.IN_TURN:
                await self._succeed_in_turn(old)
            else:
                await self._succeed_beside(old)

    def no_more(self) -> None:
        """Start no further life."""
        self._stopping.set()

    async def stop(self) -> None:
        """End every life, at once or by force."""
        self._stopping.set()
        lives = [life.process.stop(STOP_SECONDS_MAX) for life in self._lives]
        await asyncio.gather(*lives)

    def stopped(self) -> None:
        """Nothing of it runs any more."""
        self._change(State.STOPPED, pid=None)
        self.log.close()

    def kill(self) -> None:
        """SIGKILL to every life."""
        for life in self._lives:
            life.process.signal(signal.SIGKILL)

    # Lives

    async def _live(self) -> tuple[float, str]:
        """Until a life ends that has no successor: how long it answered, and why it ended."""
        self._change(State.STARTING, pid=None)
        try:
            life = self._current = await self._begin()
        except OSError as error:
            return 0.0, str(error)
        self._change(State.STARTING, pid=life.process.pid)
        with contextlib.suppress(NotReady):
            await self._answer(life)
            self._lead(life)
        while True:
            await self._one_ended.wait()
            self._one_ended.clear()
            async with self._handing_over:  # a successor may be about to take over
                life = self._current
                if life.ending.done():
                    self._current = None
                    return self._answered_seconds(life), await life.ended()

    async def _begin(self, *, held: bool = False) -> _Life:
        """Start a life. Raises OSError."""
        self.status.generation += 1
        generation = self.status.generation
        process = await RoleProcess.start(
            self.spec.module,
            self.spec.config,
            pass_fds=self.spec.fds,
            log=self.log,
            cwd=self._cwd,
            arguments=("--generation", str(generation)) if self.spec.is_numbered else (),
            held=held,
        )
        ending = tasks.spawn(process.ended(), name=f"{self.spec.name} {generation}")
        life = _Life(process, generation, ending)
        self._lives.add(life)
        ending.add_done_callback(lambda _: self._forget(life))
        if self._stopping.is_set():  # it came up too late to be stopped with the others
            process.signal(signal.SIGKILL)
        return life

    async def _answer(self, life: _Life) -> None:
        """Wait until it answers; one that does not is killed. Raises NotReady."""
        try:
            life.report = await life.process.ready(START_SECONDS_MAX)
        except NotReady as error:
            life.reason = f"{error}, "
            life.process.signal(signal.SIGKILL)
            raise
        life.answered_at = self._clock.monotonic()

    def _lead(self, life: _Life) -> None:
        """It is the role from now on."""
        self._current = life
        self.status.report = life.report
        self._change(State.RUNNING, pid=life.process.pid)
        self.answered.set()

    def _answered_seconds(self, life: _Life) -> float:
        at = life.answered_at
        return self._clock.monotonic() - at if at is not None else 0.0

    # Successors

    async def _succeed_in_turn(self, old: _Life) -> None:
        new = await self._begin_successor(held=True)
        try:
            await new.process.standby(START_SECONDS_MAX)
        except NotReady as error:
            raise await self._abandoned(new, error) from None
        await old.process.stop(STOP_SECONDS_MAX)
        self._current = new  # if it dies from here on, the role has died
        self._change(State.STARTING, pid=new.process.pid)
        new.process.go_on()
        try:
            await self._answer(new)
        except NotReady as error:
            text = f"the new {self.spec.name} {error}, and the old one had ended for it"
            raise RollFailed(text, hint=f"it is being started again; see {self.log.path}") from None
        self._lead(new)

    async def _succeed_beside(self, old: _Life) -> None:
        new = await self._begin_successor(held=False)
        try:
            await self._answer(new)
        except NotReady as error:
            raise await self._abandoned(new, error) from None
        if not old.ending.done():
            self._retire(old)
        self._lead(new)

    async def _begin_successor(self, *, held: bool) -> _Life:
        try:
            return await self._begin(held=held)
        except OSError as error:
            text = f"a new {self.spec.name} cannot be started: {error}"
            raise RollFailed(text, hint="the old one runs on") from error

    async def _abandoned(self, new: _Life, error: NotReady) -> RollFailed:
        new.process.signal(signal.SIGKILL)
        await new.ended()
        text = f"the new {self.spec.name} {error}; the end of {self.log.path}:\n\n"
        return RollFailed(text + self.log.tail(), hint="the old one runs on")

    def _retire(self, old: _Life) -> None:
        retiring = Retiring(old.process.pid, old.generation, self._now(), old.report)
        self.status.retiring.append(retiring)
        if self.spec.handover is Handover.DRAINING:
            old.process.signal(signal.SIGTERM)
        _log.info("role %s retires", self.spec.name, extra={"pid": old.process.pid})

    def _forget(self, life: _Life) -> None:
        self._lives.discard(life)
        self._one_ended.set()
        left = [each for each in self.status.retiring if each.pid != life.process.pid]
        if len(left) != len(self.status.retiring):
            self.status.retiring = left
            _log.info("role %s has retired", self.spec.name, extra={"pid": life.process.pid})
            self._on_change()

    def _change(self, state: State, *, pid: int | None) -> None:
        self.status.state, self.status.pid, self.status.since = state, pid, self._now()
        self._on_change()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall_ns() // 1_000_000_000, UTC)
