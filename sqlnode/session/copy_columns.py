"""COPY's text format a piece at a time: whole lines to columns of values, without a loop per field.

    lines ── split once ──▶ fields ── every width-th ──▶ columns ── one conversion each ──▶ values

That works where nothing in the lines needs care: no escapes but whole NULL marks, no carriage
returns, as many fields in each line as there are columns, and values of the plainest form. Anything
else, errors above all, is `None` here: `copy_text` and the types' own input functions go over the
same lines then, and they alone decide what the lines mean.
"""

from collections.abc import Callable, Sequence
from itertools import repeat

from sqlnode.catalog.descriptors import Column
from sqlnode.errors import SqlError
from sqlnode.session.copy_options import CopyOptions
from sqlnode.types import oids
from sqlnode.types.base import FormatSettings, Value
from sqlnode.types.registry import by_oid

_TYPMOD_HEADER = 4
"""What the typmod of char(n) and varchar(n) has beside n."""

Convert = Callable[[list[str]], Sequence[Value]]
"""Values of a column's fields, none of which is NULL. Raises ValueError or SqlError for fields that
need care."""


class ColumnReader:
    """Reads whole lines of the text format into columns."""

    def __init__(
        self, columns: Sequence[Column], options: CopyOptions, codec: str, context: FormatSettings
    ) -> None:
        self._width = len(columns)
        self._delimiter = options.delimiter
        self._null = options.null
        self._codec = codec
        self._converts = [_convert(column, context) for column in columns]

    def read(self, lines: bytes) -> list[Sequence[Value]] | None:
        """The columns of whole lines (at least one, the last with or without its end); None where
        they need care."""
        columns = self._split(lines)
        if columns is None:
            return None
        null = self._null
        escapes = lines.count(b"\\")
        nulls = [column.count(null) for column in columns]
        if escapes != null.count("\\") * sum(nulls):
            return None
        try:
            return [
                convert(column) if not count else _with_nulls(column, null, convert)
                for column, count, convert in zip(columns, nulls, self._converts, strict=True)
            ]
        except (SqlError, ValueError):
            return None

    def _split(self, lines: bytes) -> list[list[str]] | None:
        if b"\r" in lines or b"\0" in lines or not self._width:
            return None
        try:
            text = lines.decode(self._codec)
        except UnicodeDecodeError:
            return None
        text = text.removesuffix("\n")
        delimiter, width = self._delimiter, self._width
        records = text.split("\n")
        if set(map(str.count, records, repeat(delimiter))) != {width - 1}:
            return None
        if width == 1:
            return [records]
        fields = text.replace("\n", delimiter).split(delimiter)
        return [fields[at::width] for at in range(width)]


def _with_nulls(column: list[str], null: str, convert: Convert) -> list[Value]:
    values = iter(convert([field for field in column if field != null]))
    return [None if field == null else next(values) for field in column]


def _convert(column: Column, context: FormatSettings) -> Convert:
    bounds = _INTEGERS.get(column.type)
    if bounds is not None:
        return _integers(*bounds)
    if column.type == oids.TEXT:
        return _same
    length = column.typmod - _TYPMOD_HEADER
    if column.type == oids.VARCHAR:
        return _same if length < 0 else _varchar(length)
    if column.type == oids.BPCHAR:
        return _same if length < 0 else _bpchar(length)
    return _any(column, context)


def _any(column: Column, context: FormatSettings) -> Convert:
    read, typmod = by_oid(column.type).text_in, column.typmod

    def convert(fields: list[str]) -> list[Value]:
        return [read(field, typmod, context) for field in fields]

    return convert


_INTEGERS = {
    oids.INT2: (-(1 << 15), (1 << 15) - 1),
    oids.INT4: (-(1 << 31), (1 << 31) - 1),
    oids.INT8: (-(1 << 63), (1 << 63) - 1),
}


def _integers(low: int, high: int) -> Convert:
    def convert(fields: list[str]) -> list[int]:
        # Of digits and signs alone, int() takes the same texts as PostgreSQL does.
        if fields:
            characters = "".join(fields).replace("-", "")
            if not (characters.isascii() and characters.isdigit()):
                raise ValueError("not plain digits")
        values = list(map(int, fields))
        if values and not (low <= min(values) and max(values) <= high):
            raise ValueError("out of range")
        return values

    return convert


def _same(fields: list[str]) -> list[str]:
    return fields


def _varchar(length: int) -> Convert:
    def convert(fields: list[str]) -> list[str]:
        if max(map(len, fields), default=0) > length:
            raise ValueError("too long")
        return fields

    return convert


def _bpchar(length: int) -> Convert:
    def convert(fields: list[str]) -> list[str]:
        sizes = set(map(len, fields))
        if sizes == {length}:
            return fields
        if max(sizes, default=0) > length:
            raise ValueError("too long")
        return list(map(str.ljust, fields, repeat(length)))

    return convert
