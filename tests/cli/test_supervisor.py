"""The supervisor over real processes: order, restarts, failing starts, no orphan."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import uvloop

from dormouse.base.clock import SystemClock
from dormouse.cli import supervisor as module
from dormouse.cli.folder import CommandError
from dormouse.cli.supervisor import RoleSpec, RoleStatus, State, Supervisor

_MODULE = "tests.cli.fake_role"


class _Changes:
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


def _spec(folder: Path, name: str, *after: str, behaviour: str = "serve") -> RoleSpec:
    config = folder / f"{name}.json"
    config.write_text(json.dumps({"behaviour": behaviour, "trace": str(folder / "trace")}))
    return RoleSpec(name, _MODULE, config, after)


def _run(
    folder: Path,
    specs: list[RoleSpec],
    body: Callable[[Supervisor, _Changes], Awaitable[None]],
) -> list[str]:
    async def run() -> None:
        changes = _Changes()
        supervisor = Supervisor(
            specs, logs=folder, cwd=folder, clock=SystemClock(), on_change=changes
        )
        try:
            await body(supervisor, changes)
        finally:
            await supervisor.stop()

    uvloop.run(run())  # as `dormouse up` does
    trace = folder / "trace"
    return trace.read_text().split("\n")[:-1] if trace.exists() else []


def test_roles_start_after_those_they_need_and_end_before_them(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _changes: _Changes) -> None:
        await supervisor.start()
        assert {each.state for each in supervisor.statuses.values()} == {State.RUNNING}
        assert supervisor.statuses["b"].report == {"name": "b"}

    specs = [_spec(tmp_path, "a"), _spec(tmp_path, "b", "a"), _spec(tmp_path, "c", "a", "b")]
    trace = _run(tmp_path, specs, body)
    starts, ends = trace[:3], trace[3:]
    assert starts == ["a started", "b started", "c started"]
    assert ends == ["c ended", "b ended", "a ended"]


def test_a_killed_role_comes_back_and_its_dependents_stay(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, changes: _Changes) -> None:
        await supervisor.start()
        a, b = supervisor.statuses["a"], supervisor.statuses["b"]
        before = (a.pid, b.pid)
        assert before[0] is not None
        os.kill(before[0], signal.SIGKILL)
        await changes.until(lambda: a.state is State.RUNNING and a.pid != before[0])
        assert (a.restarts, b.restarts, b.pid) == (1, 0, before[1])
        assert ("a", State.BACKOFF, None) in changes.seen

    _run(tmp_path, [_spec(tmp_path, "a"), _spec(tmp_path, "b", "a")], body)


def test_a_role_that_never_starts_ends_the_start(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _changes: _Changes) -> None:
        with pytest.raises(CommandError, match=r"b does not start .*exit code 3") as caught:
            await supervisor.start()
        assert "no reason to live" in caught.value.message
        assert supervisor.statuses["c"].state is State.STOPPED

    specs = [
        _spec(tmp_path, "a"),
        _spec(tmp_path, "b", behaviour="die"),
        _spec(tmp_path, "c", "b"),
    ]
    assert _run(tmp_path, specs, body)[-1] == "a ended"


def test_a_role_that_hangs_at_its_start_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_SECONDS_MAX", 0.05)

    async def body(supervisor: Supervisor, _changes: _Changes) -> None:
        with pytest.raises(CommandError, match="did not answer"):
            await supervisor.start()

    _run(tmp_path, [_spec(tmp_path, "a", behaviour="hang")], body)


def test_a_role_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS_MAX", 0.05)
    pids: list[int] = []

    async def body(supervisor: Supervisor, _changes: _Changes) -> None:
        await supervisor.start()
        pids.append(supervisor.statuses["a"].pid or 0)

    _run(tmp_path, [_spec(tmp_path, "a", behaviour="deaf")], body)
    assert not psutil.pid_exists(pids[0])


def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    _spec(tmp_path, "a", behaviour="deaf")
    script = f"""
        import asyncio, uvloop
        from pathlib import Path
        from dormouse.cli.logfile import LogFile
        from dormouse.cli.process import RoleProcess

        async def main():
            folder = Path({str(tmp_path)!r})
            role = await RoleProcess.start({_MODULE!r}, folder / "a.json", pass_fds=(),
                                           log=LogFile(folder / "a.log"), cwd=folder)
            await role.ready(30)
            print(role.pid, flush=True)
            await asyncio.sleep(600)

        uvloop.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as parent:
        if parent.stdout is None:
            raise AssertionError("no pipe")
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(timeout=30)
