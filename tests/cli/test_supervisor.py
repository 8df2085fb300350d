"""The supervisor over real processes: order, restarts, failing starts, no orphan."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from dormouse.cli import keeper
from dormouse.cli.folder import CommandError
from dormouse.cli.spec import State
from dormouse.cli.supervisor import Supervisor
from tests.cli.support import FAKE_ROLE, Changes, run_roles, spec


def test_roles_start_after_those_they_need_and_end_before_them(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _changes: Changes) -> None:
        await supervisor.start()
        assert {each.state for each in supervisor.statuses.values()} == {State.RUNNING}
        assert supervisor.statuses["b"].report["name"] == "b"

    specs = [spec(tmp_path, "a"), spec(tmp_path, "b", "a"), spec(tmp_path, "c", "a", "b")]
    trace = run_roles(tmp_path, specs, body)
    starts, ends = trace[:3], trace[3:]
    assert starts == ["a started", "b started", "c started"]
    assert ends == ["c ended", "b ended", "a ended"]


def test_a_killed_role_comes_back_and_its_dependents_stay(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, changes: Changes) -> None:
        await supervisor.start()
        a, b = supervisor.statuses["a"], supervisor.statuses["b"]
        before = (a.pid, b.pid)
        assert before[0] is not None
        os.kill(before[0], signal.SIGKILL)
        await changes.until(lambda: a.state is State.RUNNING and a.pid != before[0])
        assert (a.restarts, b.restarts, b.pid) == (1, 0, before[1])
        assert ("a", State.BACKOFF, None) in changes.seen

    run_roles(tmp_path, [spec(tmp_path, "a"), spec(tmp_path, "b", "a")], body)


def test_a_role_that_never_starts_ends_the_start(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _changes: Changes) -> None:
        with pytest.raises(CommandError, match=r"b does not start .*exit code 3") as caught:
            await supervisor.start()
        assert "no reason to live" in caught.value.message
        assert supervisor.statuses["c"].state is State.STOPPED

    specs = [
        spec(tmp_path, "a"),
        spec(tmp_path, "b", behaviour="die"),
        spec(tmp_path, "c", "b"),
    ]
    assert run_roles(tmp_path, specs, body)[-1] == "a ended"


def test_a_role_that_hangs_at_its_start_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "START_SECONDS_MAX", 0.05)

    async def body(supervisor: Supervisor, _changes: Changes) -> None:
        with pytest.raises(CommandError, match="did not answer"):
            await supervisor.start()

    run_roles(tmp_path, [spec(tmp_path, "a", behaviour="hang")], body)


def test_a_role_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "STOP_SECONDS_MAX", 0.05)
    pids: list[int] = []

    async def body(supervisor: Supervisor, _changes: Changes) -> None:
        await supervisor.start()
        pids.append(supervisor.statuses["a"].pid or 0)

    run_roles(tmp_path, [spec(tmp_path, "a", behaviour="deaf")], body)
    assert not psutil.pid_exists(pids[0])


def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    spec(tmp_path, "a", behaviour="deaf")
    script = f"""
        import asyncio, uvloop
        from pathlib import Path
        from dormouse.cli.logfile import LogFile
        from dormouse.cli.process import RoleProcess

        async def main():
            folder = Path({str(tmp_path)!r})
            role = await RoleProcess.start({FAKE_ROLE!r}, folder / "a.json", pass_fds=(),
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
