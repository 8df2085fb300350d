"""What servers send: builders that give the bytes of each message.

Rows are built by the batch. A cell is a value with its length in front (or the -1 of NULL), made a
column at a time; a row is the join of its cells behind a nine-byte header, and a batch one join:

    columns  [cell, cell, …] [cell, cell, …]   ──zip──▶  rows  ──join──▶  D len n cell cell D len …
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

_HEADER = struct.Struct(">cI")
_ROW = struct.Struct(">cIH")
_I32 = struct.Struct(">i")
_U32 = struct.Struct(">I")
_FIELD = struct.Struct(">IhIhih")
_SMALL_LENGTHS = tuple(_I32.pack(length) for length in range(1024))

NULL_CELL = _I32.pack(-1)
ROW_COLUMNS_MAX = 1664


def message(kind: bytes, body: bytes = b"") -> bytes:
    """A message with its header."""
    return _HEADER.pack(kind, len(body) + 4) + body


PARSE_COMPLETE = message(b"1")
BIND_COMPLETE = message(b"2")
CLOSE_COMPLETE = message(b"3")
COPY_DONE = message(b"c")
EMPTY_QUERY = message(b"I")
NO_DATA = message(b"n")
PORTAL_SUSPENDED = message(b"s")
AUTHENTICATION_OK = message(b"R", _U32.pack(0))
READY_IDLE = message(b"Z", b"I")
READY_IN_TRANSACTION = message(b"Z", b"T")
READY_FAILED = message(b"Z", b"E")
READY: Mapping[str, bytes] = {
    "I": READY_IDLE,
    "T": READY_IN_TRANSACTION,
    "E": READY_FAILED,
}
"""ReadyForQuery by transaction status."""


def authentication_cleartext() -> bytes:
    """Ask for the password as it is."""
    return message(b"R", _U32.pack(3))


def authentication_sasl(mechanisms: Sequence[str]) -> bytes:
    """Offer SASL mechanisms, best first."""
    names = b"".join(name.encode() + b"\0" for name in mechanisms)
    return message(b"R", _U32.pack(10) + names + b"\0")


def authentication_sasl_continue(data: bytes) -> bytes:
    """The server's challenge."""
    return message(b"R", _U32.pack(11) + data)


def authentication_sasl_final(data: bytes) -> bytes:
    """The server's proof."""
    return message(b"R", _U32.pack(12) + data)


def negotiate_protocol_version(options: Sequence[str]) -> bytes:
    """We speak 3.0, and know none of the protocol options named."""
    names = b"".join(name.encode() + b"\0" for name in options)
    return message(b"v", struct.pack(">II", 0, len(options)) + names)


def parameter_status(name: str, value: str, encoding: str = "utf-8") -> bytes:
    """The value of a reported setting."""
    return message(b"S", name.encode() + b"\0" + value.encode(encoding, "replace") + b"\0")


def backend_key_data(pid: int, secret: bytes) -> bytes:
    """What a CancelRequest has to show."""
    return message(b"K", _U32.pack(pid) + secret)


def ready_for_query(status: str) -> bytes:
    """`status` is I (idle), T (in a transaction) or E (in a failed one)."""
    return READY[status]


def command_complete(tag: str) -> bytes:
    """The end of one statement."""
    return message(b"C", tag.encode() + b"\0")


class Field(NamedTuple):
    """A column of RowDescription."""

    name: str
    table: int
    number: int
    type: int
    size: int
    typmod: int
    format: int


def row_description(fields: Sequence[Field], encoding: str = "utf-8") -> bytes:
    """The shape of the rows that follow."""
    parts = [struct.pack(">H", len(fields))]
    for name, table, number, kind, size, typmod, form in fields:
        parts.append(name.encode(encoding, "replace") + b"\0")
        parts.append(_FIELD.pack(table, number, kind, size, typmod, form))
    return message(b"T", b"".join(parts))


def parameter_description(types: Sequence[int]) -> bytes:
    """The types of a statement's parameters."""
    return message(b"t", struct.pack(f">H{len(types)}I", len(types), *types))


def notification(pid: int, channel: str, payload: str, encoding: str = "utf-8") -> bytes:
    """An asynchronous NOTIFY."""
    texts = f"{channel}\0{payload}\0".encode(encoding, "replace")
    return message(b"A", _U32.pack(pid) + texts)


def copy_in_response(columns: int, *, binary: bool = False) -> bytes:
    """The server waits for COPY's data."""
    return message(b"G", _copy_formats(columns, binary=binary))


def copy_out_response(columns: int, *, binary: bool = False) -> bytes:
    """COPY's data follow."""
    return message(b"H", _copy_formats(columns, binary=binary))


def _copy_formats(columns: int, *, binary: bool) -> bytes:
    code = int(binary)
    return struct.pack(f">BH{columns}H", code, columns, *([code] * columns))


def copy_data(data: bytes) -> bytes:
    """A piece of COPY's data."""
    return message(b"d", data)


def copy_lines(lines: Iterable[bytes]) -> bytes:
    """Many pieces of COPY's data, one message each."""
    pack = _HEADER.pack
    return b"".join([part for line in lines for part in (pack(b"d", len(line) + 4), line)])


def cell(value: bytes | None) -> bytes:
    """A value as it stands in a row."""
    if value is None:
        return NULL_CELL
    length = len(value)
    return (_SMALL_LENGTHS[length] if length < 1024 else _I32.pack(length)) + value


def cells(values: Iterable[bytes | None]) -> list[bytes]:
    """A column of values as cells."""
    small = _SMALL_LENGTHS
    try:
        return [NULL_CELL if v is None else small[len(v)] + v for v in values]
    except IndexError:  # a long value somewhere: the general way
        return [cell(v) for v in values]


def data_rows(columns: Sequence[Sequence[bytes]], count: int) -> bytes:
    """DataRow messages of a batch of `count` rows, given as columns of cells."""
    width = len(columns)
    if not width:
        return _ROW.pack(b"D", 6, 0) * count
    pack = _ROW.pack
    if width == 1:
        return b"".join(
            [part for body in columns[0] for part in (pack(b"D", len(body) + 6, 1), body)]
        )
    bodies = map(b"".join, zip(*columns, strict=True))
    return b"".join([part for body in bodies for part in (pack(b"D", len(body) + 6, width), body)])
