"""An upgrade as it is asked for: the order, the socket, what is said, and what goes wrong."""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from dormouse.base import config
from dormouse.base.clock import SystemClock
from dormouse.base.unixsocket import listen
from dormouse.cli import door, upgrade
from dormouse.cli.door import Door
from dormouse.cli.folder import CommandError, DataFolder
from dormouse.cli.main import main
from dormouse.cli.protocol import INSTALLED, check
from dormouse.cli.roles import Wiring, internal_ports
from dormouse.cli.rolling import ORDER, Upgrade, roles_to_roll
from dormouse.cli.spec import Handover
from dormouse.cli.supervisor import Supervisor
from dormouse.cli.upgrade import Draining, draining
from tests.cli.support import Changes, behave, run_roles, spec, trace
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("asked", "storage", "rolled"),
    [
        ([], False, ORDER[1:]),
        ([], True, ORDER),
        (["proxy", "control", "proxy"], False, ("control", "proxy")),
        (["proxy"], True, ("storage", "proxy")),
        (["storage"], True, ("storage",)),
    ],
)
def test_roles_are_rolled_in_their_order(
    asked: list[str], storage: bool, rolled: tuple[str, ...]
) -> None:
    assert roles_to_roll(asked, storage=storage) == rolled


@pytest.mark.parametrize(("asked", "why"), [(["storage"], "--storage"), (["x"], "no role 'x'")])
def test_what_cannot_be_rolled_is_said(asked: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        roles_to_roll(asked, storage=False)


def _folder(path: Path) -> DataFolder:
    """A data folder with what newer code needs to write the roles' settings."""
    folder = DataFolder.at(path / "data")
    folder.make()
    folder.admin_key.write_text("key\n")
    wiring = Wiring(
        data=folder.root,
        sql_fds=(5,),
        sql_port=6,
        api_fds=(7,),
        api_port=8,
        internal_ports=internal_ports(),
        idle_timeout_seconds=300.0,
        warm_pods=2,
    )
    config.dump(wiring, folder.wiring)
    return folder


def _upgraded(path: Path, body: Callable[[DataFolder, Supervisor], Awaitable[None]]) -> list[str]:
    """Run `body` beside fake roles whose supervisor can be asked to upgrade them."""
    folder = _folder(path)

    async def run(supervisor: Supervisor, _changes: Changes) -> None:
        rolls = Upgrade(supervisor, folder.wiring, SystemClock())
        async with Door(rolls).serve(folder.control_socket):
            await supervisor.start()
            await body(folder, supervisor)

    specs = [
        spec(path, "storage"),
        spec(path, "control"),
        spec(path, "proxy", handover=Handover.DRAINING, behaviour="drain"),
    ]
    return run_roles(path, specs, run)


def _asked(folder: DataFolder, *arguments: str) -> int:
    return main(["upgrade", "--data", str(folder.root), *arguments])


def test_an_upgrade_is_asked_for_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def body(folder: DataFolder, supervisor: Supervisor) -> None:
        assert folder.control_socket.stat().st_mode & 0o777 == 0o600
        before = {name: status.pid for name, status in supervisor.statuses.items()}
        code = await asyncio.to_thread(_asked, folder, "--role", "proxy", "--role", "control")
        assert code == 0
        after = {name: status.pid for name, status in supervisor.statuses.items()}
        assert {name for name in before if before[name] != after[name]} == {"control", "proxy"}
        shown = capsys.readouterr().out
        for name in ("control", "proxy"):
            assert f"1 (pid {before[name]})" in shown
            assert f"→ 1 (pid {after[name]})" in shown
        assert "The new generation serves" in shown
        # The settings were written by the code that is installed.
        assert json.loads((folder.run / "proxy.json").read_text())["listen_fds"] == [5]
        await until(lambda: "proxy drains" in trace(tmp_path))

    lines = _upgraded(tmp_path, body)
    assert lines.index("control ended") < lines.index("proxy drains")


def test_a_failed_upgrade_says_why_and_stops_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def body(folder: DataFolder, supervisor: Supervisor) -> None:
        before = {name: status.pid for name, status in supervisor.statuses.items()}
        behave(tmp_path, "control", "die")
        arguments = ("--role", "control", "--role", "proxy")
        assert await asyncio.to_thread(_asked, folder, *arguments, "--json") == 1
        shown = capsys.readouterr()
        document = json.loads(shown.out)
        assert (document["ok"], document["roles"]) == (False, [])
        assert "no reason to live" in document["reason"]
        assert "control was not upgraded" in shown.err
        assert "hint: the old one runs on" in shown.err
        assert {name: status.pid for name, status in supervisor.statuses.items()} == before

    assert "proxy drains" not in _upgraded(tmp_path, body)


def test_new_code_that_cannot_write_its_settings_restarts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def body(folder: DataFolder, _supervisor: Supervisor) -> None:
        document = json.loads(folder.wiring.read_text())
        folder.wiring.write_text(json.dumps({**document, "of_a_later_day": 1}))
        assert await asyncio.to_thread(_asked, folder) == 1
        error = capsys.readouterr().err
        assert "unknown setting 'of_a_later_day'" in error
        assert "nothing has been restarted" in error

    assert "control stands by" not in _upgraded(tmp_path, body)


@pytest.mark.parametrize(
    ("storage", "pods", "roles", "why"),
    [
        (1, 1, ORDER[1:], "the installed pods speak version 2 .* runs version 1"),
        (None, None, ORDER[1:], "the installed pods speak version 2 .* runs an older one"),
        (3, 3, ORDER[1:], "the installed pods speak version 2 .* runs version 3"),
        (2, 1, ("storage",), "the installed storage speaks version 2 .* run version 1"),
        (1, None, ("storage", "proxy"), "the installed storage speaks version 2 .* run an older"),
        (1, 1, ("podhost",), "the installed pods"),
        (1, 1, ("control", "autoscaler", "proxy"), None),
        (1, 1, ORDER, None),
        (None, None, ("storage", "podhost"), None),
        (2, 1, ORDER[1:], None),  # storage died and was started anew from the new code
        (2, 2, ORDER[1:], None),
        (2, 2, ("storage",), None),
    ],
)
def test_pods_and_storage_must_understand_each_other(
    storage: int | None, pods: int | None, roles: tuple[str, ...], why: str | None
) -> None:
    running = {"storage": storage, "podhost": pods, "control": None}
    if why is None:
        check(running, roles, installed=2)
    else:
        with pytest.raises(CommandError, match=why) as refused:
            check(running, roles, installed=2)
        assert "--storage" in (refused.value.hint or "")


@pytest.mark.parametrize("asks", ["command", "supervisor"])
def test_an_upgrade_across_protocols_restarts_nothing_without_storage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asks: str
) -> None:
    async def body(folder: DataFolder, supervisor: Supervisor) -> None:
        if asks == "supervisor":
            behave(tmp_path, "storage", "serve", kv_protocol=INSTALLED - 1)
            await supervisor.roll("storage")
        else:  # as one does that knows of no such thing
            document = {"roles": {"storage": {"kv_protocol": INSTALLED - 1}}}
            folder.status.write_text(json.dumps(document))
        before = {name: status.pid for name, status in supervisor.statuses.items()}
        assert await asyncio.to_thread(_asked, folder, "--json") == 1
        shown = capsys.readouterr()
        document = json.loads(shown.out)
        assert (document["ok"], document["roles"]) == (False, [])
        assert f"the storage that runs version {INSTALLED - 1}" in document["reason"]
        assert "hint: upgrade both, with `dormouse upgrade --storage`" in shown.err
        assert {name: status.pid for name, status in supervisor.statuses.items()} == before
        assert not (folder.run / "proxy.json").exists()

    assert "control stands by" not in _upgraded(tmp_path, body)


def _events(folder: DataFolder, *lines: bytes) -> list[dict[str, Any]]:
    with socket.socket(socket.AF_UNIX) as asker:
        asker.settimeout(30)
        asker.connect(str(folder.control_socket))
        for line in lines:
            asker.sendall(line)
        with asker.makefile("rb") as answers:
            return [json.loads(line) for line in answers]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"nonsense\n", "not understood"),
        (b"[]\n", "not understood"),
        (b'{"roles": []}\n', "not understood"),
        (b'{"command": "upgrade", "roles": 5}\n', "not understood"),
        (b'{"command": "dance"}\n', "no command 'dance'"),
        (b'{"command": "upgrade", "roles": ["storage"]}\n', "--storage"),
        (b'{"command": "upgrade", "roles": ["podhost"]}\n', "broke off"),
    ],
)
def test_a_command_that_cannot_be_taken_is_answered(tmp_path: Path, line: bytes, why: str) -> None:
    async def body(folder: DataFolder, supervisor: Supervisor) -> None:
        before = supervisor.statuses["proxy"].pid
        *_, last = await asyncio.to_thread(_events, folder, line)
        assert last["event"] == "failed"
        assert why in last["reason"]
        assert supervisor.statuses["proxy"].pid == before

    _upgraded(tmp_path, body)


def test_a_line_without_end_is_not_kept(tmp_path: Path) -> None:
    async def body(folder: DataFolder, _supervisor: Supervisor) -> None:
        def flood() -> list[dict[str, Any]]:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                return _events(folder, *[b"x" * door.LINE_BYTES_MAX] * 4)
            return []

        assert await asyncio.to_thread(flood) == []

    _upgraded(tmp_path, body)


def test_one_upgrade_at_a_time_and_it_goes_on_when_its_asker_leaves(tmp_path: Path) -> None:
    line = b'{"command": "upgrade", "roles": ["control"]}\n'

    async def body(folder: DataFolder, supervisor: Supervisor) -> None:
        before = supervisor.statuses["control"].pid
        reader, writer = await asyncio.open_unix_connection(str(folder.control_socket))
        writer.write(line)
        await reader.readline()  # it has begun
        (second,) = await asyncio.to_thread(_events, folder, line)
        assert second["reason"] == "another upgrade is running"
        writer.close()
        await until(lambda: supervisor.statuses["control"].pid != before)

    _upgraded(tmp_path, body)


def test_an_upgrade_ends_with_the_gateway(tmp_path: Path) -> None:
    async def body(folder: DataFolder, supervisor: Supervisor) -> None:
        behave(tmp_path, "control", "hang")
        asking = asyncio.to_thread(_events, folder, b'{"command": "upgrade"}\n')
        task = asyncio.get_running_loop().create_task(asking)
        await until(lambda: "control stands by" in trace(tmp_path))
        await supervisor.stop()
        assert (await task)[-1]["event"] == "failed"

    _upgraded(tmp_path, body)


def test_nobody_to_ask_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _folder(tmp_path)
    assert _asked(folder) == 1
    assert "no gateway runs with the data folder" in capsys.readouterr().err
    listen(folder.control_socket).close()  # of a gateway that was killed
    assert _asked(folder) == 1
    assert "dormouse up" in capsys.readouterr().err


def test_an_upgrade_that_takes_too_long_goes_on_unwatched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder(tmp_path)
    with listen(folder.control_socket):  # listens and never says a word
        assert _asked(folder, "--timeout", "0.1") == 1
    assert "goes on without being watched" in capsys.readouterr().err


# Predecessors


@contextlib.contextmanager
def _page(text: str) -> Iterator[str]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
        finally:
            server.shutdown()
            thread.join()


def _status(folder: DataFolder, **retiring: list[dict[str, Any]]) -> None:
    roles = {name: {"retiring": lives} for name, lives in retiring.items()}
    folder.status.write_text(json.dumps({"roles": roles}))


def test_what_predecessors_still_have_is_counted(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert draining(folder) == []
    text = "# HELP dormouse_proxy_sessions x\ndormouse_proxy_sessions 3.0\n"
    with _page(text) as page, _page("other 1\n") as silent:
        lives = [{"pid": pid, "metrics": url} for pid, url in ((1, page), (2, silent), (3, None))]
        _status(folder, proxy=lives, podhost=[{"pid": 2**22 + 1}], control=[])
        counted = draining(folder)
    assert [each.left for each in counted] == [3, None, None, None]
    assert str(counted[0]) == "proxy pid 1 with 3 sessions"
    assert str(Draining("podhost", 7, 1)) == "podhost pid 7 with 1 pod"
    _status(folder, podhost=[{"pid": os.getpid()}])
    assert [each.left for each in draining(folder)] == [0]


def test_waiting_ends_with_the_last_predecessor_or_in_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "_POLL_SECONDS", 0.01)
    folder = _folder(tmp_path)
    options = argparse.Namespace(
        data=folder.root, role=None, storage=True, timeout=0.2, wait=True, json=False
    )
    done = {"event": "done", "seconds": 1.0}
    monkeypatch.setattr(upgrade, "_ask", lambda *_: iter([done]))
    _status(folder, podhost=[{"pid": os.getpid()}])
    with pytest.raises(CommandError, match=r"not ended within .* podhost"):
        upgrade.run(options)
    threading.Timer(0.05, _status, (folder,)).start()
    options.timeout = 30.0
    assert upgrade.run(options) == 0
    shown = capsys.readouterr().out
    assert upgrade.STORAGE_WARNING in shown
    assert f"finishing: podhost pid {os.getpid()} with 0 pods" in shown
