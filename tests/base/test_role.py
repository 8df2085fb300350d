"""What signals do to a role: a process of our own is sent them, and tells what it has done."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dormouse.base import version

_ROLE = """
import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from dormouse.base import role

def say(text):
    print(text, flush=True)

@dataclass(frozen=True)
class Settings:
    drains: bool = False

@asynccontextmanager
async def serve(settings):
    finished = asyncio.Event()

    async def drain():
        say("draining")
        await finished.wait()

    async def reload():
        done = FINISH.exists()
        say("reloaded")
        if done:
            finished.set()

    ready = {"address": "here"}
    yield role.Service(ready=ready, drain=drain, reload=reload) if settings.drains else ready
    say("left in order")

role.run("test", Settings, serve)
"""


class Process:
    """A role whose lines can be waited for."""

    def __init__(self, process: "subprocess.Popen[str]", finish: Path) -> None:
        self._process = process
        self._finish = finish

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def finish(self) -> None:
        """From now on a reload also ends the draining."""
        self._finish.touch()

    def says(self, line: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().rstrip("\n") == line

    def is_ready(self) -> None:
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        assert ready == {"address": "here", "version": version.installed()}

    def wait(self) -> int:
        return self._process.wait(30)

    def ends(self) -> None:
        self.says("left in order")
        assert self.wait() == 0


@contextmanager
def running(folder: Path, *, drains: bool, hold_fd: int | None = None) -> Iterator[Process]:
    finish = folder / "finish"
    script = folder / "a_role.py"
    script.write_text(f"from pathlib import Path\nFINISH = Path({str(finish)!r})\n{_ROLE}")
    settings = folder / "settings.json"
    settings.write_text(json.dumps({"drains": drains}))
    command = [sys.executable, str(script), "--config", str(settings), "--ready-fd", "3"]
    held = () if hold_fd is None else (hold_fd,)
    command += [word for fd in held for word in ("--hold-fd", str(fd))]
    # The role closes the descriptor of its ready line: a copy of the one pipe there is.
    shell = ["sh", "-c", 'exec "$@" 3>&1', "sh"]
    process = subprocess.Popen(
        shell + command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        pass_fds=held,
    )
    try:
        role = Process(process, finish)
        if not held:
            role.is_ready()
        yield role
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_role_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, drains=False) as role:
        role.send(number)
        role.ends()


def test_a_role_that_drains_ends_when_its_work_is_done(tmp_path: Path) -> None:
    with running(tmp_path, drains=True) as role:
        role.send(signal.SIGTERM)
        role.says("draining")
        role.send(signal.SIGHUP)
        role.says("reloaded")
        role.finish()
        role.send(signal.SIGHUP)
        role.says("reloaded")
        role.ends()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_draining(tmp_path: Path, second: signal.Signals) -> None:
    with running(tmp_path, drains=True) as role:
        role.send(signal.SIGTERM)
        role.says("draining")
        role.send(second)
        role.ends()


def test_an_interrupt_does_not_drain(tmp_path: Path) -> None:
    with running(tmp_path, drains=True) as role:
        role.send(signal.SIGINT)
        role.ends()


def test_a_role_that_cannot_reload_takes_sighup_as_the_system_does(tmp_path: Path) -> None:
    with running(tmp_path, drains=False) as role:
        role.send(signal.SIGHUP)
        assert role.wait() == -signal.SIGHUP


@pytest.mark.parametrize("word", [b"g", b""])
def test_a_role_that_is_held_serves_when_it_is_told(tmp_path: Path, word: bytes) -> None:
    reader, writer = os.pipe()
    with running(tmp_path, drains=False, hold_fd=reader) as role:
        os.close(reader)
        role.says('{"standby": true}')
        os.write(writer, word)
        os.close(writer)
        if word:
            role.is_ready()
            role.send(signal.SIGINT)
            role.ends()
        else:  # nobody is left who could tell it
            assert role.wait() == 0
