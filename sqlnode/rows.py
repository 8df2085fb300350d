"""Rows as bytes: fixed-width columns by one `struct` call, pages without a loop per value.

    row = version:u8  nulls:bitmap  fixed…  end:u32…  var bytes…

    version   which of the table's layouts the row was written in
    nulls     one bit per column of the layout, set where it is NULL
    fixed     the fixed-width columns of the layout in order (zero where NULL)
    end       for each column of varying width, where its bytes end, counted from the row's start

Version and bitmap together are the row's *head*. Rows with the same head have the same shape, and
for each head that is met a decoder is generated in which nothing is left to decide: it unpacks the
wanted columns, skips the others, and writes NULLs and values of columns that were added later as
constants. A page whose rows share one head becomes tuples in one comprehension over
`struct.iter_unpack`. Encoders are generated likewise for each set of NULL columns. Tables with more
shapes than SHAPES_MAX are read and written by plain loops beyond that.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlnode.catalog.descriptors import Column, Table
from sqlnode.rowvalues import VarCodec, var_codec
from sqlnode.types.base import SqlType, Value
from sqlnode.types.registry import by_oid

SHAPES_MAX = 64
"""Shapes (sets of NULL columns) per table for which code is generated."""
LAYOUTS_MAX = 255
"""Layouts a table can have before it must be rewritten."""

Row = tuple[Value, ...]
_FIXED_CODES = frozenset("?bBhHiIlLqQfd")
_UUID_WIDTH = "16s"


@dataclass(frozen=True, slots=True)
class _Field:
    """A column in one layout."""

    column: Column
    bit: int
    code: str | None
    """`struct` format of a fixed-width column."""
    var: VarCodec | None


class BadRow(ValueError):
    """Bytes that no layout of the table explains."""


class _Layout:
    """One layout: which columns, in which form."""

    def __init__(self, version: int, columns: Sequence[Column], types: "_Types") -> None:
        self.version = version
        self.fields = [
            _Field(column, bit, *_form(types(column.type))) for bit, column in enumerate(columns)
        ]
        self.fixed = [item for item in self.fields if item.code is not None]
        self.var = [item for item in self.fields if item.var is not None]
        self.bitmap_bytes = (len(columns) + 7) // 8
        self.head_bytes = 1 + self.bitmap_bytes
        codes = "".join(item.code or "" for item in self.fixed)
        self.struct = struct.Struct(f"<{self.head_bytes}s{codes}{'I' * len(self.var)}")
        self.by_number = {item.column.number: item for item in self.fields}

    def head(self, null_bits: set[int]) -> bytes:
        """The head of rows whose NULLs are the columns `null_bits`."""
        bits = sum(1 << bit for bit in null_bits)
        return bytes([self.version]) + bits.to_bytes(self.bitmap_bytes, "little")

    def nulls(self, head: bytes) -> set[int]:
        """The columns that are NULL in rows with this head."""
        bits = int.from_bytes(head[1:], "little")
        return {item.bit for item in self.fields if bits >> item.bit & 1}


_Types = Callable[[int], SqlType]


def _form(kind: SqlType) -> tuple[str | None, VarCodec | None]:
    if kind.name == "uuid":
        return _UUID_WIDTH, None
    if kind.struct_code in _FIXED_CODES:
        return kind.struct_code, None
    return None, var_codec(kind)


def _layouts(table: Table, types: _Types) -> list[_Layout]:
    live = tuple(column.number for column in table.live)
    layouts = table.layouts or (live,)
    if layouts[-1] != live or len(layouts) > LAYOUTS_MAX:
        raise BadRow(f"table {table.name}: the last layout is not that of its columns")
    by_number = {column.number: column for column in table.columns}
    return [
        _Layout(version, [by_number[number] for number in numbers], types)
        for version, numbers in enumerate(layouts)
    ]


class RowLayout:
    """Encodes and decodes the rows of one table. Stateless but for generated code."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._layouts = _layouts(table, by_oid)
        self._newest = self._layouts[-1]
        self._encoders: dict[tuple[bool, ...], Callable[[Row], bytes]] = {}
        self._decoders: dict[tuple[int, ...], RowDecoder] = {}
        self._encode_full, self._encode_full_many = _encoders(self._newest, set())
        self._all = RowDecoder(table, self._layouts, range(len(table.live)))
        self.decode = self._all.decode
        """decode(bytes) → the row's values, one per live column."""
        self.decode_many = self._all.decode_many
        """decode_many(list of bytes) → list of rows."""

    def encode(self, row: Row) -> bytes:
        """The bytes of a full row: one value per live column, in order."""
        if None not in row:
            return self._encode_full(row)
        shape = tuple([value is None for value in row])
        encoder = self._encoders.get(shape)
        if encoder is None:
            nulls = {bit for bit, null in enumerate(shape) if null}
            if len(self._encoders) >= SHAPES_MAX:
                return _encode_by_loop(self._newest, nulls, row)
            encoder = self._encoders[shape] = _encoders(self._newest, nulls)[0]
        return encoder(row)

    def encode_many(self, rows: Sequence[Row]) -> list[bytes]:
        """The bytes of full rows."""
        if True in [None in row for row in rows]:
            return [self.encode(row) for row in rows]
        return self._encode_full_many(rows)

    def decoder(self, positions: Sequence[int]) -> "RowDecoder":
        """A decoder of the live columns at `positions` only, in that order."""
        wanted = tuple(positions)
        found = self._decoders.get(wanted)
        if found is None:
            if len(self._decoders) >= SHAPES_MAX:
                self._decoders.clear()
            found = self._decoders[wanted] = RowDecoder(self._table, self._layouts, wanted)
        return found


class RowDecoder:
    """Decodes chosen columns of the rows of one table."""

    def __init__(self, table: Table, layouts: Sequence[_Layout], positions: Sequence[int]) -> None:
        self._layouts = layouts
        self._columns = [table.live[position] for position in positions]
        self._shapes: dict[bytes, tuple[_One, _Many]] = {}
        sizes = {layout.head_bytes for layout in layouts}
        self._head_bytes = sizes.pop() if len(sizes) == 1 else None

    def decode(self, row: bytes) -> Row:
        """The wanted values of one row. Raises BadRow on a layout that is not the table's."""
        head = row[: self._head_bytes or self._head_of(row)]
        shape = self._shapes.get(head)
        return (shape or self._shape(head))[0](row)

    def decode_many(self, rows: list[bytes]) -> list[Row]:
        """The wanted values of many rows."""
        size = self._head_bytes
        if size is not None:
            heads = {row[:size] for row in rows}
        else:
            heads = {row[: self._head_of(row)] for row in rows}
        if len(heads) == 1:
            (head,) = heads
            return (self._shapes.get(head) or self._shape(head))[1](rows)
        return [self.decode(row) for row in rows]

    def _head_of(self, row: bytes) -> int:
        if not row or row[0] >= len(self._layouts):
            raise BadRow("unknown layout")
        return self._layouts[row[0]].head_bytes

    def _shape(self, head: bytes) -> "tuple[_One, _Many]":
        if not head or head[0] >= len(self._layouts):
            raise BadRow("unknown layout")
        layout = self._layouts[head[0]]
        if len(self._shapes) < SHAPES_MAX:
            self._shapes[head] = made = _decoders(layout, layout.nulls(head), self._columns)
            return made

        def one(row: bytes) -> Row:
            return _decode_by_loop(layout, head, self._columns, row)

        return one, lambda rows: [one(row) for row in rows]


_One = Callable[[bytes], Row]
_Many = Callable[[list[bytes]], list[Row]]


# --- generated code ----------------------------------------------------------------------------


_EncodeOne = Callable[[Row], bytes]
_EncodeMany = Callable[[Sequence[Row]], list[bytes]]


def _encoders(layout: _Layout, nulls: set[int]) -> "tuple[_EncodeOne, _EncodeMany]":
    """Code for rows in which exactly the columns `nulls` are NULL, for one row and for many."""
    names: dict[str, Any] = {"pack": layout.struct.pack, "HEAD": layout.head(nulls)}
    fixed = ["0" if f.bit in nulls else f"c{f.bit}" for f in layout.fixed]
    for at, item in enumerate(layout.fixed):
        if item.code == _UUID_WIDTH:
            fixed[at] = "b''" if item.bit in nulls else f"c{item.bit}.bytes"
    steps, ends, pieces = [], [], []
    end = str(layout.struct.size)
    for item in layout.var:
        if item.var is not None and item.bit not in nulls:
            names.update(item.var.names)
            steps.append((f"v{item.bit}", item.var.encode_source.format(f"c{item.bit}")))
            steps.append((f"e{item.bit}", f"{end} + len(v{item.bit})"))
            end = f"e{item.bit}"
            pieces.append(f"v{item.bit}")
        ends.append(end)
    packed = f"pack({', '.join(['HEAD', *fixed, *ends])})"
    body = packed if not pieces else f"b''.join(({', '.join([packed, *pieces])}))"
    columns = _unpacking([f"c{f.bit}" for f in layout.fields])
    one = ["def one(row):", f"    {columns} = row"]
    one += [f"    {name} = {value}" for name, value in steps]
    # `for x in (value,)` is a plain assignment to the compiler.
    binding = "".join(f" for {name} in ({value},)" for name, value in steps)
    many = ["def many(rows):", f"    return [{body} for {columns} in rows{binding}]"]
    return (
        _compiled([*one, f"    return {body}"], names, "one"),
        _compiled(many, names, "many"),
    )


def _decoders(layout: _Layout, nulls: set[int], columns: Sequence[Column]) -> "tuple[_One, _Many]":
    """Code for rows of one head, for one row and for many."""
    names: dict[str, Any] = {"UUID": UUID}
    values, needed, slices = _output(layout, nulls, columns, names)
    codes, unpacked = _wanted_format(layout, needed, slices)
    reader = names["reader"] = struct.Struct(codes)
    row = f"({', '.join(values)}{',' if len(values) == 1 else ''})"
    target = _unpacking(unpacked)
    one = ["def one(r):"]
    if unpacked:
        names["unpack"] = reader.unpack_from
        one.append(f"    {target} = unpack(r)")
    one.append(f"    return {row}")
    size = layout.struct.size
    heads = "b''.join(rows)" if not layout.var else f"b''.join([r[:{size}] for r in rows])"
    many = ["def many(rows):"]
    if not unpacked:
        many.append(f"    return [{row} for r in rows]")
    elif values == unpacked:
        many.append(f"    return list(iter_unpack({heads}))")
    else:
        many.append(f"    return [{row} for r, {target} in zip(rows, iter_unpack({heads}))]")
    names["iter_unpack"] = reader.iter_unpack
    return _compiled(one, names, "one"), _compiled(many, names, "many")


def _output(
    layout: _Layout, nulls: set[int], columns: Sequence[Column], names: dict[str, Any]
) -> tuple[list[str], set[int], set[int]]:
    """An expression per wanted column, the fixed columns and the end offsets they need."""
    ends = {item.bit: at for at, item in enumerate(layout.var)}
    values, needed, offsets = [], set(), set()
    for at, column in enumerate(columns):
        item = layout.by_number.get(column.number)
        if item is None:
            names[f"missing_{at}"] = column.missing
            values.append(f"missing_{at}")
        elif item.bit in nulls:
            values.append("None")
        elif item.var is None:
            needed.add(item.bit)
            name = f"c{item.bit}"
            values.append(f"UUID(bytes={name})" if item.code == _UUID_WIDTH else name)
        else:
            names.update(item.var.names)
            place = ends[item.bit]
            start = str(layout.struct.size) if place == 0 else f"e{place - 1}"
            offsets.update({place, place - 1} - {-1})
            values.append(item.var.decode_source.format(f"r[{start}:e{place}]"))
    return values, needed, offsets


def _wanted_format(layout: _Layout, needed: set[int], offsets: set[int]) -> tuple[str, list[str]]:
    """The layout's format with unwanted fields as padding, and the names of the wanted ones."""
    codes = [f"<{layout.head_bytes}x"]
    unpacked = []
    for item in layout.fixed:
        code = item.code or ""
        wanted = item.bit in needed
        codes.append(code if wanted else f"{struct.calcsize('<' + code)}x")
        if wanted:
            unpacked.append(f"c{item.bit}")
    for place in range(len(layout.var)):
        codes.append("I" if place in offsets else "4x")
        if place in offsets:
            unpacked.append(f"e{place}")
    return "".join(codes), unpacked


def _unpacking(names: Sequence[str]) -> str:
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _compiled(lines: list[str], names: dict[str, Any], function: str) -> Callable[..., Any]:
    # The source is made of layouts alone: no text of a user's is ever in it.
    exec(compile("\n".join(lines), "<row codec>", "exec"), names)
    made: Callable[..., Any] = names.pop(function)
    return made


# --- plain loops -------------------------------------------------------------------------------


def _encode_by_loop(layout: _Layout, nulls: set[int], row: Row) -> bytes:
    fixed: list[Any] = []
    for item in layout.fixed:
        value = row[item.bit]
        if item.code == _UUID_WIDTH:
            fixed.append(b"" if value is None else value.bytes)
        else:
            fixed.append(0 if value is None else value)
    ends, pieces = [], []
    end = layout.struct.size
    for item in layout.var:
        if item.var is not None and item.bit not in nulls:
            piece = item.var.encode(row[item.bit])
            end += len(piece)
            pieces.append(piece)
        ends.append(end)
    return layout.struct.pack(layout.head(nulls), *fixed, *ends) + b"".join(pieces)


def _decode_by_loop(layout: _Layout, head: bytes, columns: Sequence[Column], row: bytes) -> Row:
    unpacked = layout.struct.unpack_from(row)[1:]
    nulls = layout.nulls(head)
    by_bit: dict[int, Any] = dict.fromkeys(nulls)
    for item, value in zip(layout.fixed, unpacked, strict=False):
        if item.bit not in nulls:
            by_bit[item.bit] = UUID(bytes=value) if item.code == _UUID_WIDTH else value
    start = layout.struct.size
    for item, end in zip(layout.var, unpacked[len(layout.fixed) :], strict=True):
        if item.var is not None and item.bit not in nulls:
            by_bit[item.bit] = item.var.decode(row[start:end])
        start = end
    return tuple(
        by_bit[layout.by_number[column.number].bit]
        if column.number in layout.by_number
        else column.missing
        for column in columns
    )
