"""oid, xid, xid8, cid, tid and the vectors of the system tables."""

import re
import struct

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types import oids
from sqlnode.types.array import Array
from sqlnode.types.base import FormatSettings
from sqlnode.types.codec import Codec
from sqlnode.types.reading import (
    WHITESPACE,
    invalid_binary,
    invalid_text,
    out_of_range,
    read_integer,
    unpack,
)

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_TID = struct.Struct(">IH")
_TID_TEXT = re.compile(r"\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)\s*", re.ASCII)
_UNSIGNED = re.compile(r"[+-]?[0-9]+")


def oid_in(text: str, typmod: int = -1, settings: FormatSettings | None = None) -> int:
    """An OID; a negative number wraps around as in PostgreSQL."""
    stripped = text.strip(WHITESPACE)
    if not _UNSIGNED.fullmatch(stripped):
        raise invalid_text("oid", text)
    value = int(stripped[:25])
    if not -(1 << 31) <= value < 1 << 32:
        raise out_of_range("oid", text)
    return value & 0xFFFFFFFF


def _number_out(value: int, settings: FormatSettings) -> str:
    return str(value)


def u32_in(data: bytes, typmod: int) -> int:
    """Four bytes, unsigned."""
    return unpack(_U32, data)[0]


u32_out = _U32.pack
OID = Codec(oid_in, _number_out, u32_in, u32_out, struct_code="I", key_kind="int")


def _xid_in(text: str, typmod: int, settings: FormatSettings) -> int:
    stripped = text.strip(WHITESPACE)
    return int(stripped) & 0xFFFFFFFF if _UNSIGNED.fullmatch(stripped) else 0


def _xid8_in(text: str, typmod: int, settings: FormatSettings) -> int:
    stripped = text.strip(WHITESPACE)
    return int(stripped) & 0xFFFFFFFFFFFFFFFF if _UNSIGNED.fullmatch(stripped) else 0


def _xid8_binary_in(data: bytes, typmod: int) -> int:
    return unpack(_U64, data)[0]


def _tid_in(text: str, typmod: int, settings: FormatSettings) -> tuple[int, int]:
    found = _TID_TEXT.fullmatch(text)
    if found is None or int(found[1]) > 0xFFFFFFFF or int(found[2]) > 0xFFFF:
        raise invalid_text("tid", text)
    return int(found[1]), int(found[2])


def _tid_out(value: tuple[int, int], settings: FormatSettings) -> str:
    return f"({value[0]},{value[1]})"


def _tid_binary_in(data: bytes, typmod: int) -> tuple[int, int]:
    block, offset = unpack(_TID, data)
    return block, offset


def _tid_binary_out(value: tuple[int, int]) -> bytes:
    return _TID.pack(*value)


def _vector(element: int, code: str, low: int, high: int, type_name: str) -> Codec:
    size = struct.calcsize(">" + code)
    header = struct.Struct(">iiIii")

    def text_in(text: str, typmod: int, settings: FormatSettings) -> Array:
        words = text.split()
        if element == oids.OID:
            return Array.vector([oid_in(word) for word in words])
        return Array.vector([read_integer(word, type_name, low, high) for word in words])

    def text_out(value: Array, settings: FormatSettings) -> str:
        return " ".join(map(str, value.elements))

    def binary_in(data: bytes, typmod: int) -> Array:
        if len(data) == 12:
            return Array.vector([])
        if len(data) < header.size:
            raise invalid_binary()
        dimensions, _, found, count, lower = header.unpack_from(data)
        if dimensions != 1 or found != element or lower != 0:
            raise SqlError(sqlstate.INVALID_BINARY_REPRESENTATION, "invalid vector data")
        if len(data) != header.size + count * (size + 4):
            raise invalid_binary()
        values = struct.unpack_from(">" + f"i{code}" * count, data, header.size)[1::2]
        return Array.vector(list(values))

    def binary_out(value: Array) -> bytes:
        count = len(value.elements)
        fields = [part for item in value.elements for part in (size, item)]
        return header.pack(1, 0, element, count, 0) + struct.pack(">" + f"i{code}" * count, *fields)

    return Codec(text_in, text_out, binary_in, binary_out)


CODECS = {
    "oid": OID,
    "xid": Codec(_xid_in, _number_out, u32_in, u32_out, struct_code="I"),
    "cid": Codec(_xid_in, _number_out, u32_in, u32_out, struct_code="I"),
    "xid8": Codec(
        _xid8_in, _number_out, _xid8_binary_in, _U64.pack, struct_code="Q", key_kind="int"
    ),
    "tid": Codec(_tid_in, _tid_out, _tid_binary_in, _tid_binary_out),
    "int2vector": _vector(oids.INT2, "h", -32768, 32767, "smallint"),
    "oidvector": _vector(oids.OID, "I", 0, 0xFFFFFFFF, "oid"),
}
