"""int2, int4, int8."""

import struct

from sqlnode.types.base import FormatSettings
from sqlnode.types.codec import Codec
from sqlnode.types.reading import read_integer, unpack


def _text_out(value: int, settings: FormatSettings) -> str:
    return str(value)


def _codec(type_name: str, bits: int, code: str) -> Codec:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    packed = struct.Struct(f">{code}")

    def text_in(text: str, typmod: int, settings: FormatSettings) -> int:
        return read_integer(text, type_name, low, high)

    def binary_in(data: bytes, typmod: int) -> int:
        return unpack(packed, data)[0]

    return Codec(text_in, _text_out, binary_in, packed.pack, struct_code=code, key_kind="int")


CODECS = {
    "int2": _codec("smallint", 16, "h"),
    "int4": _codec("integer", 32, "i"),
    "int8": _codec("bigint", 64, "q"),
}
