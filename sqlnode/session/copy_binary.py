"""COPY's binary format (PostgreSQL manual, COPY, File Formats).

    file   = "PGCOPY\\n\\xff\\r\\n\\0"  flags:i32  extension length:i32  extension  record…  -1:i16
    record = fields:i16  (length:i32  bytes)…                          (big endian; length -1: NULL)

Lengths come from the client, so a record is taken only when all of it is there, and one that claims
more than a gigabyte is refused before anything is kept for it.
"""

import struct
from collections.abc import Sequence

from sqlnode.errors import SqlError

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_I16 = struct.Struct(">h")
_I32 = struct.Struct(">i")
_HAS_OIDS = 1 << 16
_CRITICAL = 0xFFFF0000
FIELD_BYTES_MAX = (1 << 30) - 1

HEADER = _SIGNATURE + bytes(8)
TRAILER = _I16.pack(-1)

Record = list[bytes | None]


def record(fields: Sequence[bytes | None]) -> bytes:
    """One record of a file."""
    parts = [_I16.pack(len(fields))]
    for field in fields:
        if field is None:
            parts.append(_I32.pack(-1))
        else:
            parts += (_I32.pack(len(field)), field)
    return b"".join(parts)


class BinaryReader:
    """Takes a file in pieces. Errors are SqlError 22P04."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._data = bytearray()
        self._begun = False
        self._ended = False

    def feed(self, data: bytes) -> list[Record]:
        """The records that are complete now."""
        self._data += data
        at = 0
        if not self._begun:
            header = self._header()
            if header is None:
                return []
            at, self._begun = header, True
        records: list[Record] = []
        while not self._ended:
            found = self._record(at)
            if found is None:
                break
            fields, at = found
            if fields is not None:
                records.append(fields)
        if self._ended and at < len(self._data):
            raise SqlError("22P04", "received copy data after EOF marker")
        del self._data[:at]
        return records

    def finish(self) -> None:
        """The client has sent all. A file may end without its trailer, between two records."""
        if not self._begun:
            if len(self._data) < len(_SIGNATURE) or not self._data.startswith(_SIGNATURE):
                raise SqlError("22P04", "COPY file signature not recognized")
            raise SqlError("22P04", "invalid COPY file header (missing flags)")
        if self._data:
            raise SqlError("22P04", "unexpected EOF in COPY data")

    def _header(self) -> int | None:
        data = self._data
        if not _SIGNATURE.startswith(bytes(data[: len(_SIGNATURE)])):
            raise SqlError("22P04", "COPY file signature not recognized")
        at = len(_SIGNATURE)
        if len(data) < at + 8:
            return None
        flags, extension = struct.unpack_from(">Ii", data, at)
        if flags & _HAS_OIDS:
            raise SqlError("22P04", "invalid COPY file header (WITH OIDS)")
        if flags & _CRITICAL:
            raise SqlError("22P04", "unrecognized critical flags in COPY file header")
        if not 0 <= extension <= FIELD_BYTES_MAX:
            raise SqlError("22P04", "invalid COPY file header (missing length)")
        end = at + 8 + extension
        return end if len(data) >= end else None

    def _record(self, at: int) -> tuple[Record | None, int] | None:
        data, end = self._data, len(self._data)
        if at + 2 > end:
            return None
        (width,) = _I16.unpack_from(data, at)
        at += 2
        if width == -1:
            self._ended = True
            return None, at
        if width != self._width:
            raise SqlError("22P04", f"row field count is {width}, expected {self._width}")
        fields: Record = []
        for _ in range(width):
            if at + 4 > end:
                return None
            (length,) = _I32.unpack_from(data, at)
            at += 4
            if length == -1:
                fields.append(None)
                continue
            if not 0 <= length <= FIELD_BYTES_MAX:
                raise SqlError("22P04", "invalid field size")
            if at + length > end:
                return None
            fields.append(bytes(data[at : at + length]))
            at += length
        return fields, at
