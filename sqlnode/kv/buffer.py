"""The writes of a transaction before its commit: what reads see of them, and how they are undone.

    statement 1 ─▶ ┐                         ┌── runs: staged at storage, kept on local disk
    statement 2 ─▶ ├─▶ earlier ── grown ──▶ ─┤
    statement 3 ─▶ current                   └── (sqlnode/kv/runs.py)

Reads see `earlier` and the runs, never `current`: a statement does not meet its own writes. The
newest value of a key, which locks and uniqueness look at, is in `current`, then `earlier`, then the
youngest run that has it.

Each savepoint keeps, for every key written after it, what the buffer held before (*undo*). Undo is
noted when a statement ends, so it costs nothing without savepoints. Writes that are staged already
cannot be taken back at storage: their runs stay, and they are written over, with what the
transaction had before or with the committed value, which `rollback_to` asks its caller for.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from typing import Final

from dormouse.base import blocks
from proto import kv_pb2 as kv
from sqlnode.kv.runs import Piece, Run, RunFile

Writes = dict[bytes, bytes | None]
"""Keys with their values; None deletes."""

OVERHEAD_BYTES = 16
"""Counted per write beside key and value."""


class Missing:
    """Not written by this transaction."""


MISSING: Final = Missing()


_Undo = dict[bytes, "bytes | Missing | None"]
"""What the transaction had for keys before a level; MISSING: nothing of its own."""


class WriteBuffer:
    """Buffered writes with statements and savepoints."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes that are buffered and not staged, about."""
        self._earlier: Writes = {}
        self._current: Writes = {}
        self._sorted: list[bytes] | None = None
        self._levels: list[_Undo] = []
        self._file: RunFile | None = None
        self._runs: list[Run] = []
        self._statement = 0

    def __bool__(self) -> bool:
        return bool(self._current or self._earlier or self._runs)

    @property
    def staged(self) -> bool:
        """Whether writes have been staged."""
        return self._file is not None

    @property
    def statement_has_writes(self) -> bool:
        """Whether the current statement has written."""
        staged = bool(self._runs) and self._runs[-1].statement == self._statement
        return bool(self._current) or staged

    # --- writing ---

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a key; None deletes it."""
        self._current[key] = value
        self.size += len(key) + OVERHEAD_BYTES + (len(value) if value else 0)

    def put_all(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write many keys."""
        self._current.update(zip(keys, values, strict=True))
        self.size += sum(map(len, keys)) + sum(map(len, values)) + OVERHEAD_BYTES * len(keys)

    def are_new(self, keys: Sequence[bytes]) -> bool:
        """Whether no key comes twice and none was written; False also where that is unsure."""
        if len(set(keys)) < len(keys):
            return False
        if not (self._current.keys().isdisjoint(keys) and self._earlier.keys().isdisjoint(keys)):
            return False
        near = self._near(keys)
        return not any(run.may_have(key) for run in near for key in keys)

    def next_statement(self) -> None:
        """Make the writes so far visible to reads."""
        self._statement += 1
        if not self._current:
            return
        if self._levels:
            self._note_undo(self._current)
        self._earlier.update(self._current)
        self._current = {}
        self._sorted = None

    @property
    def statement_writes(self) -> tuple[int, int]:
        """How many keys the current statement has written and not staged, and the bytes of them and
        their values."""
        size = sum(len(key) + len(value or b"") for key, value in self._current.items())
        return len(self._current), size

    @property
    def unsent(self) -> tuple[int, int]:
        """How many keys are written and not staged, and their bytes with their values, about: one
        that was written twice may count twice."""
        keys = len(self._current) + len(self._earlier)
        return keys, max(self.size - OVERHEAD_BYTES * keys, 0)

    # --- reading ---

    def newest(self, key: bytes) -> "bytes | Missing | None":
        """The newest value of a key, MISSING if this transaction has not written it."""
        for writes in (self._current, self._earlier):
            value = writes.get(key, MISSING)
            if value is not MISSING:
                return value
        return self._staged(key, self._statement) if self._runs else MISSING

    def visible(self, key: bytes) -> "bytes | Missing | None":
        """What a read finds of the writes of earlier statements."""
        value = self._earlier.get(key, MISSING)
        if value is MISSING and self._runs:
            return self._staged(key, self._statement - 1)
        return value

    def has_visible(self) -> bool:
        """Whether reads must look here at all."""
        return bool(self._earlier or self._runs)

    def visible_range(self, start: bytes, end: bytes) -> Writes:
        """What reads of [start, end) find of the writes of earlier statements."""
        found: Writes = {}
        if self._file is not None:
            for run in self._runs:
                if run.statement < self._statement and run.overlaps(start, end):
                    found.update(self._file.range(run, start, end))
        if self._earlier:
            keys = self._sorted_keys()
            for key in keys[bisect_left(keys, start) : bisect_left(keys, end)]:
                found[key] = self._earlier[key]
        return found

    def _staged(self, key: bytes, statement_max: int) -> "bytes | Missing | None":
        return self._in_runs(key, [run for run in self._runs if run.statement <= statement_max])

    def _sorted_keys(self) -> list[bytes]:
        if self._sorted is None:
            self._sorted = sorted(self._earlier)
        return self._sorted

    # --- staging ---

    def take_pieces(self, piece_bytes: int) -> Iterable[Piece]:
        """Turn all buffered writes into runs and give them in the order they must be staged."""
        if self._file is None:
            self._file = RunFile()
        for writes, statement in (
            (self._earlier, self._statement - 1),
            (self._current, self._statement),
        ):
            if writes is self._current and self._levels:
                self._note_undo(writes)
            for piece in _pieces(writes, piece_bytes):
                self._runs.append(self._file.add(piece, statement))
                yield piece
        self._earlier, self._current, self._sorted, self.size = {}, {}, None, 0

    def take_rest(self) -> Writes:
        """The writes that are not staged, for the commit message."""
        return {**self._earlier, **self._current} if self._current else self._earlier

    def close(self) -> None:
        """Forget everything; frees the disk."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._earlier, self._current, self._sorted, self.size = {}, {}, None, 0
        self._runs.clear()
        self._levels.clear()

    # --- savepoints ---

    def savepoint(self) -> int:
        """Begin a level; its number."""
        self.next_statement()
        self._levels.append({})
        return len(self._levels) - 1

    def release(self, level: int) -> None:
        """Forget `level` and those inside it; their undo becomes that of the level outside."""
        self.next_statement()
        inner = self._levels[level:]
        del self._levels[level:]
        if self._levels:
            outer = self._levels[-1]
            for each in inner:
                for key, old in each.items():
                    outer.setdefault(key, old)

    def rollback_to(self, level: int) -> list[bytes]:
        """Undo what was written since `level` began; the level stays.

        Answers the keys whose committed values must be written back with `put_back`, for writes
        of them were staged.
        """
        self._current = {}
        undo: dict[bytes, bytes | Missing | None] = {}
        for each in reversed(self._levels[level:]):
            undo.update(each)
        del self._levels[level + 1 :]
        self._levels[level] = {}
        return self._restore(undo)

    def put_back(self, key: bytes, value: bytes | None) -> None:
        """Write a committed value over a staged write that was undone."""
        self._earlier[key] = value
        self._sorted = None

    def _restore(self, undo: "_Undo") -> list[bytes]:
        unknown = []
        near = self._near(undo)
        for key, old in undo.items():
            if not isinstance(old, Missing):
                self._earlier[key] = old
            elif any(run.may_have(key) for run in near):
                unknown.append(key)
            else:
                self._earlier.pop(key, None)
        self._sorted = None
        self.size = sum(
            len(key) + OVERHEAD_BYTES + len(value or b"") for key, value in self._earlier.items()
        )
        return unknown

    def _note_undo(self, writes: Writes) -> None:
        undo, earlier, near = self._levels[-1], self._earlier, self._near(writes)
        for key in writes:
            if key not in undo:
                value = earlier.get(key, MISSING)
                undo[key] = self._in_runs(key, near) if value is MISSING and near else value

    def _near(self, keys: Collection[bytes]) -> list[Run]:
        """The runs in whose ranges some of the keys may be."""
        if not self._runs or not keys:
            return []
        start, end = min(keys), max(keys) + b"\0"
        return [run for run in self._runs if run.overlaps(start, end)]

    def _in_runs(self, key: bytes, runs: Sequence[Run]) -> "bytes | Missing | None":
        """The value of a key in the youngest of `runs` that has it."""
        if self._file is not None:
            for run in reversed(runs):
                if run.may_have(key):
                    found = self._file.range(run, key, key + b"\0")
                    if found:
                        return found[key]
        return MISSING


def _pieces(writes: Writes, piece_bytes: int) -> Iterable[Piece]:
    keys = sorted(writes)
    values = [writes[key] for key in keys]
    ends = list(
        accumulate(
            [
                len(key) + len(value or b"") + OVERHEAD_BYTES
                for key, value in zip(keys, values, strict=True)
            ]
        )
    )
    start = before = 0
    while start < len(keys):
        end = max(start + 1, bisect_right(ends, before + piece_bytes))
        part = keys[start:end]
        yield Piece(part, blocks.pack(part), blocks.pack(values[start:end]))
        start, before = end, ends[end - 1]


def packed(writes: dict[bytes, bytes | None]) -> kv.Writes:
    """Writes as a message carries them."""
    return kv.Writes(keys=blocks.pack(list(writes)), values=blocks.pack(list(writes.values())))
