"""A control group file system in memory that holds to the kernel's rules."""

import errno
from dataclasses import dataclass, field
from pathlib import Path

_PER_CONTROLLER = {"cpu": {"cpu.max": "max 100000"}, "memory": {"memory.max": "max"}}


@dataclass
class Group:
    controllers: set[str]
    is_root: bool = False
    handed_on: set[str] = field(default_factory=set)
    procs: set[int] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)


class FakeCgroups:
    """Groups by their path below `top`, the root of the hierarchy unless it is said otherwise."""

    def __init__(
        self, top: Path, *controllers: str, is_root: bool = False, procs: tuple[int, ...] = ()
    ) -> None:
        self.top = top
        self.groups = {top: Group(set(controllers), is_root, procs=set(procs))}
        self.refused: set[Path] = set()
        """Nothing may be written below these."""

    def read(self, path: Path) -> str:
        group = self._group(path.parent)
        match path.name:
            case "cgroup.controllers":
                return " ".join(sorted(group.controllers)) + "\n"
            case "cgroup.subtree_control":
                return " ".join(sorted(group.handed_on)) + "\n"
            case "cgroup.procs":
                return "".join(f"{pid}\n" for pid in sorted(group.procs))
            case "cgroup.type" if not group.is_root:
                return "domain\n"
        if path.name in group.files:
            return group.files[path.name]
        raise OSError(errno.ENOENT, "no such file", str(path))

    def write(self, path: Path, text: str) -> None:
        group = self._group(path.parent)
        if any(path.is_relative_to(each) for each in self.refused):
            raise PermissionError(errno.EACCES, "not allowed", str(path))
        match path.name:
            case "cgroup.procs":
                self._move(group, int(text))
            case "cgroup.subtree_control":
                self._hand_on(path.parent, group, {each.removeprefix("+") for each in text.split()})
            case name if name in group.files:
                group.files[name] = text
            case _:
                raise OSError(errno.ENOENT, "no such file", str(path))

    def make(self, path: Path) -> None:
        if path in self.groups:
            return
        parent = self._group(path.parent)
        if any(path.is_relative_to(each) for each in self.refused):
            raise PermissionError(errno.EACCES, "not allowed", str(path))
        self.groups[path] = Group(set())
        self._offer(path, parent.handed_on)

    def remove(self, path: Path) -> None:
        group = self._group(path)
        if group.procs or self.children(path):
            raise OSError(errno.EBUSY, "busy", str(path))
        del self.groups[path]

    def children(self, path: Path) -> list[str]:
        self._group(path)
        return sorted(each.name for each in self.groups if each.parent == path)

    def where(self, pid: int) -> Path:
        (path,) = (path for path, group in self.groups.items() if pid in group.procs)
        return path

    def _group(self, path: Path) -> Group:
        if path not in self.groups:
            raise FileNotFoundError(errno.ENOENT, "no such group", str(path))
        return self.groups[path]

    def _move(self, group: Group, pid: int) -> None:
        if group.handed_on and not group.is_root:
            raise OSError(errno.EBUSY, "no internal processes")
        for each in self.groups.values():
            each.procs.discard(pid)
        group.procs.add(pid)

    def _hand_on(self, path: Path, group: Group, names: set[str]) -> None:
        if not names <= group.controllers:
            raise OSError(errno.ENOENT, "no such controller", str(path))
        if group.procs and not group.is_root:
            raise OSError(errno.EBUSY, "no internal processes", str(path))
        group.handed_on |= names
        for child in self.children(path):
            self._offer(path / child, group.handed_on)

    def _offer(self, path: Path, names: set[str]) -> None:
        group = self.groups[path]
        group.controllers |= names
        for name in names:
            for file, text in _PER_CONTROLLER[name].items():
                group.files.setdefault(file, text)
