"""The key codec: every byte string that names a row, in one place.

    key    = "t"  tenant:u64  table:u32  index:u32  column…    (big endian: bytes sort as numbers)
    column = tag:u8  payload

Everything a tenant owns lies between `tenant_span(id)`'s ends; storage refuses what lies outside
the span of the certificate. Keys of storage itself start with other bytes and are nobody's.

A column's bytes sort as SQL sorts its values and say themselves where they end and what they are,
so a key can be read without knowing its table (`dump`), and a key that starts with another's
columns sorts right after it:

    int      bias added: 8 bytes that sort as unsigned
    float    IEEE bits, sign flipped or all flipped; -0 is 0; NaN last
    bool     1 byte
    text     UTF-8, 00 written as 00 FF, ended by 00 01 (the order of collation "C")
    bytes    likewise
    uuid     16 bytes
    numeric  class:u8 (-inf, negative, zero, positive, inf, NaN), then for numbers the decimal
             exponent and pairs of digits without trailing zeros, ended by 00; all of that
             complemented for negative ones. 1.0 and 1.00 are the same bytes.
    NULL     a tag above all others, or below them for NULLS FIRST

Descending columns are the complement of ascending ones. Tags lie below 80 hex, so their complements
tell the direction: NULLs of a descending column come first unless it is NULLS LAST, as in SQL.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from dormouse.base.ids import TenantId

_TENANT = struct.Struct(">cQ")
_INDEX = struct.Struct(">cQII")
_TENANT_TAG = b"t"

INDEX_PREFIX_BYTES = _INDEX.size
"""How long the prefix of every key of an index is."""

Span = tuple[bytes, bytes]
"""A half-open range of keys: from the first, up to and without the second."""


def tenant_prefix(tenant: TenantId) -> bytes:
    """The 9 bytes every key of `tenant` starts with."""
    return _TENANT.pack(_TENANT_TAG, tenant)


def tenant_span(tenant: TenantId) -> Span:
    """All keys of `tenant`."""
    return tenant_prefix(tenant), _TENANT.pack(_TENANT_TAG, tenant + 1)


def index_prefix(tenant: TenantId, table: int, index: int) -> bytes:
    """The 17 bytes every key of one index of one table starts with."""
    return _INDEX.pack(_TENANT_TAG, tenant, table, index)


def index_span(tenant: TenantId, table: int, index: int) -> Span:
    """All keys of one index of one table."""
    prefix = index_prefix(tenant, table, index)
    return prefix, prefix_end(prefix)


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys that start with `prefix` (which has a byte below 255)."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1])


# --- columns -----------------------------------------------------------------------------------

_NULL_FIRST = 0x02
_INT = 0x10
_FLOAT = 0x11
_BOOL = 0x12
_TEXT = 0x13
_BYTES = 0x14
_NUMERIC = 0x15
_UUID = 0x16
_NULL_LAST = 0x7E

KEY_KINDS = frozenset({"int", "float", "bool", "text", "bytes", "numeric", "uuid"})
"""The kinds of values that have an order in keys."""


class BadKey(ValueError):
    """Bytes that this codec did not write."""


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """How one column of a key is written. `kind` is one of KEY_KINDS."""

    kind: str
    descending: bool = False
    nulls_first: bool = False
    """NULLs sort before everything else, whatever the direction."""


_INT_BIAS = 1 << 63
_INT_STRUCT = struct.Struct(">BQ")
_pack_int = _INT_STRUCT.pack
_COMPLEMENT = bytes(range(255, -1, -1))
_FLOAT_STRUCT = struct.Struct(">d")
_BITS = struct.Struct(">Q")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1


def _encode_int(value: int) -> bytes:
    return _pack_int(_INT, value + _INT_BIAS)


def _encode_float(value: float) -> bytes:
    if value != value:
        bits = 0x7FF8 << 48
    else:
        (bits,) = _BITS.unpack(_FLOAT_STRUCT.pack(value + 0.0))
    return _pack_int(_FLOAT, bits ^ _ALL if bits & _SIGN else bits | _SIGN)


def _encode_bool(value: bool) -> bytes:
    return b"\x12\x01" if value else b"\x12\x00"


def _encode_text(value: str) -> bytes:
    return b"\x13%b\x00\x01" % value.encode().replace(b"\x00", b"\x00\xff")


def _encode_bytes(value: bytes) -> bytes:
    return b"\x14%b\x00\x01" % value.replace(b"\x00", b"\x00\xff")


def _encode_uuid(value: UUID) -> bytes:
    return b"\x16" + value.bytes


_NUMERIC_CLASS = {"-Infinity": 1, "Infinity": 5}
_NEGATIVE, _ZERO, _POSITIVE, _NAN = 2, 3, 4, 6
_EXPONENT = struct.Struct(">I")
_EXPONENT_BIAS = 1 << 31


def _encode_numeric(value: Decimal) -> bytes:
    if not value.is_finite():
        return bytes([_NUMERIC, _NAN if value.is_nan() else _NUMERIC_CLASS[str(value)]])
    if not value:
        return bytes([_NUMERIC, _ZERO])
    digits = "".join(map(str, value.as_tuple().digits)).rstrip("0")
    if len(digits) % 2:
        digits += "0"
    magnitude = (
        _EXPONENT.pack(value.adjusted() + _EXPONENT_BIAS)
        + bytes([int(digits[at : at + 2]) + 1 for at in range(0, len(digits), 2)])
        + b"\x00"
    )
    if value.is_signed():
        return bytes([_NUMERIC, _NEGATIVE]) + magnitude.translate(_COMPLEMENT)
    return bytes([_NUMERIC, _POSITIVE]) + magnitude


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "int": _encode_int,
    "float": _encode_float,
    "bool": _encode_bool,
    "text": _encode_text,
    "bytes": _encode_bytes,
    "numeric": _encode_numeric,
    "uuid": _encode_uuid,
}


def column_encoder(column: KeyColumn) -> Callable[[Any], bytes]:
    """A function that writes one value (None is NULL) as `column` demands."""
    encode = _ENCODERS[column.kind]
    null = null_bytes(column)
    if column.descending:

        def descending(value: Any) -> bytes:
            return null if value is None else encode(value).translate(_COMPLEMENT)

        return descending

    def ascending(value: Any) -> bytes:
        return null if value is None else encode(value)

    return ascending


def null_bytes(column: KeyColumn) -> bytes:
    """How NULL is written in `column`: one byte."""
    if column.descending:
        return bytes([0xFF - (_NULL_LAST if column.nulls_first else _NULL_FIRST)])
    return bytes([_NULL_FIRST if column.nulls_first else _NULL_LAST])


def key_encoder(prefix: bytes, columns: Sequence[KeyColumn]) -> Callable[[Sequence[Any]], bytes]:
    """A function from column values to the key that starts with `prefix`.

    It takes as many values as there are columns or fewer, and then gives the prefix of all keys
    with these values. The common shapes (one and two ascending integers) have code of their own.
    """
    encoders = [column_encoder(column) for column in columns]

    def general(values: Sequence[Any]) -> bytes:
        # Fewer values than columns are a prefix.
        pieces = [encode(value) for encode, value in zip(encoders, values, strict=False)]
        return prefix + b"".join(pieces)

    if any(column != KeyColumn("int") for column in columns) or len(columns) not in (1, 2):
        return general
    return _int_encoder(prefix, len(columns), general)


def int_keys(prefix: bytes, values: Iterable[int]) -> list[bytes]:
    """The keys that start with `prefix` and have one ascending int column, for many values."""
    start = prefix + bytes([_INT])
    pack = struct.Struct(f">{len(start)}sQ").pack
    return [pack(start, value + _INT_BIAS) for value in values]


def _int_encoder(
    prefix: bytes, count: int, general: Callable[[Sequence[Any]], bytes]
) -> Callable[[Sequence[Any]], bytes]:
    size = len(prefix)
    if count == 1:
        pack_one = struct.Struct(f">{size}sBQ").pack

        def one(values: Sequence[Any]) -> bytes:
            try:
                (value,) = values
                return pack_one(prefix, _INT, value + _INT_BIAS)
            except (TypeError, ValueError):
                return general(values)

        return one
    pack_two = struct.Struct(f">{size}sBQBQ").pack

    def two(values: Sequence[Any]) -> bytes:
        try:
            first, second = values
            return pack_two(prefix, _INT, first + _INT_BIAS, _INT, second + _INT_BIAS)
        except (TypeError, ValueError):
            return general(values)

    return two


# --- reading keys ------------------------------------------------------------------------------


def decode_columns(encoded: bytes) -> list[Any]:
    """The values in the column part of a key. Numerics come back without trailing zeros.

    Raises BadKey where the bytes are no whole columns.
    """
    return [value for value, _descending in _columns(encoded)]


def _columns(encoded: bytes) -> list[tuple[Any, bool]]:
    values: list[tuple[Any, bool]] = []
    at = 0
    inverted: bytes | None = None
    while at < len(encoded):
        descending = encoded[at] >= 0x80
        if descending and inverted is None:
            inverted = encoded.translate(_COMPLEMENT)
        source = inverted if descending and inverted is not None else encoded
        value, at = _column(source, at)
        values.append((value, descending))
    return values


def _column(source: bytes, at: int) -> tuple[Any, int]:
    tag = source[at]
    if tag in (_NULL_FIRST, _NULL_LAST):
        return None, at + 1
    decode = _DECODERS.get(tag)
    if decode is None:
        raise BadKey(f"unknown tag {tag:02x}")
    try:
        return decode(source, at + 1)
    except (IndexError, struct.error, ValueError) as error:
        raise BadKey("truncated column") from error


def _decode_int(source: bytes, at: int) -> tuple[int, int]:
    (bits,) = _BITS.unpack_from(source, at)
    return bits - _INT_BIAS, at + 8


def _decode_float(source: bytes, at: int) -> tuple[float, int]:
    (bits,) = _BITS.unpack_from(source, at)
    (value,) = _FLOAT_STRUCT.unpack(_BITS.pack(bits ^ _SIGN if bits & _SIGN else bits ^ _ALL))
    return value, at + 8


def _decode_bool(source: bytes, at: int) -> tuple[bool, int]:
    return source[at] == 1, at + 1


def _decode_bytes(source: bytes, at: int) -> tuple[bytes, int]:
    end = source.index(b"\x00\x01", at)
    return source[at:end].replace(b"\x00\xff", b"\x00"), end + 2


def _decode_text(source: bytes, at: int) -> tuple[str, int]:
    value, end = _decode_bytes(source, at)
    return value.decode(), end


def _decode_uuid(source: bytes, at: int) -> tuple[UUID, int]:
    return UUID(bytes=source[at : at + 16]), at + 16


_NUMERIC_SPECIAL = {
    1: Decimal("-Infinity"),
    _ZERO: Decimal(0),
    5: Decimal("Infinity"),
    _NAN: Decimal("NaN"),
}


def _decode_numeric(source: bytes, at: int) -> tuple[Decimal, int]:
    kind = source[at]
    special = _NUMERIC_SPECIAL.get(kind)
    if special is not None:
        return special, at + 1
    if kind not in (_NEGATIVE, _POSITIVE):
        raise BadKey(f"unknown class of numeric {kind:02x}")
    end_mark = b"\xff" if kind == _NEGATIVE else b"\x00"
    end = source.index(end_mark, at + 5)
    magnitude = source[at + 1 : end]
    if kind == _NEGATIVE:
        magnitude = magnitude.translate(_COMPLEMENT)
    exponent = _EXPONENT.unpack_from(magnitude)[0] - _EXPONENT_BIAS
    digits = "".join(f"{pair - 1:02d}" for pair in magnitude[4:]).rstrip("0")
    sign = "-" if kind == _NEGATIVE else ""
    return Decimal(f"{sign}{digits}E{exponent - len(digits) + 1}"), end + 1


_DECODERS: dict[int, Callable[[bytes, int], tuple[Any, int]]] = {
    _INT: _decode_int,
    _FLOAT: _decode_float,
    _BOOL: _decode_bool,
    _TEXT: _decode_text,
    _BYTES: _decode_bytes,
    _NUMERIC: _decode_numeric,
    _UUID: _decode_uuid,
}


def dump(key: bytes) -> str:
    """A key for people: `/17/104/1/42/'abc'`. Never raises; odd bytes are shown as hex."""
    if len(key) < _INDEX.size or key[:1] != _TENANT_TAG:
        if len(key) == _TENANT.size and key[:1] == _TENANT_TAG:
            return f"/{_TENANT.unpack(key)[1]}"
        return f"0x{key.hex()}"
    _tag, tenant, table, index = _INDEX.unpack_from(key)
    rest = key[_INDEX.size :]
    try:
        shown = [_show(value) + (" desc" * down) for value, down in _columns(rest)]
    except BadKey:
        shown = [f"0x{rest.hex()}"]
    return "/".join(["", str(tenant), str(table), str(index), *shown])


def _show(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    return str(value)
