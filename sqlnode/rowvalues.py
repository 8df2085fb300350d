"""How values of varying width are written in a row, type by type.

Strings are UTF-8 and bytea is itself; both cost one call. A numeric keeps its display scale and is
exact whatever the decimal context: two bytes of scale and sign, then its digits, two in a byte.
Everything else uses its type's binary format.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlnode.types.base import SqlType

_HEADER = struct.Struct("<H")
_SPECIAL = (Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"))
_POSITIVE, _NEGATIVE, _NOT_FINITE = 0, 1, 2

STRING_TYPES = frozenset({"text", "varchar", "bpchar", "name", "char", "json", "unknown"})


def pack_numeric(value: Decimal) -> bytes:
    """A numeric with its display scale."""
    if not value.is_finite():
        kind = 0 if value.is_nan() else 2 if value.is_signed() else 1
        return _HEADER.pack(kind << 2 | _NOT_FINITE)
    text = format(value, "f")
    sign = _POSITIVE
    if text[0] == "-":
        sign, text = _NEGATIVE, text[1:]
    whole, _point, fraction = text.partition(".")
    digits = whole + fraction
    if len(digits) % 2:
        digits = "0" + digits
    return _HEADER.pack(len(fraction) << 2 | sign) + bytes.fromhex(digits)


def unpack_numeric(data: bytes) -> Decimal:
    """The numeric `pack_numeric` wrote."""
    header = data[0] | data[1] << 8
    sign = header & 3
    if sign == _NOT_FINITE:
        return _SPECIAL[header >> 2]
    return Decimal(f"{'-' if sign else ''}{data[2:].hex()}E-{header >> 2}")


@dataclass(frozen=True, slots=True)
class VarCodec:
    """A codec, as functions and as Python expressions over `{}` for generated code."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    encode_source: str
    decode_source: str
    names: dict[str, Callable[..., Any]]
    """What the expressions name besides builtins."""


_STRING = VarCodec(str.encode, bytes.decode, "{}.encode()", "{}.decode()", {})
_BYTEA = VarCodec(bytes, bytes, "{}", "{}", {})
_NUMERIC = VarCodec(
    pack_numeric,
    unpack_numeric,
    "pack_numeric({})",
    "unpack_numeric({})",
    {"pack_numeric": pack_numeric, "unpack_numeric": unpack_numeric},
)


def var_codec(kind: SqlType) -> VarCodec:
    """The codec of a type whose values vary in width."""
    if kind.name in STRING_TYPES:
        return _STRING
    if kind.name == "bytea":
        return _BYTEA
    if kind.name == "numeric":
        return _NUMERIC
    encode = kind.binary_out
    binary_in = kind.binary_in

    def decode(data: bytes) -> Any:
        return binary_in(data, -1)

    names: dict[str, Callable[..., Any]] = {f"out_{kind.oid}": encode, f"in_{kind.oid}": decode}
    return VarCodec(encode, decode, f"out_{kind.oid}({{}})", f"in_{kind.oid}({{}})", names)
