"""Staged writes on local disk, so that a transaction can read what it has sent away.

A *run* is one staged piece: sorted keys with values, written to an unlinked temporary file as two
blocks. Memory keeps its first and last key and eight bytes of hash per key, which answer nearly all
"has this transaction written it?" without the disk. The runs read last stay in memory.

A bulk load writes ascending keys, so runs do not overlap and a range is found in few of them. A
load of random keys that is then read by ranges inside its own transaction reads every run for
every page: slow, and right.
"""

import tempfile
from array import array
from bisect import bisect_left
from dataclasses import dataclass

from dormouse.base import blocks

RUNS_IN_MEMORY = 2


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Writes that are staged together: sorted keys, and keys and values as blocks."""

    keys: list[bytes]
    packed_keys: bytes
    packed_values: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Where a run is and which keys it may have."""

    statement: int
    """The statement that wrote it."""
    offset: int
    keys_bytes: int
    values_bytes: int
    first: bytes
    last: bytes
    hashes: "array[int]"

    def may_have(self, key: bytes) -> bool:
        """False where the run does not have the key."""
        if not self.first <= key <= self.last:
            return False
        wanted = hash(key)
        at = bisect_left(self.hashes, wanted)
        return at < len(self.hashes) and self.hashes[at] == wanted

    def overlaps(self, start: bytes, end: bytes) -> bool:
        """Whether a key of [start, end) can be in it."""
        return self.first < end and start <= self.last


class RunFile:
    """The runs of one transaction."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="dormouse-staged-", buffering=0)  # noqa: SIM115
        self._end = 0
        self._loaded: dict[int, tuple[list[bytes], list[bytes | None]]] = {}

    def close(self) -> None:
        """Free the disk."""
        self._loaded.clear()
        self._file.close()

    def add(self, piece: Piece, statement: int) -> Run:
        """Write a run; the piece is not empty."""
        keys, packed, values = piece.keys, piece.packed_keys, piece.packed_values
        self._file.seek(self._end)
        for part in (packed, values):
            written = self._file.write(part)
            if written != len(part):
                raise OSError("short write of a staged run")
        run = Run(
            statement,
            self._end,
            len(packed),
            len(values),
            keys[0],
            keys[-1],
            array("q", sorted(map(hash, keys))),
        )
        self._end += len(packed) + len(values)
        return run

    def range(self, run: Run, start: bytes, end: bytes) -> dict[bytes, bytes | None]:
        """The writes of a run in [start, end)."""
        keys, values = self._read(run)
        low, high = bisect_left(keys, start), bisect_left(keys, end)
        return dict(zip(keys[low:high], values[low:high], strict=True))

    def _read(self, run: Run) -> tuple[list[bytes], list[bytes | None]]:
        found = self._loaded.pop(run.offset, None)
        if found is None:
            self._file.seek(run.offset)
            data = self._file.read(run.keys_bytes + run.values_bytes)
            found = (
                blocks.unpack_present(data[: run.keys_bytes]),
                blocks.unpack(data[run.keys_bytes :]),
            )
        self._loaded[run.offset] = found
        while len(self._loaded) > RUNS_IN_MEMORY:
            del self._loaded[next(iter(self._loaded))]
        return found
