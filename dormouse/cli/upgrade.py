"""`dormouse upgrade`: has a running gateway take up the code that is installed now.

The supervisor does it (`dormouse.cli.rolling`); here it is asked, watched and shown. It is over
when every role that was asked for serves with the new code. Old proxies and pod hosts may then
still be finishing what they have: `--wait` waits for that, too.
"""

import argparse
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil

from dormouse.base.clock import Clock, SystemClock
from dormouse.base.unixsocket import short_name
from dormouse.cli.folder import CommandError, DataFolder
from dormouse.cli.output import counted, print_json
from dormouse.cli.protocol import INSTALLED, check
from dormouse.cli.rolling import LAST_EVENTS, failed, roles_to_roll

STORAGE_WARNING = (
    "Storage is restarted, too: for a moment statements wait, and some transactions fail with an "
    "error that says to retry them (40001)."
)
_LINE_BYTES_MAX = 64 << 10
_METRICS_SECONDS_MAX = 2.0
_METRICS_BYTES_MAX = 4 << 20
_POLL_SECONDS = 0.5
_SESSIONS = "dormouse_proxy_sessions "


@dataclass(frozen=True, slots=True)
class Draining:
    """A predecessor that has not ended yet."""

    role: str
    pid: int
    left: int | None
    """Pods of a pod host, sessions of a proxy; None where it cannot be told."""

    def __str__(self) -> str:
        noun = "pod" if self.role == "podhost" else "session"
        left = counted(self.left, noun) if self.left is not None else f"unknown {noun}s"
        return f"{self.role} pid {self.pid} with {left}"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"role": self.role, "pid": self.pid, "left": self.left}


def run(options: argparse.Namespace) -> int:
    """Run `dormouse upgrade`."""
    folder = DataFolder.at(options.data)
    clock = SystemClock()
    deadline = clock.monotonic() + options.timeout
    if options.storage and not options.json:
        print(STORAGE_WARNING)
    events = []
    for event in _ask(folder, options, deadline, clock):
        events.append(event)
        if not options.json:
            _show(event)
    failure = _failure(events[-1])
    left = draining(folder) if failure is None else []
    if options.wait and failure is None:
        left = _wait(folder, deadline, clock, quiet=options.json)
        if left:
            text = ", ".join(str(each) for each in left)
            failure = CommandError(f"not ended within {options.timeout:g} s: {text}")
    _conclude(events, left, failure, options)
    return 0


def _conclude(
    events: list[dict[str, Any]],
    left: list[Draining],
    failure: CommandError | None,
    options: argparse.Namespace,
) -> None:
    if options.json:
        kept = ("role", "old", "new", "seconds")
        document = {
            "ok": failure is None,
            "roles": [{k: e[k] for k in kept} for e in events if e["event"] == "rolled"],
            "draining": [each.document() for each in left],
            "reason": failure.message if failure is not None else None,
        }
        print_json(document)
    if failure is not None:
        raise failure
    if not options.json:
        print(f"The new generation serves, after {events[-1]['seconds']:.1f} s.")
        for each in left:
            print(f"  still finishing: {each}")


def _ask(
    folder: DataFolder, options: argparse.Namespace, deadline: float, clock: Clock
) -> Iterator[dict[str, Any]]:
    """What the supervisor says, to its last word. Raises CommandError."""
    command = {"command": "upgrade", "roles": options.role or [], "storage": options.storage}
    with _connected(folder) as connection, connection.makefile("rb") as stream:
        try:
            _check_protocol(folder, options)
        except CommandError as error:
            yield failed(None, error)
            return
        try:
            connection.sendall(json.dumps(command).encode() + b"\n")
            while True:
                connection.settimeout(max(0.001, deadline - clock.monotonic()))
                line = stream.readline(_LINE_BYTES_MAX)
                if not line:
                    raise CommandError("the gateway ended meanwhile")
                event: dict[str, Any] = json.loads(line)
                yield event
                if event["event"] in LAST_EVENTS:
                    return
        except TimeoutError:
            raise CommandError(
                "the upgrade took too long; it goes on without being watched",
                hint="see `dormouse status`, and supervisor.log in the folder of logs",
            ) from None
        except (OSError, ValueError) as error:
            raise CommandError(f"the gateway cannot be understood: {error}") from None


def _check_protocol(folder: DataFolder, options: argparse.Namespace) -> None:
    """Raises CommandError where pods and storage would not understand each other. A supervisor that
    was started before there was this check does not make it."""
    roles = roles_to_roll(options.role or [], storage=options.storage)
    try:
        status = json.loads(folder.status.read_bytes())["roles"]
        running = {role: each.get("kv_protocol") for role, each in status.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return  # it has not come up yet; the supervisor knows
    check(running, roles, installed=INSTALLED)


def _connected(folder: DataFolder) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_name(folder.control_socket) as name:
            connection.connect(name)
    except OSError as error:
        connection.close()
        if isinstance(error, PermissionError):
            text = f"the gateway of {folder.root} is another user's"
            raise CommandError(text, hint="ask as the user that runs it") from None
        raise CommandError(
            f"no gateway runs with the data folder {folder.root}",
            hint="start one with `dormouse up`, or name another with --data",
        ) from None
    return connection


def _show(event: dict[str, Any]) -> None:
    if event["event"] == "rolling":
        print(f"  {event['role']:<11}{_life(event['old'])} …", flush=True)
    elif event["event"] == "rolled":
        arrow = f"→ {_life(event['new'])}"
        print(f"  {event['role']:<11}{arrow}  {event['seconds']:.1f} s", flush=True)


def _life(life: dict[str, Any]) -> str:
    return f"{life['version'] or 'unknown version'} (pid {life['pid']})"


def _failure(last: dict[str, Any]) -> CommandError | None:
    if last["event"] != "failed":
        return None
    role = f"{last['role']} was not upgraded: " if last["role"] else ""
    return CommandError(f"{role}{last['reason']}", hint=last["hint"])


# Predecessors


def draining(folder: DataFolder) -> list[Draining]:
    """The predecessors that still live."""
    try:
        roles = json.loads(folder.status.read_bytes())["roles"]
        return [
            Draining(name, life["pid"], _left(name, life))
            for name, role in roles.items()
            for life in role["retiring"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # the gateway has ended, and they with it


def _wait(folder: DataFolder, deadline: float, clock: Clock, *, quiet: bool) -> list[Draining]:
    """Wait for the end of the predecessors; those that are left."""
    shown: list[Draining] = []
    while left := draining(folder):
        if left != shown and not quiet:
            print("  finishing: " + ", ".join(str(each) for each in left), flush=True)
        shown = left
        if clock.monotonic() >= deadline:
            return left
        time.sleep(_POLL_SECONDS)
    return []


def _left(role: str, life: dict[str, Any]) -> int | None:
    if role == "podhost":
        try:
            return len(psutil.Process(life["pid"]).children())
        except psutil.Error:
            return None
    return _sessions(life["metrics"])


def _sessions(metrics: str | None) -> int | None:
    """What a proxy says on its page; None where it doesn't."""
    if metrics is None:
        return None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(metrics, timeout=_METRICS_SECONDS_MAX) as response:
            text: str = response.read(_METRICS_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return None
    lines = (line for line in text.splitlines() if line.startswith(_SESSIONS))
    return next((int(float(line.removeprefix(_SESSIONS))) for line in lines), None)
