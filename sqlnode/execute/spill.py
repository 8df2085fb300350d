"""Rows on disk: what sorts, hashes and WITH queries do when memory is used up.

A `Spool` keeps rows in memory until they are too many and appends them to an unnamed temporary file
from then on. `Partitions` deals rows out to several spools by the hash of a key, so that what
belongs together can be worked on piece by piece. Rows are plain values, pickled batch by batch; the
files have no name and vanish with the process.

Files are written and read in the event loop: pieces are small (a batch), and the page cache takes
them without waiting for the disk.
"""

import pickle
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from sys import getsizeof
from typing import IO, Any

from sqlnode.execute.api import Batch
from sqlnode.execute.runtime import BATCH_ROWS, Runtime

PARTITIONS = 16
PARTITION_DEPTH_MAX = 4
"""How often a partition is partitioned again; beyond that it is worked on in memory, for then its
rows are mostly equal and no partitioning helps."""
_SAMPLE = 8


def batch_bytes(batch: Batch) -> int:
    """About how much memory the rows take, from a sample."""
    if not batch:
        return 0
    step = max(1, len(batch) // _SAMPLE)
    sample = batch[::step]
    total = sum(getsizeof(row) + sum(map(getsizeof, row)) for row in sample)
    return total * len(batch) // len(sample)


class Spool:
    """Rows kept for later, in order; any number of passes over them."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._rows: Batch = []
        self._file: IO[bytes] | None = None
        self._end = 0
        self.count = 0

    def __repr__(self) -> str:
        return f"Spool({self.count} rows, {'on disk' if self.spilled else 'in memory'})"

    @property
    def spilled(self) -> bool:
        """Whether rows are on disk."""
        return self._file is not None

    @property
    def rows(self) -> Batch | None:
        """All rows, where they are in memory."""
        return self._rows if self._file is None else None

    def add(self, batch: Batch) -> None:
        """Append rows."""
        self.count += len(batch)
        self._rows += batch
        self._bytes += batch_bytes(batch)
        if self._bytes > self._bytes_max:
            self.spill()

    def spill(self) -> None:
        """Move what is in memory to disk."""
        if not self._rows:
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="dormouse-")  # noqa: SIM115 - see close
        self._file.seek(self._end)
        for start in range(0, len(self._rows), BATCH_ROWS):
            pickle.dump(self._rows[start : start + BATCH_ROWS], self._file, protocol=5)
        self._end = self._file.tell()
        self._rows = []
        self._bytes = 0

    def batches(self) -> Iterator[Batch]:
        """The rows again, from the first; several iterators may be open."""
        place = 0
        while self._file is not None and place < self._end:
            self._file.seek(place)
            # Written above by this process into a file nobody else can open.
            batch = pickle.load(self._file)
            place = self._file.tell()
            yield batch
        rows = self._rows
        for start in range(0, len(rows), BATCH_ROWS):
            yield rows[start : start + BATCH_ROWS]

    async def read(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """The rows again, with a checkpoint after every batch."""
        for batch in self.batches():
            yield batch
            await runtime.checkpoint()

    def close(self) -> None:
        """Give up rows and file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rows = []


class Partitions:
    """Rows dealt out by the hash of their key."""

    def __init__(self, bytes_max: int, *, depth: int) -> None:
        self.depth = depth
        self._spools = [Spool(max(1, bytes_max // PARTITIONS)) for _ in range(PARTITIONS)]

    def add(self, rows: Batch, keys: Iterable[Any]) -> None:
        """Deal out rows with their keys (one per row)."""
        dealt: list[Batch] = [[] for _ in range(PARTITIONS)]
        depth = self.depth
        for row, key in zip(rows, keys, strict=True):
            # Each depth must cut differently, or a second cut would move nothing.
            dealt[hash((key, depth)) % PARTITIONS].append(row)
        for spool, part in zip(self._spools, dealt, strict=True):
            if part:
                spool.add(part)

    def __iter__(self) -> Iterator[Spool]:
        return iter(self._spools)

    def close(self) -> None:
        """Give up all files."""
        for spool in self._spools:
            spool.close()


KeyFunction = Callable[[Batch], list[Any]]
"""rows → a hashable key per row."""


async def spooled(batches: AsyncIterator[Batch], bytes_max: int) -> Spool:
    """All rows of an iterator, kept."""
    spool = Spool(bytes_max)
    try:
        async for batch in batches:
            spool.add(batch)
    except BaseException:
        spool.close()
        raise
    return spool
