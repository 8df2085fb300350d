"""What a transaction has staged, and what is written of one that is committed: rows of the engine.

    s tenant pod txn 0 1 2 ┊ 3 4 ┊ 5 …     parts of pieces, one after the other
                     └piece┘ └───┘
    u tenant pod txn                       marker: it is committed, and here is what is left to do

A piece is gone when its last writes are in their place, so the parts that are still there say how
far it is.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dormouse.base import blocks
from dormouse.base.ids import PodId, TenantId
from storage.cache import Record
from storage.engines.interface import Engine, EngineDamaged, Row, ScanRange
from storage.layout import TIME, marker_key, split_record, staged_key, time_of

Writes = dict[bytes, bytes | None]
Name = tuple[TenantId, PodId, int]
"""Of a transaction."""

PART_BYTES = 8 << 10
"""Of a piece in one row of the engine. SQLite reads all of a row to compare its key, for each row
that it looks for: with rows of 1 MiB a commit that overwrites 20 MB took seven seconds."""
PIECE_BYTES = 16 * PART_BYTES - 1024
"""Of a piece, about: it is taken in, locked and put in its place as a whole or nearly so, and the
event loop is busy with it for as long."""
_SPARSE_ROWS = 64
_HEAD = struct.Struct("<QQ?I")
_PIECE = struct.Struct("<II?")


@dataclass(frozen=True, slots=True)
class Piece:
    """Writes that were staged together."""

    parts: range
    """The rows it lies in."""
    count: int
    """How many writes it has, at most."""
    clear: bool
    """None of its keys has a version, current or superseded."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A transaction that is committed, and what is left to do for it."""

    name: Name
    time: int
    due: int
    """When what it supersedes can go."""
    pieces: Sequence[Piece]
    retired: Sequence[tuple[bytes, bytes]]
    changes_catalog: bool

    @property
    def key(self) -> bytes:
        """Where it lies."""
        return marker_key(*self.name)

    def packed(self) -> bytes:
        """What lies there."""
        head = _HEAD.pack(self.time, self.due, self.changes_catalog, len(self.pieces))
        pieces = [_PIECE.pack(len(each.parts), each.count, each.clear) for each in self.pieces]
        ranges = blocks.pack([end for span in self.retired for end in span])
        return b"".join([head, *pieces, ranges])


def unpack(key: bytes, value: bytes) -> Marker:
    """The marker of a row."""
    time, due, changes_catalog, count = _HEAD.unpack_from(value)
    pieces, at, part = [], _HEAD.size, 0
    for _ in range(count):
        parts, writes, clear = _PIECE.unpack_from(value, at)
        pieces.append(Piece(range(part, part + parts), writes, clear))
        part += parts
        at += _PIECE.size
    ends = blocks.unpack_present(value[at:])
    retired = list(zip(ends[::2], ends[1::2], strict=True))
    return Marker(split_record(key), time, due, pieces, retired, changes_catalog)


def packed(keys: bytes, values: bytes) -> list[bytes]:
    """The parts of a piece, of a block of keys and one of values."""
    piece = blocks.pack([keys, values])
    return [piece[at : at + PART_BYTES] for at in range(0, len(piece), PART_BYTES)]


def part_keys(name: Name, parts: Iterable[int]) -> list[bytes]:
    """Where parts lie."""
    return [staged_key(*name, part) for part in parts]


def rows(name: Name, first: int, parts: Sequence[bytes]) -> list[Row]:
    """The rows of a piece whose first part has this number."""
    keys = part_keys(name, range(first, first + len(parts)))
    return list(zip(keys, parts, strict=True))


async def read(engine: Engine, name: Name, parts: range) -> Writes | None:
    """The writes of a piece, of a key that it has more than once the last; None: it is not there.

    Raises EngineError.
    """
    found = [part for part in await engine.get(part_keys(name, parts)) if part is not None]
    if len(found) < len(parts):
        return None
    try:
        keys, values = blocks.unpack_present(b"".join(found))
        return dict(zip(blocks.unpack_present(keys), blocks.unpack(values), strict=True))
    except ValueError as error:
        raise EngineDamaged(f"a staged piece: {error}") from error


async def current(engine: Engine, keys: Sequence[bytes]) -> dict[bytes, Record]:
    """The newest versions of keys that are locked, past the cache: it is not worth filling.

    Raises EngineError.
    """
    if len(keys) > _SPARSE_ROWS:
        span = ScanRange(min(keys), max(keys) + b"\0", _SPARSE_ROWS, 1 << 20)
        [page] = await engine.scan([span])
        if page.exhausted:
            found = dict(page.rows)
            return {key: _record(found.get(key)) for key in keys}
    values = await engine.get(keys)
    return {key: _record(value) for key, value in zip(keys, values, strict=True)}


def _record(value: bytes | None) -> Record:
    return (0, None) if value is None else (time_of(value), value[TIME.size :])
