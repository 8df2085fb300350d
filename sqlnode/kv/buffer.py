"""The writes of a transaction before its commit: what reads see of them, and how they are undone.

    statement 1 ─▶ ┐                         ┌── runs: staged at storage, kept on local disk
    statement 2 ─▶ ├─▶ earlier ── grown ──▶ ─┤
    statement 3 ─▶ current                   └── (sqlnode/kv/runs.py)

Reads see `earlier` and the runs, never `current`: a statement does not meet its own writes. The
newest value of a key, which locks and uniqueness look at, is in `current`, then `earlier`, then the
youngest run that has it.

Each savepoint keeps, for every key written after it, what the buffer held before (*undo*). Undo is
noted when a statement ends, so it costs nothing without savepoints. Writes that are staged already
cannot be taken back at storage; they are written over: with the value of an older run, or with the
committed value, which `rollback_to` asks its caller for.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sqlnode.kv.runs import Run, RunFile

Writes = dict[bytes, bytes | None]
"""Keys with their values; None deletes."""

OVERHEAD_BYTES = 16
"""Counted per write beside key and value."""


class Missing:
    """Not written by this transaction."""


MISSING: Final = Missing()


@dataclass(slots=True)
class _Level:
    undo: dict[bytes, "bytes | Missing | None"] = field(default_factory=dict)
    runs: int = 0
    """How many runs there were."""


class WriteBuffer:
    """Buffered writes with statements and savepoints."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes that are buffered and not staged, about."""
        self._earlier: Writes = {}
        self._current: Writes = {}
        self._sorted: list[bytes] | None = None
        self._levels: list[_Level] = []
        self._file: RunFile | None = None
        self._runs: list[Run] = []
        self._statement = 0

    def __bool__(self) -> bool:
        return bool(self._current or self._earlier or self._runs)

    @property
    def staged(self) -> bool:
        """Whether writes have been staged."""
        return self._file is not None

    # --- writing ---

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a key; None deletes it."""
        self._current[key] = value
        self.size += len(key) + OVERHEAD_BYTES + (len(value) if value else 0)

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
        if self._file is None:
            return MISSING
        for run in reversed(self._runs):
            if run.statement <= statement_max and run.may_have(key):
                found = self._file.range(run, key, key + b"\0")
                if found:
                    return found[key]
        return MISSING

    def _sorted_keys(self) -> list[bytes]:
        if self._sorted is None:
            self._sorted = sorted(self._earlier)
        return self._sorted

    # --- staging ---

    def take_pieces(self, piece_bytes: int) -> Iterable[Writes]:
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
        self._levels.append(_Level(runs=len(self._runs)))
        return len(self._levels) - 1

    def release(self, level: int) -> None:
        """Forget `level` and those inside it; their undo becomes that of the level outside."""
        self.next_statement()
        inner = self._levels[level:]
        del self._levels[level:]
        if self._levels:
            outer = self._levels[-1].undo
            for each in inner:
                for key, old in each.undo.items():
                    outer.setdefault(key, old)

    def rollback_to(self, level: int) -> list[bytes]:
        """Undo what was written since `level` began; the level stays.

        Answers the keys whose committed values must be written back with `put_back`, for writes
        of them were staged.
        """
        self._current = {}
        undo: dict[bytes, bytes | Missing | None] = {}
        for each in reversed(self._levels[level:]):
            undo.update(each.undo)
        dropped: Writes = {}
        mark = self._levels[level].runs
        if self._file is not None:
            for run in self._runs[mark:]:
                dropped.update(self._file.load(run))
        del self._runs[mark:]
        del self._levels[level + 1 :]
        self._levels[level].undo = {}
        self._earlier = {**dropped, **self._earlier}
        return self._restore(undo, dropped)

    def put_back(self, key: bytes, value: bytes | None) -> None:
        """Write a committed value over a staged write that was undone."""
        self._earlier[key] = value
        self._sorted = None

    def _restore(self, undo: dict[bytes, "bytes | Missing | None"], dropped: Writes) -> list[bytes]:
        unknown = []
        for key, old in undo.items():
            if not isinstance(old, Missing):
                self._earlier[key] = old
                continue
            self._earlier.pop(key, None)
            if key in dropped:
                value = self._staged(key, self._statement)
                if isinstance(value, Missing):
                    unknown.append(key)
                else:
                    self._earlier[key] = value
        self._sorted = None
        self.size = sum(
            len(key) + OVERHEAD_BYTES + len(value or b"") for key, value in self._earlier.items()
        )
        return unknown

    def _note_undo(self, writes: Writes) -> None:
        undo, earlier = self._levels[-1].undo, self._earlier
        for key in writes:
            if key not in undo:
                undo[key] = earlier.get(key, MISSING)


def _pieces(writes: Writes, piece_bytes: int) -> Iterable[Writes]:
    piece: Writes = {}
    size = 0
    for key in sorted(writes):
        value = writes[key]
        size += len(key) + len(value or b"") + OVERHEAD_BYTES
        if size > piece_bytes and piece:
            yield piece
            piece, size = {}, len(key) + len(value or b"") + OVERHEAD_BYTES
        piece[key] = value
    if piece:
        yield piece
