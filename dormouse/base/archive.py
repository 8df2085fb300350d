"""Backup files: a tenant's rows in pieces that each prove themselves, and a manifest at the end.

    file     = MAGIC frame…                     the last frame is the manifest, nothing follows it
    frame    = kind:u8 length:u32 digest:32 payload          (little endian)
    digest   = SHA-256 of kind, number of the frame (u32), length and payload
    payload  = of `R` (rows) and `C` (counters): zlib of a block of two blocks, keys and values
               of `M`: the manifest, JSON

Keys are without the tenant's prefix: the rows can become any tenant's. The manifest counts the
frames and what is in them and has the digest of all their digests: a byte that changed, a piece
that is missing, doubled or out of order, and a file that ends early are all found by reading it
once. A file without a manifest is no backup.

Blocks are those of dormouse/base/blocks.py. A file is read by its stated format version, or not
at all.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dormouse.base import blocks

FORMAT = 1
MAGIC = b"DORMOUSE-BACKUP 1\n"
_ANY_MAGIC = b"DORMOUSE-BACKUP "
ROWS, COUNTERS, MANIFEST = b"R", b"C", b"M"
PIECE_BYTES_MAX = 8 << 20
"""Of a payload as it is stored; twice that before it was compressed."""
FRAME_BYTES_MAX = PIECE_BYTES_MAX + 37
_MANIFEST_BYTES_MAX = 64 << 10
_HEAD = struct.Struct("<cI32s")
_SIGNED = struct.Struct("<cII")
_LEVEL = 1
"""Of zlib: a third of the size costs four times as long as it is."""


class Damaged(Exception):
    """The file is no backup, or not the one that was written; the text says where."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows or counters; keys and values are blocks."""

    kind: bytes
    keys: bytes
    values: bytes


@dataclass(frozen=True, slots=True)
class Sums:
    """What the pieces of a file come to."""

    pieces: int
    rows: int
    counters: int
    bytes: int
    """Of keys and values."""
    sha256: str


class Summing:
    """Counts pieces as they go by."""

    def __init__(self) -> None:
        self._counts = {ROWS: 0, COUNTERS: 0}
        self._bytes = self._pieces = 0
        self._hash = hashlib.sha256()

    @property
    def sums(self) -> Sums:
        """What has gone by so far."""
        rows, counters = self._counts[ROWS], self._counts[COUNTERS]
        return Sums(self._pieces, rows, counters, self._bytes, self._hash.hexdigest())

    def add(self, piece: Piece, frame: bytes) -> None:
        """One more. Raises Damaged where its blocks are none."""
        try:
            keys, values = blocks.unpack_present(piece.keys), blocks.unpack_present(piece.values)
        except blocks.BadBlock as error:
            raise Damaged(f"piece {self._pieces}: {error}") from None
        if len(keys) != len(values):
            raise Damaged(f"piece {self._pieces}: keys without values")
        self._pieces += 1
        self._counts[piece.kind] += len(keys)
        self._bytes += sum(map(len, keys)) + sum(map(len, values))
        self._hash.update(_HEAD.unpack_from(frame)[2])


def write_piece(number: int, piece: Piece) -> bytes:
    """The frame of a piece, the `number`th of its file from 0."""
    payload = zlib.compress(blocks.pack([piece.keys, piece.values]), _LEVEL)
    return _frame(piece.kind, number, payload)


def write_manifest(number: int, facts: dict[str, Any], sums: Sums) -> bytes:
    """The last frame; `facts` are whatever else there is to be said."""
    document = {**facts, "format": FORMAT, "sums": {n: getattr(sums, n) for n in Sums.__slots__}}
    return _frame(MANIFEST, number, json.dumps(document, separators=(",", ":")).encode())


def read_piece(number: int, frame: bytes) -> Piece:
    """The piece in the `number`th frame. Raises Damaged."""
    kind, payload = _opened(number, frame)
    if kind not in (ROWS, COUNTERS):
        raise Damaged(f"piece {number} is of an unknown kind")
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(payload, 2 * PIECE_BYTES_MAX)
        if not unpacking.eof or unpacking.unused_data:
            raise Damaged(f"piece {number} does not end where it should")
        keys, values = blocks.unpack_present(plain)
    except (zlib.error, ValueError) as error:
        raise Damaged(f"piece {number}: {error}") from None
    return Piece(kind, keys, values)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was read to its end and is as it was written."""

    manifest: dict[str, Any]
    sums: Sums


def frames(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The frames of a file, the manifest's last. `read(n)` answers n bytes, fewer at the end.

    Raises Damaged where there is no whole frame; what is in a frame is not looked at.
    """
    magic = read(len(MAGIC))
    if magic != MAGIC:
        if magic.startswith(_ANY_MAGIC):
            raise Damaged(f"it is of another format; this release reads format {FORMAT}")
        raise Damaged("this is no backup file")
    while True:
        head = read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise Damaged("it ends before its manifest: it was cut off, or never finished")
        kind, length, _ = _HEAD.unpack(head)
        if length > PIECE_BYTES_MAX:
            raise Damaged("a piece says that it is longer than any is")
        payload = read(length)
        if len(payload) < length:
            raise Damaged("it ends inside a piece: it was cut off, or never finished")
        yield head + payload
        if kind == MANIFEST:
            if read(1):
                raise Damaged("something follows its manifest")
            return


class Reader:
    """Checks the frames of one file in their order."""

    def __init__(self) -> None:
        self._summing = Summing()
        self.manifest: dict[str, Any] | None = None

    @property
    def sums(self) -> Sums:
        """Of the pieces so far."""
        return self._summing.sums

    def take(self, frame: bytes) -> None:
        """The next frame. Raises Damaged."""
        number = self.sums.pieces
        if frame[:1] != MANIFEST:
            self._summing.add(read_piece(number, frame), frame)
            return
        _, payload = _opened(number, frame)
        self.manifest = _manifest(payload, self.sums)


def verify(read: Callable[[int], bytes], seen: Callable[[bytes], None] | None = None) -> Opened:
    """Read a file to its end; `seen` is called with each frame once it is checked.

    Raises Damaged.
    """
    reader = Reader()
    for frame in frames(read):
        reader.take(frame)
        if seen is not None:
            seen(frame)
    if reader.manifest is None:
        raise Damaged("it has no manifest")
    return Opened(reader.manifest, reader.sums)


def _frame(kind: bytes, number: int, payload: bytes) -> bytes:
    if len(payload) > PIECE_BYTES_MAX:
        raise ValueError(f"a piece of {len(payload)} bytes")
    digest = _digest(kind, number, payload)
    return _HEAD.pack(kind, len(payload), digest) + payload


def _digest(kind: bytes, number: int, payload: bytes) -> bytes:
    digest = hashlib.sha256(_SIGNED.pack(kind, number, len(payload)))
    digest.update(payload)
    return digest.digest()


def _opened(number: int, frame: bytes) -> tuple[bytes, bytes]:
    if len(frame) < _HEAD.size:
        raise Damaged(f"piece {number} is cut off")
    kind, length, digest = _HEAD.unpack_from(frame)
    payload = frame[_HEAD.size :]
    if len(payload) != length or _digest(kind, number, payload) != digest:
        raise Damaged(f"piece {number} is not what was written: its checksum differs")
    return kind, payload


def _manifest(payload: bytes, sums: Sums) -> dict[str, Any]:
    """Raises Damaged where it is of another format, or not of these pieces."""
    if len(payload) > _MANIFEST_BYTES_MAX:
        raise Damaged("its manifest is too long")
    try:
        document = json.loads(payload)
        version, stated = document["format"], document["sums"]
    except (ValueError, KeyError, TypeError):
        raise Damaged("its manifest cannot be read") from None
    if version != FORMAT:
        raise Damaged(f"it has the format {version}; this release reads format {FORMAT}")
    if stated != {name: getattr(sums, name) for name in Sums.__slots__}:
        raise Damaged("its pieces are not those of its manifest")
    manifest: dict[str, Any] = document
    return manifest
