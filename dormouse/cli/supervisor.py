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
last log lines for the person who watches. What one role goes through is its keeper's business.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dormouse.base import tasks
from dormouse.base.clock import Clock
from dormouse.cli.folder import CommandError
from dormouse.cli.keeper import Keeper
from dormouse.cli.logfile import LogFile
from dormouse.cli.spec import RoleSpec, RoleStatus

_DEATHS_AT_START_MAX = 3
_LAST_LINES_SECONDS = 1.0


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
        self._on_change = on_change
        self._keepers = {
            spec.name: Keeper(
                spec,
                log=LogFile(logs / f"{spec.name}.log"),
                cwd=cwd,
                clock=clock,
                on_change=functools.partial(self._changed, spec.name),
            )
            for spec in specs
        }
        self._keeping: list[asyncio.Task[None]] = []
        self._gave_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.statuses: Mapping[str, RoleStatus] = {
            name: keeper.status for name, keeper in self._keepers.items()
        }

    def __repr__(self) -> str:
        return f"<Supervisor {list(self._keepers.values())}>"

    async def start(self) -> None:
        """Start every role and wait until all have answered. Raises CommandError."""
        self._keeping = [
            tasks.spawn(self._keep(keeper), name=f"keep {name}")
            for name, keeper in self._keepers.items()
        ]
        everyone = tasks.spawn(self._all_answered(), name="all roles answer")
        watched: list[asyncio.Future[Any]] = [everyone, self._gave_up, *self._keeping]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if not everyone.done():
            await tasks.cancel(everyone)
            for keeping in self._keeping:
                if keeping.done():  # only a defect ends one before the end
                    keeping.result()
            raise CommandError(await self._gave_up)

    async def roll(self, name: str) -> None:
        """Replace a role by a new process of it, as `RoleSpec.handover` says. Raises RollFailed."""
        await self._keepers[name].roll()

    async def stop(self) -> None:
        """End every role, one after the other: whoever uses another ends before it."""
        for keeper in self._keepers.values():
            keeper.no_more()
        for keeper in reversed(self._keepers.values()):
            await keeper.stop()
        # The keepers end by themselves once they have the last lines of the logs.
        if self._keeping:
            await asyncio.wait(self._keeping, timeout=_LAST_LINES_SECONDS)
        await tasks.cancel(*self._keeping)
        for keeper in self._keepers.values():
            keeper.stopped()

    def kill(self) -> None:
        """SIGKILL to every role: for a person who does not want to wait."""
        for keeper in self._keepers.values():
            keeper.kill()

    async def _all_answered(self) -> None:
        for keeper in self._keepers.values():
            await keeper.answered.wait()

    async def _keep(self, keeper: Keeper) -> None:
        for name in keeper.spec.after:
            await self._keepers[name].answered.wait()
        await keeper.keep(lambda reason: self._goes_on(keeper, reason))

    def _goes_on(self, keeper: Keeper, reason: str) -> bool:
        """Whether a role that died is worth another start."""
        first_start = not all(each.answered.is_set() for each in self._keepers.values())
        if not first_start or keeper.deaths < _DEATHS_AT_START_MAX:
            return True
        text = f"{keeper.spec.name} does not start ({reason}); the end of {keeper.log.path}:"
        if not self._gave_up.done():
            self._gave_up.set_result(f"{text}\n\n{keeper.log.tail()}")
        return False

    def _changed(self, name: str) -> None:
        self._on_change(name, self._keepers[name].status)
