"""A storage process of its own, for tests that kill it or spoil its disk."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dormouse.base import config
from storage.config import StorageSettings
from tests.support.certificates import Authority
from tests.support.kv import STORAGE, StorageForTest

_END_SECONDS = 60
_numbers = itertools.count(1)


def prepare(folder: Path, **settings: Any) -> Authority:
    """Write what a `Child` of this folder starts with: `storage.json`, with these further settings,
    and its certificates. The authority that signed them is returned."""
    authority = Authority()
    authority.write(folder / "certs", STORAGE)
    config.dump(
        StorageSettings(data=folder / "data", certs=folder / "certs", **settings),
        folder / "storage.json",
    )
    return authority


class Child:
    """A process with the settings in `storage.json`: it answers, or has ended without `ready`."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        read_fd, write_fd = os.pipe()
        self._log = folder / f"storage-{next(_numbers)}.log"
        with self._log.open("wb") as log:  # a pipe that is read at the end could be full before
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "storage"),
                    *("--config", str(folder / "storage.json"), "--ready-fd", str(write_fd)),
                ],
                pass_fds=[write_fd],
                stderr=log,
                cwd=Path(__file__).parents[2],
                env={**os.environ, **(environment or {})},
            )
        os.close(write_fd)
        with os.fdopen(read_fd) as pipe:
            line = pipe.readline()
        self.ready: dict[str, Any] = json.loads(line) if line else {}

    def storage(self, authority: Authority) -> StorageForTest:
        """Where it answers, for clients with certificates of this authority."""
        return StorageForTest(self.ready["address"], self.ready["metrics"], authority)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """End it by a signal; its exit code, and what it has logged."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Wait until it has ended by itself; likewise."""
        code = self.process.wait(_END_SECONDS)
        return code, self._log.read_text()
