"""Values to protocol cells and parameters to values: resolved once, run a column at a time."""

from collections.abc import Callable, Sequence
from typing import Any

from pgwire.backend import NULL_CELL, Field, cell, cells
from pgwire.errors import ProtocolViolation
from pgwire.frontend import BINARY, TEXT
from sqlnode.errors import SqlError
from sqlnode.execute.api import Batch, ResultColumn
from sqlnode.types import oids
from sqlnode.types.base import FormatSettings, Value
from sqlnode.types.registry import by_oid

ColumnEncoder = Callable[[Sequence[Value], FormatSettings], list[bytes]]
"""(a column's values, settings) → cells."""
ParamDecoder = Callable[[bytes, FormatSettings], Value]

_INTEGERS = frozenset({oids.INT2, oids.INT4, oids.INT8, oids.OID, oids.XID})
_STRINGS = frozenset({oids.TEXT, oids.VARCHAR, oids.BPCHAR, oids.NAME, oids.JSON, oids.UNKNOWN})
_TRUE, _FALSE = cell(b"t"), cell(b"f")


def _integers(values: Sequence[Value], _settings: FormatSettings) -> list[bytes]:
    return cells([None if value is None else b"%d" % value for value in values])


def _strings(values: Sequence[Value], _settings: FormatSettings) -> list[bytes]:
    return cells([None if value is None else value.encode() for value in values])


def _booleans(values: Sequence[Value], _settings: FormatSettings) -> list[bytes]:
    return [NULL_CELL if v is None else _TRUE if v else _FALSE for v in values]


def _text_encoder(type_oid: int, codec: str) -> ColumnEncoder:
    if type_oid in _INTEGERS:
        return _integers
    if type_oid == oids.BOOL:
        return _booleans
    if type_oid in _STRINGS and codec == "utf-8":
        return _strings
    text_out = by_oid(type_oid).text_out

    def encode(values: Sequence[Value], settings: FormatSettings) -> list[bytes]:
        return cells([None if v is None else text_out(v, settings).encode(codec) for v in values])

    def transcode(values: Sequence[Value], settings: FormatSettings) -> list[bytes]:
        try:
            return encode(values, settings)
        except UnicodeEncodeError as error:
            raise untranslatable(error, codec) from None

    return encode if codec == "utf-8" else transcode


def untranslatable(error: UnicodeEncodeError, codec: str) -> SqlError:
    """22P05, for a character the client's encoding lacks."""
    shown = " ".join(f"0x{byte:02x}" for byte in error.object[error.start].encode())
    return SqlError(
        "22P05",
        f'character with byte sequence {shown} in encoding "UTF8" '
        f'has no equivalent in encoding "{codec.upper()}"',
    )


def _binary_encoder(type_oid: int) -> ColumnEncoder:
    binary_out = by_oid(type_oid).binary_out

    def encode(values: Sequence[Value], _settings: FormatSettings) -> list[bytes]:
        return cells([None if value is None else binary_out(value) for value in values])

    return encode


def column_encoder(type_oid: int, form: int, codec: str = "utf-8") -> ColumnEncoder:
    """How a column of this type goes out in this format."""
    if form == BINARY and not _is_transcoded(type_oid, codec):
        return _binary_encoder(type_oid)
    return _text_encoder(type_oid, codec)


def _is_transcoded(type_oid: int, codec: str) -> bool:
    """Whether the binary format is the text in the client's encoding, which is not ours."""
    return type_oid in _STRINGS and codec != "utf-8"


def result_formats(formats: Sequence[int], count: int) -> tuple[int, ...]:
    """One format per column, from what Bind said. Raises ProtocolViolation."""
    if not formats:
        return (TEXT,) * count
    if len(formats) == 1:
        return (formats[0],) * count
    if len(formats) != count:
        raise ProtocolViolation(
            f"bind message has {len(formats)} result formats but query has {count} columns"
        )
    return tuple(formats)


def encode_batch(
    batch: Batch, encoders: Sequence[ColumnEncoder], settings: FormatSettings
) -> list[list[bytes]]:
    """A batch of rows as columns of cells."""
    if len(batch) == 1:  # the point query: no transposition
        row = batch[0]
        return [encode((value,), settings) for encode, value in zip(encoders, row, strict=True)]
    columns = zip(*batch, strict=True)
    return [encode(column, settings) for encode, column in zip(encoders, columns, strict=True)]


def fields(columns: Sequence[ResultColumn], formats: Sequence[int]) -> list[Field]:
    """RowDescription's fields."""
    return [
        Field(c.name, c.table, c.number, c.type, by_oid(c.type).length, c.typmod, form)
        for c, form in zip(columns, formats, strict=True)
    ]


def param_decoder(type_oid: int, form: int, codec: str = "utf-8") -> ParamDecoder:
    """How a parameter of this type comes in in this format."""
    kind = by_oid(type_oid)
    if form == BINARY and not _is_transcoded(type_oid, codec):
        binary_in = kind.binary_in
        return lambda data, _settings: binary_in(data, -1)
    text_in = kind.text_in

    def decode(data: bytes, settings: FormatSettings) -> Any:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError as error:
            shown = " ".join(f"0x{byte:02x}" for byte in data[error.start : error.end])
            raise SqlError("22021", f'invalid byte sequence for encoding "UTF8": {shown}') from None
        if "\0" in text:
            raise SqlError("22021", 'invalid byte sequence for encoding "UTF8": 0x00')
        return text_in(text, -1, settings)

    return decode


def decode_params(
    params: Sequence[bytes | None], decoders: Sequence[ParamDecoder], settings: FormatSettings
) -> tuple[Value, ...]:
    """Bind's parameters as values. Raises SqlError with the parameter's number as context."""
    values: list[Value] = []
    for number, (data, decode) in enumerate(zip(params, decoders, strict=True), 1):
        if data is None:
            values.append(None)
            continue
        try:
            values.append(decode(data, settings))
        except SqlError as error:
            error.where = error.where or f"unnamed portal parameter ${number}"
            raise
    return tuple(values)
