"""The data folder of a one-machine installation: what lies where, and who holds it.

dormouse.lock     held by the running supervisor; its pid is inside
admin.key         the operator's API key (0600)
ca.crt            what clients verify the gateway with
authority/        the certificate authority's key and certificate
certificates/     key and certificate of every role
control/          the registry          storage/        the tenants' rows
credentials/      connection URLs of tenants made from this machine (0600)
run/              settings the supervisor wrote for the roles, and their status
logs/             one file per role, with its predecessor
"""

import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dormouse.base.errors import DormouseError


class CommandError(DormouseError):
    """What ends a command with a message and exit code 1."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Names inside one data folder; `root` is absolute."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """The folder at `path`, which need not exist."""
        return cls(path.expanduser().resolve())

    @property
    def admin_key(self) -> Path:
        """The operator's API key."""
        return self.root / "admin.key"

    @property
    def authority(self) -> Path:
        """The certificate authority."""
        return self.root / "authority"

    @property
    def certificates(self) -> Path:
        """The roles' certificates."""
        return self.root / "certificates"

    @property
    def client_ca(self) -> Path:
        """What clients verify the gateway with."""
        return self.root / "ca.crt"

    @property
    def credentials(self) -> Path:
        """Connection URLs of tenants made from this machine."""
        return self.root / "credentials"

    @property
    def run(self) -> Path:
        """The supervisor's own folder."""
        return self.root / "run"

    @property
    def ready(self) -> Path:
        """How to reach the running installation; not there while none runs."""
        return self.run / "ready.json"

    @property
    def status(self) -> Path:
        """What the supervisor writes about every role."""
        return self.run / "status.json"

    @property
    def wiring(self) -> Path:
        """What the roles' settings follow from."""
        return self.run / "wiring.json"

    @property
    def control_socket(self) -> Path:
        """Where the running supervisor is asked for something."""
        return self.run / "supervisor.sock"

    @property
    def logs(self) -> Path:
        """The roles' logs."""
        return self.root / "logs"

    def make(self) -> None:
        """Make the folder and those of the supervisor; only this user may look into them."""
        for folder in (self.root, self.run, self.logs, self.credentials):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


class Lock:
    """The one supervisor of a data folder. The kernel frees it however the process ends."""

    def __init__(self, folder: DataFolder) -> None:
        self._file = folder.root / "dormouse.lock"
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise CommandError(
                f"{folder.root} is in use by a running `dormouse up` (pid {holder or 'unknown'})",
                hint="stop that one first, or choose another folder with --data",
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let the next supervisor in."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def write_private(path: Path, text: str) -> None:
    """Replace `path` atomically by `text`, readable by this user alone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
