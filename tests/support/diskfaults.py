"""A disk that fails on demand, under a real process.

    disk = BadDisk(build_folder, data_folder)
    process = subprocess.Popen(…, env={**os.environ, **disk.environment})
    disk.full()                       # no file may grow any more
    disk.fails("sync", errno.EIO, times=1, suffix="-wal")
    disk.heals()

A small C library (diskfaults.c, built with gcc where the tests run) is loaded before libc and
stands between the process and the calls that SQLite makes of a file: `pwrite64`, `ftruncate64`,
`fdatasync`, `pread64`, `open64` and their kin, and `statvfs` tells how full it is. The orders lie
in a file that the test and every process of it have mapped, so they hold at once, also for a
process that has not begun yet.

    test ──orders──▶ mapped file ◀── library ─┬─ errno, delay      (files in the folder)
                                       ▲      └─ libc ─▶ kernel    (all others, and what may pass)
                                    process

What this can show: how a process takes an error that the kernel reports, at any moment and in any
of these calls; what it does while the disk is slow; whether it comes back. A full disk is one where
no file may *grow*: what lies in a file already can be written over, so that a write-ahead log that
was larger once still takes commits while the file of the pages can't be extended, as it is on a
real disk. The last write before the end is cut short, as the kernel does it, and who cuts a file
short has its room back.

What it can't show: what is on the medium. A write that succeeded here is in the page cache, and a
process that is killed finds it there again, whether an `fdatasync` came through or not. So a disk
that says "synced" and is lying, power cuts, and what a kernel does with pages whose write-back
failed are beyond it. Reads of pages that are mapped are no calls, so it does not see them either:
a process whose reads are to fail must be told not to map its file. Damage needs no help from here:
a test writes other bytes into the file (`damage`).
"""

import mmap
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOURCE = Path(__file__).with_name("diskfaults.c")
_ORDER = struct.Struct("=iiii")
_KINDS = ("write", "sync", "read")
_ROOM = struct.Struct("=qi20s")
_ROOM_AT = _ORDER.size * len(_KINDS)
_SIZE = _ROOM_AT + _ROOM.size
_DAMAGED_BYTES = 8
_PAGE_BYTES = 4096


def build(folder: Path) -> Path:
    """The library, compiled into `folder` unless it is there."""
    library = folder / "diskfaults.so"
    if not library.exists():
        made = folder / f"diskfaults.{os.getpid()}"
        options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["gcc", *options, "-o", made, _SOURCE, "-ldl"], check=True)
        made.rename(library)
    return library


class BadDisk:
    """Orders for the files in a folder, which need not be there yet."""

    def __init__(self, build_folder: Path, folder: Path) -> None:
        self.folder = folder
        control = build_folder / f"orders-{os.urandom(4).hex()}"
        control.write_bytes(b"\0" * _SIZE)
        with control.open("r+b") as file:
            self._orders = mmap.mmap(file.fileno(), _SIZE)
        self.heals()
        self.environment = {
            "LD_PRELOAD": str(build(build_folder)),
            "DISK_FAULTS": str(control),
            "DISK_FAULTS_FOLDER": str(folder.resolve()),
        }
        """What a process needs to be told."""

    def fails(self, kind: str, error: int, *, times: int = -1, suffix: str = "") -> None:
        """Let calls of a kind (`write`, `sync`, `read`) end with this errno, so many times or
        until told otherwise, for files whose names end so."""
        self._order(kind, error, times, 0, suffix)

    def slow(self, kind: str, delay_ms: int, *, suffix: str = "") -> None:
        """Let every call of a kind take so much longer."""
        self._order(kind, 0, 0, delay_ms, suffix)

    def full(self, *, room: int = 0) -> None:
        """Let files grow by no more than `room` bytes, all together."""
        _ROOM.pack_into(self._orders, _ROOM_AT, room, 0, b"")

    def heals(self) -> None:
        """As new. What was counted is forgotten."""
        for at in range(0, _ROOM_AT, _ORDER.size):
            _ORDER.pack_into(self._orders, at, 0, 0, 0, 0)
        _ROOM.pack_into(self._orders, _ROOM_AT, -1, 0, b"")

    def met(self, kind: str) -> int:
        """How many calls of a kind have failed since it was ordered."""
        return int(_ORDER.unpack_from(self._orders, _ORDER.size * _KINDS.index(kind))[3])

    @property
    def refused(self) -> int:
        """How many writes found no room since the disk was `full`."""
        return int(_ROOM.unpack_from(self._orders, _ROOM_AT)[1])

    def _order(self, kind: str, error: int, times: int, delay_ms: int, suffix: str) -> None:
        room, refused, _ = _ROOM.unpack_from(self._orders, _ROOM_AT)
        _ROOM.pack_into(self._orders, _ROOM_AT, room, refused, suffix.encode())
        at = _ORDER.size * _KINDS.index(kind)
        _ORDER.pack_into(self._orders, at, error, times, delay_ms, 0)


@contextmanager
def damage(path: Path, *places: int) -> Iterator[None]:
    """Invert eight bytes of a file at each place, and at the end once more."""

    def invert() -> None:
        with path.open("r+b") as file:
            for place in places:
                file.seek(place)
                wrong = bytes(each ^ 0xFF for each in file.read(_DAMAGED_BYTES))
                file.seek(place)
                file.write(wrong)

    invert()
    try:
        yield
    finally:
        invert()


def pages_with(path: Path, text: bytes) -> list[int]:
    """Where those pages of an SQLite file begin that hold a text."""
    content = path.read_bytes()
    starts = range(0, len(content), _PAGE_BYTES)
    return [start for start in starts if text in content[start : start + _PAGE_BYTES]]


def places_of(path: Path, text: bytes) -> list[int]:
    """Where a text stands for the first time in a file: inside a value, of which SQLite itself
    checks nothing."""
    return [path.read_bytes().index(text)]
