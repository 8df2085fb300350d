"""A supervisor of fake roles."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from dormouse.base.clock import SystemClock
from dormouse.cli.protocol import INSTALLED
from dormouse.cli.spec import RoleSpec, RoleStatus, State
from dormouse.cli.supervisor import Supervisor

FAKE_ROLE = "tests.cli.fake_role"


class Changes:
    """What the supervisor said, and a way to wait for more."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, State, int | None]] = []
        self._condition = asyncio.Event()

    def __call__(self, name: str, status: RoleStatus) -> None:
        self.seen.append((name, status.state, status.pid))
        self._condition.set()

    async def until(self, found: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not found():
                self._condition.clear()
                await self._condition.wait()


def behave(folder: Path, name: str, behaviour: str, *, kv_protocol: int | None = INSTALLED) -> Path:
    """Settings of a fake role, which lives that start from now on read."""
    config = folder / f"{name}.json"
    settings = {
        "behaviour": behaviour,
        "trace": str(folder / "trace"),
        "kv_protocol": kv_protocol,
    }
    config.write_text(json.dumps(settings))
    return config


def spec(
    folder: Path, name: str, *after: str, behaviour: str = "serve", **options: Any
) -> RoleSpec:
    return RoleSpec(name, FAKE_ROLE, behave(folder, name, behaviour), after, **options)


def trace(folder: Path) -> list[str]:
    """What the fake roles did, in order."""
    file = folder / "trace"
    return file.read_text().split("\n")[:-1] if file.exists() else []


def run_roles(
    folder: Path,
    specs: list[RoleSpec],
    body: Callable[[Supervisor, Changes], Awaitable[None]],
) -> list[str]:
    async def run() -> None:
        changes = Changes()
        supervisor = Supervisor(
            specs, logs=folder, cwd=folder, clock=SystemClock(), on_change=changes
        )
        try:
            await body(supervisor, changes)
        finally:
            await supervisor.stop()

    uvloop.run(run())  # as `dormouse up` does
    return trace(folder)
