"""An upgrade, the supervisor's half: which roles are succeeded, in which order, what is said of it.

    (storage)  control  autoscaler  podhost  proxy

The autoscaler goes before the pod host, so that whoever handles two generations of pods is of the
new code already; proxies go last, and find new pods. Storage goes only where it is asked for: its
restart is the only one that statements may notice. Before the first role goes, pods and storage
must be going to speak the same protocol (dormouse/cli/protocol.py), and the new code writes the
settings it wants. The first failure ends the upgrade: what would come next was made for the new
code of what came before.
"""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dormouse.base.clock import Clock
from dormouse.cli.folder import CommandError
from dormouse.cli.keeper import RollFailed
from dormouse.cli.protocol import check
from dormouse.cli.spec import RoleStatus
from dormouse.cli.supervisor import Supervisor

ORDER = ("storage", "control", "autoscaler", "podhost", "proxy")
_NEW_CODE_SECONDS_MAX = 60.0
_OUTPUT_MAX = 2_000
_UNTOUCHED = "nothing has been restarted"

Say = Callable[[dict[str, Any]], None]
"""Hears of every step: `event` is `rolling`, `rolled`, `done` or `failed`."""

LAST_EVENTS = frozenset({"done", "failed"})

_log = logging.getLogger(__name__)


def roles_to_roll(asked: Sequence[str], *, storage: bool) -> tuple[str, ...]:
    """The roles of an upgrade in their order; all but storage where none is asked for.

    Raises CommandError for one that is not known, and for storage without the word for it.
    """
    for name in asked:
        if name not in ORDER:
            raise CommandError(f"there is no role {name!r}", hint=f"roles: {', '.join(ORDER)}")
    if "storage" in asked and not storage:
        raise CommandError(
            "storage is not restarted without --storage",
            hint="for a moment statements wait, and some transactions fail (40001)",
        )
    wanted = set(asked or ORDER[1:]) | ({"storage"} if storage else set())
    return tuple(name for name in ORDER if name in wanted)


class Upgrade:
    """Rolls the roles of one supervisor, one upgrade at a time."""

    def __init__(self, supervisor: Supervisor, wiring: Path, clock: Clock) -> None:
        self._supervisor = supervisor
        self._wiring = wiring
        self._clock = clock
        self._running = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Upgrade {'running' if self._running.locked() else 'idle'}>"

    async def run(self, roles: Sequence[str], say: Say) -> None:
        """Roll the roles in this order; the last event is `done` or `failed`. Raises nothing."""
        if self._running.locked():
            say(failed(None, CommandError("another upgrade is running", hint="wait for its end")))
            return
        role = None
        async with self._running:
            started = self._clock.monotonic()
            try:
                await self._check_protocol(roles)
                await _rewrite_settings(self._wiring)
                for role in roles:
                    await self._roll(role, say)
            except CommandError as error:
                _log.error("upgrade failed", extra={"role": role, "reason": error.message})
                say(failed(role, error))
                return
            except asyncio.CancelledError:
                say(failed(role, CommandError("the gateway is being stopped")))
                raise
            except BaseException:
                say(failed(role, CommandError("the upgrade broke off", hint="see supervisor.log")))
                raise
            say({"event": "done", "seconds": self._since(started)})

    async def _check_protocol(self, roles: Sequence[str]) -> None:
        what = "does not say which version of the protocol it speaks"
        spoken = await _new_code(what, "dormouse.cli.protocol", cwd=self._wiring.parent)
        statuses = self._supervisor.statuses
        running = {role: status.report.get("kv_protocol") for role, status in statuses.items()}
        check(running, roles, installed=int(spoken))

    async def _roll(self, role: str, say: Say) -> None:
        status = self._supervisor.statuses[role]
        old = _life(status)
        say({"event": "rolling", "role": role, "old": old})
        started = self._clock.monotonic()
        await self._supervisor.roll(role)
        line = {"role": role, "old": old, "new": _life(status), "seconds": self._since(started)}
        _log.info("role rolled", extra=line)
        say({"event": "rolled", **line})

    def _since(self, started: float) -> float:
        return round(self._clock.monotonic() - started, 3)


def _life(status: RoleStatus) -> dict[str, Any]:
    return {"pid": status.pid, "version": status.report.get("version")}


def failed(role: str | None, error: CommandError) -> dict[str, Any]:
    """The last event of an upgrade that did not come to its end."""
    return {"event": "failed", "role": role, "reason": error.message, "hint": error.hint}


async def _rewrite_settings(wiring: Path) -> None:
    """Have the installed code write the settings. Raises RollFailed."""
    await _new_code("can't write its settings", "dormouse.cli.roles", wiring, cwd=wiring.parent)


async def _new_code(failing: str, module: str, *arguments: Path, cwd: Path) -> str:
    """Run a module of the installed code; what it prints. Raises RollFailed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module, *map(str, arguments)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
    )
    try:
        async with asyncio.timeout(_NEW_CODE_SECONDS_MAX):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise RollFailed(f"the new code {failing}: it took too long", hint=_UNTOUCHED) from None
    if process.returncode != 0:
        text = errors.decode("utf-8", "replace")[-_OUTPUT_MAX:].strip()
        raise RollFailed(f"the new code {failing}:\n{text}", hint=_UNTOUCHED)
    return output.decode("utf-8", "replace")
