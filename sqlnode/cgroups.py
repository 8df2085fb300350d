"""Limits of pods by control groups (cgroups v2), where the gateway may make any.

    own group                    delegated to this user, or root's, with nobody else in it
    └── dormouse-<pid>           one installation; <pid> is its supervisor's
        ├── roles                the supervisor and all it starts
        └── pods                 ── <host's pid>-<n>    one pod: cpu.max, memory.max

A group that hands controllers on to its children may hold no process itself (the root excepted),
hence `roles`: the supervisor moves there before it starts anything, and only if nobody else would
have to move with it. What a dead supervisor or host has left is removed by the next one.

See https://docs.kernel.org/admin-guide/cgroup-v2.html, "No Internal Process Constraint" and
"Delegation".
"""

import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_PERIOD_MICROS = 100_000
_LEFT_MAX = 1_000
_ESCAPE = re.compile(r"\\([0-7]{3})")
_INSTALLATION = re.compile(r"dormouse-(\d+)")
_POD = re.compile(r"(\d+)-\d+")

_log = logging.getLogger(__name__)


class Unusable(Exception):
    """No group can be made here; the message says why, and to whom it may matter how to help."""


class GroupFiles(Protocol):
    """The control group file system. All raise OSError."""

    def read(self, path: Path) -> str:
        """The text of a file."""
        ...

    def write(self, path: Path, text: str) -> None:
        """Write to a file that exists."""
        ...

    def make(self, path: Path) -> None:
        """Make a group, unless it exists."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a group without processes and children."""
        ...

    def children(self, path: Path) -> list[str]:
        """The names of a group's children."""
        ...


class KernelFiles:
    """The kernel's own."""

    def read(self, path: Path) -> str:
        """See `GroupFiles.read`."""
        return path.read_text(encoding="ascii")

    def write(self, path: Path, text: str) -> None:
        """See `GroupFiles.write`."""
        with path.open("r+", encoding="ascii") as file:  # a missing one must not be made
            file.write(text)

    def make(self, path: Path) -> None:
        """See `GroupFiles.make`."""
        path.mkdir(exist_ok=True)

    def remove(self, path: Path) -> None:
        """See `GroupFiles.remove`."""
        path.rmdir()

    def children(self, path: Path) -> list[str]:
        """See `GroupFiles.children`."""
        return [each.name for each in path.iterdir() if each.is_dir()]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one pod; None is as much as there is."""

    cpu_cores: float | None = None
    """Cores' worth of time, in every tenth of a second."""
    memory_bytes: int | None = None
    """Beyond it the kernel ends the pod."""

    def settings(self) -> dict[str, str]:
        """The files of a group and what they are to hold."""
        settings = {}
        if self.cpu_cores is not None:
            settings["cpu.max"] = f"{round(self.cpu_cores * _PERIOD_MICROS)} {_PERIOD_MICROS}"
        if self.memory_bytes is not None:
            settings["memory.max"] = str(self.memory_bytes)
        return settings

    def controllers(self) -> frozenset[str]:
        """Those that the settings need."""
        return frozenset(name.partition(".")[0] for name in self.settings())


def own_group(cgroup: str, mountinfo: str) -> Path:
    """The folder of a process's group, from the texts of its two files in /proc.

    Raises Unusable.
    """
    path = next((line[3:] for line in cgroup.splitlines() if line.startswith("0::")), None)
    if path is None:
        raise Unusable("this system has no control groups of version 2")
    for line in mountinfo.splitlines():
        words, _, kind = line.partition(" - ")
        fields = words.split(" ")
        if not kind.startswith("cgroup2 ") or len(fields) < 5:
            continue
        root, point = (_unescaped(each) for each in fields[3:5])
        if path == root or root == "/" or path.startswith(f"{root}/"):
            if ".." in path.split("/"):
                break
            return Path(point, path[len(root) if root != "/" else 0 :].lstrip("/"))
    raise Unusable("the control group of this process is not mounted here")


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def delegate(files: GroupFiles, own: Path, wanted: frozenset[str], pid: int) -> Path:
    """Move the supervisor `pid` to a group of its own; the folder where pods' groups can be made.

    Raises Unusable, whereupon all is as before.
    """
    base = own / f"dormouse-{pid}"
    try:
        _check(files, own, wanted, pid)
        _remove_dead_installations(files, own)
        for each in (base, base / "roles", base / "pods"):
            files.make(each)
        files.write(base / "roles" / "cgroup.procs", str(pid))
        for each in (own, base, base / "pods"):
            files.write(
                each / "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(wanted))
            )
    except OSError as error:
        with suppress(OSError):
            files.write(own / "cgroup.procs", str(pid))
        _remove_installation(files, base)
        raise Unusable(f"no control group can be made in {own}: {error}") from error
    return base / "pods"


def _check(files: GroupFiles, own: Path, wanted: frozenset[str], pid: int) -> None:
    missing = wanted - set(files.read(own / "cgroup.controllers").split())
    if missing:
        raise Unusable(f"{own} has no controller for {' and '.join(sorted(missing))}")
    others = {int(each) for each in files.read(own / "cgroup.procs").split()} - {pid}
    if others and not _is_root(files, own):
        raise Unusable(
            f"other processes are in the control group {own}; start the gateway in one of its own, "
            "as with `systemd-run --scope -p Delegate=yes dormouse up`"
        )


def _is_root(files: GroupFiles, group: Path) -> bool:
    try:
        files.read(group / "cgroup.type")
    except OSError:
        return True
    return False


def _remove_dead_installations(files: GroupFiles, own: Path) -> None:
    for name in files.children(own):
        match = _INSTALLATION.fullmatch(name)
        if match is not None and not _is_alive(int(match[1])):
            _remove_installation(files, own / name)


def _remove_installation(files: GroupFiles, base: Path) -> None:
    with suppress(OSError):
        for name in files.children(base / "pods"):
            with suppress(OSError):
                files.remove(base / "pods" / name)
    for each in (base / "pods", base / "roles", base):
        with suppress(OSError):
            files.remove(each)


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class PodGroups:
    """Makes and removes the groups of one host's pods."""

    def __init__(
        self,
        files: GroupFiles,
        root: Path,
        limits: Limits,
        host: int,
        is_alive: Callable[[int], bool] = _is_alive,
    ) -> None:
        self._files = files
        self._root = root
        self._limits = limits
        self._host = host
        self._is_alive = is_alive
        self._count = 0
        self._left: list[Path] = []

    def __repr__(self) -> str:
        return f"<PodGroups {self._root} made={self._count} left={len(self._left)}>"

    def sweep(self) -> None:
        """Remove what hosts that are dead have left. Raises OSError."""
        for name in self._files.children(self._root):
            match = _POD.fullmatch(name)
            if match is None or (int(match[1]) != self._host and self._is_alive(int(match[1]))):
                continue
            with suppress(OSError):  # somebody is still in it
                self._files.remove(self._root / name)

    def open(self) -> Path | None:
        """A group for the next pod; None where it failed, which is logged."""
        self._count += 1
        group = self._root / f"{self._host}-{self._count}"
        try:
            self._files.make(group)
            for name, text in self._limits.settings().items():
                self._files.write(group / name, text)
        except OSError as error:
            _log.warning("a pod is not limited", extra={"reason": str(error)})
            self.close(group)
            return None
        return group

    def enter(self, group: Path) -> None:
        """Move this process into its group: the first thing a pod does."""
        try:
            self._files.write(group / "cgroup.procs", str(os.getpid()))
        except OSError as error:
            _log.warning("a pod is not limited", extra={"reason": str(error)})

    def close(self, group: Path) -> None:
        """Remove the group of a pod that has ended; what can't be removed yet is tried again."""
        waiting, self._left = [*self._left, group], []
        for each in waiting:
            try:
                self._files.remove(each)
            except FileNotFoundError:
                continue
            except OSError:
                self._left.append(each)
        if len(self._left) > _LEFT_MAX:  # the next host's sweep will find them
            del self._left[: -_LEFT_MAX // 2]
