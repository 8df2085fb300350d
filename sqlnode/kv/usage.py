"""What a pod has asked of storage, as it is billed: batches, requests, bytes.

    a batch    one operation of a frame: Get, Scan, Lock, LockTables, Stage, Commit, Increment,
               Sequence (but to give numbers back)
    a request  a key or a range in it
    bytes      the keys and values that came back, or that were written

Only what storage has carried out counts, when its answer comes; a lock that answers values is a
read. Counting takes the lengths of blocks and the count at their beginning, and unpacks nothing.

What the system does for itself is counted apart, because nobody pays for it: a call belongs to it
if it was made inside `system_work`, by whatever task.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from proto import kv_pb2 as kv

_U32_BYTES = 4

IS_SYSTEM_WORK: ContextVar[bool] = ContextVar("system work", default=False)
"""Whether the calls made now are the system's own."""

COUNTED_APART: ContextVar["KvUsage | None"] = ContextVar("counted apart", default=None)
"""Where the calls made now are counted once more, unless they are the system's own."""


@contextmanager
def counted_apart() -> "Iterator[KvUsage]":
    """Calls made inside the block, and by tasks it starts, are also counted in what it gives."""
    usage, around = KvUsage(), COUNTED_APART.get()
    token = COUNTED_APART.set(usage)
    try:
        yield usage
    finally:
        COUNTED_APART.reset(token)
        if around is not None:
            around.add(usage)


@contextmanager
def system_work() -> Iterator[None]:
    """Calls made inside the block, and by tasks it starts, are the system's own."""
    token = IS_SYSTEM_WORK.set(True)
    try:
        yield
    finally:
        IS_SYSTEM_WORK.reset(token)


@dataclass(slots=True)
class KvUsage:
    """Only grows, but for `clear`."""

    read_batches: int = 0
    read_requests: int = 0
    read_bytes: int = 0
    write_batches: int = 0
    write_requests: int = 0
    write_bytes: int = 0

    def clear(self) -> None:
        """Begin anew."""
        self.read_batches = self.read_requests = self.read_bytes = 0
        self.write_batches = self.write_requests = self.write_bytes = 0

    def add(self, other: "KvUsage") -> None:
        """Add what is counted in another."""
        self.read_batches += other.read_batches
        self.read_requests += other.read_requests
        self.read_bytes += other.read_bytes
        self.write_batches += other.write_batches
        self.write_requests += other.write_requests
        self.write_bytes += other.write_bytes

    def count(self, request: kv.Request, reply: kv.Reply, also: "KvUsage | None" = None) -> None:
        """A request that was carried out; counted in `also` as well."""
        match request.WhichOneof("op"):
            case "get":
                self._read(_items(request.get.keys), _bytes(reply.get.values), also)
            case "scan":
                self._read(1, _bytes(reply.scan.keys) + _bytes(reply.scan.values), also)
            case "lock":
                self._read(_items(request.lock.keys), _bytes(reply.lock.values), also)
            case "advisory":
                self._read(1, 0, also)
            case "lock_tables":
                self._read(len(request.lock_tables.tables), 0, also)
            case "stage":
                writes = request.stage.writes
                self._write(_items(writes.keys), _size(writes), also)
            case "commit":
                writes, ranges = request.commit.writes, len(request.commit.retired)
                self._write(_items(writes.keys) + ranges, _size(writes), also)
            case "increment":
                self._write(1, len(request.increment.key), also)
            case "sequence":
                self._sequence(request.sequence, also)

    def _sequence(self, asked: kv.Sequence, also: "KvUsage | None") -> None:
        match asked.WhichOneof("action"):
            case "look":
                self._read(1, len(asked.key), also)
            case "take" | "put":
                self._write(1, len(asked.key), also)

    def _read(self, requests: int, size: int, also: "KvUsage | None") -> None:
        self.read_batches += 1
        self.read_requests += requests
        self.read_bytes += size
        if also is not None:
            also._read(requests, size, None)

    def _write(self, requests: int, size: int, also: "KvUsage | None") -> None:
        self.write_batches += 1
        self.write_requests += requests
        self.write_bytes += size
        if also is not None:
            also._write(requests, size, None)


def _size(writes: kv.Writes) -> int:
    return _bytes(writes.keys) + _bytes(writes.values)


def _items(block: bytes) -> int:
    """How many byte strings are in a block (dormouse.base.blocks)."""
    return int.from_bytes(block[:_U32_BYTES], "little")


def _bytes(block: bytes) -> int:
    """Their bytes, without the lengths in front."""
    return max(len(block) - _U32_BYTES * (_items(block) + 1), 0)
