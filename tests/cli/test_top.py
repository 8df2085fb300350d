"""`dormouse top`: what it lays out, and how it lives on a real pseudo-terminal."""

import fcntl
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.cli.live import SORTS, Snapshot, View, pressed, report, screen
from dormouse.cli.main import main
from dormouse.cli.terminal import split_keys
from tests.cli.fake_api import FakeApi, live, tenant

_PATIENCE_SECONDS = 20.0
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ENTER, _LEAVE = "\x1b[?1049h", "\x1b[?1049l"
_SHOP = tenant(17, "shop", pods=1, pods_wanted=3, connections=12, parked=30, cpu_percent=98.76)
_MUSEUM = tenant(4, "museum", state="draining", awake_because="", cpu_percent=0.0)


def _plain(lines: list[str]) -> list[str]:
    return [_ANSI.sub("", line) for line in lines]


def _laid_out(
    document: dict[str, Any] | None, *, columns: int = 100, lines: int = 24, **changes: Any
) -> list[str]:
    view = View(sort=changes.pop("sort", "cpu"), offset=changes.pop("offset", 0))
    snapshot = Snapshot(document, **changes)
    return screen(snapshot, view, title="dormouse top", columns=columns, lines=lines)


def test_a_screen_of_tenants() -> None:
    held = {**_MUSEUM, "holds": [{"backend_pid": 9, "reason": "a lock"}]}
    assert [line.rstrip() for line in _plain(_laid_out(live(_SHOP, held)))] == [
        "dormouse top",
        "tenants 2 awake of 120   pods 2   warm 1 of 2",
        "sessions 14   parked 30   CPU 98.8 %   RU/s 0.0",
        "",
        "TENANT    STATE     PODS (WANTED)  CPU %*  SESSIONS  PARKED  RU/S  AWAKE BECAUSE",
        "shop-17   running   1 (3)            98.8        12      30   4.5  2 sessions",
        "museum-4  draining  1                 0.0         2       0   4.5  (backend 9: a lock)",
        "q quit   sort: c CPU  r RU/s  s sessions  w parked  p pods  n name   ↑ ↓ scroll",
    ]


def test_what_is_old_or_left_out_is_said() -> None:
    away = _plain(_laid_out(live(_SHOP), problem="the API does not answer", age_seconds=12.4))
    assert away[3] == "! 12 s old: the API does not answer"
    assert away[5].startswith("shop-17")
    never = _plain(_laid_out(None, problem="the API does not answer"))
    assert "! the API does not answer" in never
    assert "asking" in "".join(_laid_out(None))
    assert _plain(_laid_out(live(_SHOP, more=7)))[3] == "and 7 more that are not shown"
    assert "warm ?" in "".join(_laid_out(live(_SHOP, warm_pool=None)))


def test_nothing_from_elsewhere_moves_the_cursor() -> None:
    wild = tenant(1, "a", awake_because="x\x1b[2J\ny\x07")
    for text in ("".join(_plain(_laid_out(live(wild)))), report(live(wild))):
        assert "\x1b" not in text
        assert "x?[2J?y?" in text


def test_a_long_list_scrolls_and_ends() -> None:
    document = live(*(tenant(number, f"t{number}") for number in range(1, 31)))

    def shown(offset: int) -> list[str]:
        lines = _plain(_laid_out(document, lines=16, offset=offset))
        return [line.split()[0] for line in lines[5:-1]]

    assert shown(0) == [f"t{number}-{number}" for number in range(1, 11)]
    assert shown(20) == shown(99) == [f"t{number}-{number}" for number in range(21, 31)]
    view: View | None = View()
    for key, offset in (
        ("up", 0), ("down", 1), ("page down", 11), ("page down", 20), ("down", 20),
        ("page up", 10), ("end", 20), ("up", 19), ("home", 0), ("x", 0), ("end", 20),
    ):  # fmt: skip
        assert view is not None
        view = pressed(view, key, rows=30, lines=16)
        assert view is not None
        assert view.offset == offset, key
    assert view is not None
    assert pressed(view, "r", rows=30, lines=16) == View("ru", 0)
    assert pressed(view, "q", rows=30, lines=16) is None


@given(
    st.integers(1, 200),
    st.integers(1, 60),
    st.integers(0, 40),
    st.integers(0, 100),
    st.sampled_from(sorted(SORTS.values())),
    st.sampled_from(["", "the API does not answer " * 9]),
)
def test_a_screen_fits_whatever_its_size(
    columns: int, lines: int, count: int, offset: int, sort: str, problem: str
) -> None:
    document = live(*(tenant(number, "t" * number) for number in range(1, count + 1)))
    for each in (document, None):
        drawn = _laid_out(
            each, columns=columns, lines=lines, problem=problem, sort=sort, offset=offset
        )
        assert len(drawn) <= lines
        assert all(len(line) <= columns for line in _plain(drawn))


def test_keys_are_told_apart() -> None:
    data = b"c\x1b[A\x1b[6~\x1bOBq"
    assert list(split_keys(data)) == ["c", "up", "page down", "down", "q"]
    assert list(split_keys(b"a\x1b[99~q")) == ["a"]


def test_once_prints_once(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/live"] = live(_SHOP)
        assert main(["top", "--once", *api.flags]) == 0
        out = capsys.readouterr().out
        assert "shop-17  running  1 (3)  " in out
        assert "warm 1 of 2" in out
        assert "\x1b" not in out
        assert main(["top", "--once", "--json", *api.flags]) == 0
        assert json.loads(capsys.readouterr().out) == live(_SHOP)
        api.away = "the autoscaler does not answer"
        assert main(["top", "--once", *api.flags]) == 1
        assert "the autoscaler does not answer" in capsys.readouterr().err


def _command(api: FakeApi, *flags: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "dormouse.cli.main",
        "top",
        "--interval",
        "0.2",
        *api.flags,
        *flags,
    ]


@pytest.mark.parametrize("flags", [["--json"], []], ids=["json", "text"])
def test_into_a_pipe_it_prints_each_time_and_outlives_an_outage(flags: list[str]) -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/live"] = live(_SHOP)
        with subprocess.Popen(
            # Who is started in a shell's background ignores it, and so would its children.
            ["env", "--default-signal=INT", *_command(api, *flags)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for _ in range(2):
                _read_until(process.stdout, "shop")
            api.away = "the autoscaler does not answer"
            assert _read_until(process.stderr, "trying again").count("autoscaler") == 1
            api.answers["GET /v1/live"], api.away = live(_MUSEUM), ""
            _read_until(process.stdout, "museum")
            process.send_signal(signal.SIGINT)
            assert process.wait(_PATIENCE_SECONDS) == 130
            assert process.stderr.read() == ""


def _read_until(stream: Any, word: str) -> str:
    text = ""
    while word not in text:
        line = stream.readline()
        assert line, text
        text += line
    return text


class _Pty:
    """A command on a pseudo-terminal of its own, which it controls as a person's would."""

    def __init__(self, command: list[str]) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(100, 24)
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        take = (
            "import fcntl, os, sys, termios;"
            "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", take, *command],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PYTHONUTF8": "1"},
        )

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    @property
    def shown(self) -> list[str]:
        """The lines of the last whole screen."""
        whole = self.text.rpartition("\x1b[J")[0]
        # The terminal's own line discipline makes a second carriage return of every newline.
        return _ANSI.sub("", whole.rpartition("\x1b[H")[2]).replace("\r", "").split("\n")

    def until(self, is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not is_there():
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            assert ready, self.text[-4000:]
            self.text += os.read(self.master, 65_536).decode("utf-8", "replace")

    def shows(self, text: str) -> None:
        self.until(lambda: any(text in line for line in self.shown))

    def ends(self) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(_PATIENCE_SECONDS)
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 65_536).decode("utf-8", "replace")
        return code

    def is_given_back(self) -> bool:
        modes = termios.tcgetattr(self.slave) == self.before
        after = self.text.rpartition(_LEAVE)
        return modes and after[1] == _LEAVE and _ENTER not in after[2] and "\x1b[?25h" in self.text


@contextmanager
def _terminal(command: list[str]) -> Iterator[_Pty]:
    terminal = _Pty(command)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
            terminal.process.wait()
        os.close(terminal.master)
        os.close(terminal.slave)


@contextmanager
def _top() -> Iterator[tuple[_Pty, FakeApi]]:
    with FakeApi().running() as api:
        api.answers["GET /v1/live"] = live(_SHOP, _MUSEUM)
        with _terminal(_command(api)) as terminal:
            terminal.shows("museum-4")
            yield terminal, api


def test_on_a_terminal_it_draws_sorts_and_quits() -> None:
    with _top() as (terminal, api):
        assert terminal.text.startswith(_ENTER)
        terminal.press("s")
        terminal.shows("SESSIONS*")
        terminal.until(lambda: any("sort=sessions" in path for path, _ in api.asked))
        api.answers["GET /v1/live"] = live(tenant(5, "new", awake_because="just woken"))
        terminal.shows("just woken")
        assert not any("shop" in line for line in terminal.shown)
        terminal.press("q")
        assert terminal.ends() == 0
        assert terminal.is_given_back()


def test_it_fills_the_terminal_as_it_grows_and_shrinks() -> None:
    with _top() as (terminal, _api):
        for columns, lines in ((60, 10), (140, 40), (30, 8)):
            terminal.resize(columns, lines)
            # The line of titles is as wide as the screen.
            terminal.until(lambda wanted=columns: len(terminal.shown[4]) == wanted)  # type: ignore[misc]
            assert len(terminal.shown) <= lines
            assert all(len(line) <= columns for line in terminal.shown)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda terminal: terminal.press("\x03"), 130),
        (lambda terminal: terminal.process.terminate(), 128 + signal.SIGTERM),
        (lambda terminal: terminal.process.send_signal(signal.SIGHUP), 128 + signal.SIGHUP),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_the_terminal_is_given_back_however_it_ends(end: Callable[[_Pty], None], code: int) -> None:
    with _top() as (terminal, _api):
        assert not terminal.is_given_back()
        end(terminal)
        assert terminal.ends() == code
        assert terminal.is_given_back()
        assert "Traceback" not in terminal.text


def test_ctrl_z_lends_the_terminal_to_the_shell() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash, whose jobs stop and go on, is not installed")
    with FakeApi().running() as api:
        api.answers["GET /v1/live"] = live(_MUSEUM)
        with _terminal([bash, "--norc", "--noprofile", "-i"]) as terminal:
            terminal.press(shlex.join(_command(api)) + "\n")
            terminal.shows("museum-4")
            terminal.press("\x1a")
            terminal.until(lambda: "Stopped" in terminal.text.rpartition(_LEAVE)[2])
            terminal.text = ""
            terminal.press("fg\n")
            terminal.shows("museum-4")
            assert _ENTER in terminal.text
            terminal.press("q")
            terminal.until(lambda: _LEAVE in terminal.text)
            terminal.press("exit\n")
            assert terminal.ends() == 0


def test_while_the_gateway_is_away_it_says_so_and_then_goes_on() -> None:
    with _top() as (terminal, api):
        api.away = "the autoscaler does not answer"
        terminal.shows(" s old: the autoscaler does not answer")
        assert any("shop-17" in line for line in terminal.shown)
        api.answers["GET /v1/live"], api.away = live(tenant(5, "new")), ""
        terminal.shows("new-5")
        assert not any("answer" in line for line in terminal.shown)


def test_a_gateway_that_is_gone_does_not_stop_the_keys() -> None:
    api = FakeApi()
    with api.running():
        api.answers["GET /v1/live"] = live(_SHOP)
        with _terminal(_command(api)) as terminal:
            terminal.shows("shop-17")
            api.close()
            terminal.shows("does not answer")
            terminal.press("q")
            assert terminal.ends() == 0
            assert terminal.is_given_back()
