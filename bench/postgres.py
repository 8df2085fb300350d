"""PostgreSQL 15 for comparison: a server of its own, with the settings initdb gives (fsync on).

Clients reach it directly and without TLS: the fastest way there is to it, so that a ratio to it
flatters nobody.
"""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_BINARIES = Path("/usr/lib/postgresql/15/bin")
_USER = "postgres"


class PostgresMissing(Exception):
    """PostgreSQL 15 is not installed."""


def binary(name: str) -> str:
    """The path of one of PostgreSQL's programs. Raises PostgresMissing."""
    if (_BINARIES / name).exists():
        return str(_BINARIES / name)
    found = shutil.which(name)
    if found is None:
        raise PostgresMissing(f"{name} of PostgreSQL 15 is not installed")
    return found


@contextmanager
def postgres(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server with its data in `folder`; yields its connection URL."""
    data = folder / "postgres"
    data.mkdir(parents=True)
    as_user = _unprivileged(data)
    _run([*as_user, binary("initdb"), "-D", str(data), "-U", _USER, "-A", "trust"], folder)
    port = _free_port()
    more = "".join(f" -c {name}={value}" for name, value in (settings or {}).items())
    options = f"-p {port} -h 127.0.0.1 -c unix_socket_directories=''{more}"
    _run([*_control(data), "-o", options, "start"], folder)
    try:
        yield f"postgresql://{_USER}@127.0.0.1:{port}/postgres?sslmode=disable"
    finally:
        _run([*_control(data), "-m", "fast", "stop"], folder)


def restart(folder: Path) -> None:
    """Restart the server of `postgres(folder)` as an upgrade would."""
    _run([*_control(folder / "postgres"), "-m", "fast", "restart"], folder)


def _control(data: Path) -> list[str]:
    return [*_as_user(), binary("pg_ctl"), "-D", str(data), "-w", "-l", str(data / "log")]


def _unprivileged(data: Path) -> list[str]:
    """The server refuses root; then it runs as the user its package made."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        os.chown(data, user.pw_uid, user.pw_gid)
        # A folder that tempfile made lets nobody pass; this one is ours to open.
        data.parent.chmod(data.parent.stat().st_mode | 0o011)
    return _as_user()


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]


def _run(command: list[str], folder: Path) -> None:
    # A file, not a pipe: the server would keep the pipe open.
    with (folder / "postgres.out").open("ab") as output:
        subprocess.run(command, check=True, cwd="/", stdout=output, stderr=output, timeout=120)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
