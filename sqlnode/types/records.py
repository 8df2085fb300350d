"""record and composite types: a row of values whose types are known where it was made.

The values travel as a `Row`: a tuple that remembers the types of its fields, because the type
`record` itself does not say them.
"""

import struct
from typing import TYPE_CHECKING, Any, NoReturn

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings, Value
from sqlnode.types.codec import Codec
from sqlnode.types.ordering import above_all

if TYPE_CHECKING:
    from sqlnode.types.base import SqlType

_SIZE = struct.Struct(">i")
_FIELD = struct.Struct(">Ii")
_QUOTED = frozenset('"\\(), \t\n\r\v\f')


class Row(tuple[Any, ...]):  # noqa: SLOT001  (a tuple cannot have slots)
    """A record: a tuple with the type OIDs (and names) of its fields."""

    types: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


def make_row(
    values: tuple[Value, ...], *, types: tuple[int, ...], names: tuple[str, ...] = ()
) -> Row:
    """A record of `values`; `names` default to f1, f2 …"""
    row = Row(values)
    row.types = types
    row.names = names or tuple(f"f{i + 1}" for i in range(len(values)))
    return row


def _type(oid: int) -> "SqlType":
    from sqlnode.types.registry import by_oid

    return by_oid(oid)


def _refuse_in(*_: Value) -> NoReturn:
    raise SqlError(
        sqlstate.FEATURE_NOT_SUPPORTED, "input of anonymous composite types is not implemented"
    )


def _types(value: Value) -> tuple[int, ...]:
    types = getattr(value, "types", None)
    if types is None:
        raise SqlError(sqlstate.INTERNAL_ERROR, "record type has not been registered")
    return tuple(types)


def _text_out(value: Row, settings: FormatSettings) -> str:
    fields = (
        "" if v is None else _quote(_type(oid).text_out(v, settings))
        for v, oid in zip(value, _types(value), strict=True)
    )
    return f"({','.join(fields)})"


def _quote(word: str) -> str:
    if word and _QUOTED.isdisjoint(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '""') + '"'


def _binary_out(value: Row) -> bytes:
    parts = [_SIZE.pack(len(value))]
    for v, oid in zip(value, _types(value), strict=True):
        if v is None:
            parts.append(_FIELD.pack(oid, -1))
        else:
            data = _type(oid).binary_out(v)
            parts.append(_FIELD.pack(oid, len(data)) + data)
    return b"".join(parts)


def record_key(value: Row) -> Value:
    """Records compare field by field, NULL above all."""
    keys = []
    for v, oid in zip(value, _types(value), strict=True):
        key = _type(oid).key
        keys.append(above_all if v is None else v if key is None else key(v))
    return tuple(keys)


CODECS = {"record": Codec(_refuse_in, _text_out, _refuse_in, _binary_out, key=record_key)}
