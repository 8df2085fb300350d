"""Arrays of every type: PostgreSQL's brace syntax and its binary format.

text    {a,"b,c",NULL}   [2:3]={1,2}   {{1,2},{3,4}}
binary  ndim:i32  has_null:i32  element OID:u32  (length:i32 lower:i32)…  (size:i32 bytes)…
"""

import re
import struct
from collections.abc import Iterator
from typing import NoReturn

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.array import DIMENSIONS_MAX, EMPTY, Array
from sqlnode.types.base import FormatSettings, Key, SqlType, Value
from sqlnode.types.codec import Codec
from sqlnode.types.ordering import above_all
from sqlnode.types.reading import WHITESPACE, invalid_binary

_HEAD = struct.Struct(">iiI")
_PAIR = struct.Struct(">ii")
_SIZE = struct.Struct(">i")
_ELEMENTS_MAX = 134217727
_DIMENSION = re.compile(r"[ \t\n\v\f\r]*\[([+-]?\d+)(?::([+-]?\d+))?\]", re.ASCII)


def codec_for(element: SqlType) -> Codec:
    """The codec of the array type over `element`."""

    def text_in(text: str, typmod: int, settings: FormatSettings) -> Array:
        return _Reader(text, element, typmod, settings).read()

    def text_out(value: Array, settings: FormatSettings) -> str:
        return _text(value, element, settings)

    def binary_in(data: bytes, typmod: int) -> Array:
        return _from_binary(data, element, typmod)

    def binary_out(value: Array) -> bytes:
        return _to_binary(value, element)

    def apply_typmod(value: Array, typmod: int, explicit: bool) -> Array:
        apply = element.apply_typmod
        if apply is None:
            return value
        fitted = (None if v is None else apply(v, typmod, explicit) for v in value.elements)
        return Array(value.dimensions, value.lower_bounds, tuple(fitted))

    return Codec(
        text_in,
        text_out,
        binary_in,
        binary_out,
        apply_typmod=apply_typmod if element.apply_typmod else None,
        key=array_key(element.key),
        typmod_in=element.typmod_in,
        typmod_out=element.typmod_out,
    )


def array_key(element_key: Key | None) -> Key:
    """Arrays compare by elements (NULL above all), then length, then shape."""

    def key(value: Array) -> Value:
        elements = tuple(
            above_all if v is None else v if element_key is None else element_key(v)
            for v in value.elements
        )
        return elements, len(value.dimensions), value.dimensions, value.lower_bounds

    return key


# --- text --------------------------------------------------------------------------------------


class _Reader:
    """Reads one array literal. The shape must be the same all over (22P02)."""

    def __init__(self, text: str, element: SqlType, typmod: int, settings: FormatSettings) -> None:
        self.text = text
        self.element = element
        self.typmod = typmod
        self.settings = settings
        self.at = 0
        self.elements: list[Value] = []
        self.lengths: list[int] = []

    def read(self) -> Array:
        bounds = self._bounds()
        self._space()
        if self.text[self.at : self.at + 1] != "{":
            if bounds:
                self._fail('Array contents must start with "{".')
            self._fail('Array value must start with "{" or dimension information.')
        depth = self._level(0)
        self._space()
        if self.at != len(self.text):
            self._fail("Junk after closing right brace.")
        if not self.elements:
            return EMPTY
        lengths = tuple(self.lengths[:depth])
        lowers = tuple(low for low, _ in bounds) or (1,) * depth
        if bounds and lengths != tuple(high - low + 1 for low, high in bounds):
            self._fail("Specified array dimensions do not match array contents.")
        return Array(lengths, lowers, tuple(self.elements))

    def _bounds(self) -> list[tuple[int, int]]:
        bounds = []
        while (found := _DIMENSION.match(self.text, self.at)) is not None:
            low, high = (found[1], found[2]) if found[2] else ("1", found[1])
            if int(high) < int(low):
                raise SqlError(
                    sqlstate.ARRAY_SUBSCRIPT_ERROR, "upper bound cannot be less than lower bound"
                )
            bounds.append((int(low), int(high)))
            self.at = found.end()
        if len(bounds) > DIMENSIONS_MAX:
            raise too_many_dimensions(len(bounds))
        if bounds:
            self._space()
            if self.text[self.at : self.at + 1] != "=":
                self._fail('Missing "=" after array dimensions.')
            self.at += 1
        return bounds

    def _level(self, depth: int) -> int:
        """Read `{…}`; how many dimensions are at and below this level."""
        if depth >= DIMENSIONS_MAX:
            raise too_many_dimensions(depth + 1)
        self.at += 1
        count = below = 0
        self._space()
        if self._peek() == "}":
            self.at += 1
            if depth:
                self._fail('Unexpected "}" character.')
            return 0
        while True:
            self._space()
            nested = 0
            if self._peek() == "{":
                nested = self._level(depth + 1)
            else:
                self.elements.append(self._item())
            if count and nested != below:
                self._ragged()
            below = nested
            count += 1
            self._space()
            mark = self._peek()
            self.at += 1
            if mark == "}":
                break
            if mark != self.element.delimiter:
                self._fail("Unexpected array element.")
        self._remember(depth, count)
        return below + 1

    def _remember(self, depth: int, count: int) -> None:
        while len(self.lengths) <= depth:
            self.lengths.append(-1)
        if self.lengths[depth] == -1:
            self.lengths[depth] = count
        elif self.lengths[depth] != count:
            self._ragged()

    def _item(self) -> Value:
        quoted, word = self._word()
        if not quoted and word.upper() == "NULL":
            return None
        if not quoted and not word:
            self._fail(f'Unexpected "{self._peek()}" character.')
        return self.element.text_in(word, self.typmod, self.settings)

    def _word(self) -> tuple[bool, str]:
        delimiter = self.element.delimiter
        if self._peek() == '"':
            return True, self._quoted()
        out: list[str] = []
        solid = 0
        escaped = False
        while (character := self._peek()) not in {"}", delimiter}:
            if character == "{":
                self._fail('Unexpected "{" character.')
            if character == '"':
                self._fail("Unexpected array element.")
            if character == "\\":
                self.at += 1
                character = self._peek()
                escaped = True
                solid = len(out) + 1
            elif character not in WHITESPACE:
                solid = len(out) + 1
            out.append(character)
            self.at += 1
        return escaped, "".join(out[:solid])

    def _quoted(self) -> str:
        self.at += 1
        out: list[str] = []
        while (character := self._peek()) != '"':
            if character == "\\":
                self.at += 1
                character = self._peek()
            out.append(character)
            self.at += 1
        self.at += 1
        return "".join(out)

    def _peek(self) -> str:
        if self.at >= len(self.text):
            self._fail("Unexpected end of input.")
        return self.text[self.at]

    def _space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in WHITESPACE:
            self.at += 1

    def _ragged(self) -> NoReturn:
        self._fail("Multidimensional arrays must have sub-arrays with matching dimensions.")

    def _fail(self, detail: str) -> NoReturn:
        raise SqlError(
            sqlstate.INVALID_TEXT_REPRESENTATION,
            f'malformed array literal: "{self.text}"',
            detail=detail,
        )


def too_many_dimensions(count: int) -> SqlError:
    """54000: PostgreSQL's arrays have at most six dimensions."""
    return SqlError(
        sqlstate.PROGRAM_LIMIT_EXCEEDED,
        f"number of array dimensions ({count}) exceeds the maximum allowed ({DIMENSIONS_MAX})",
    )


def _text(value: Array, element: SqlType, settings: FormatSettings) -> str:
    if not value.dimensions:
        return "{}"
    out = element.text_out
    delimiter = element.delimiter
    words = ["NULL" if v is None else _quote(out(v, settings), delimiter) for v in value.elements]
    for length in reversed(value.dimensions):
        words = [
            "{" + delimiter.join(words[i : i + length]) + "}" for i in range(0, len(words), length)
        ]
    if all(lower == 1 for lower in value.lower_bounds):
        return words[0]
    bounds = zip(value.lower_bounds, value.upper_bounds, strict=True)
    return "".join(f"[{low}:{high}]" for low, high in bounds) + "=" + words[0]


_PLAIN = re.compile(r'[^\s"\\{},;]+')


def _quote(word: str, delimiter: str) -> str:
    if _PLAIN.fullmatch(word) and not (len(word) == 4 and word.upper() == "NULL"):
        return word
    special = {'"', "\\", "{", "}", delimiter, *WHITESPACE}
    if word and word.upper() != "NULL" and not any(c in special for c in word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- binary ------------------------------------------------------------------------------------


def _from_binary(data: bytes, element: SqlType, typmod: int) -> Array:
    if len(data) < _HEAD.size:
        raise invalid_binary()
    count, flags, found = _HEAD.unpack_from(data)
    if not 0 <= count <= DIMENSIONS_MAX or flags not in {0, 1}:
        raise SqlError(sqlstate.INVALID_BINARY_REPRESENTATION, "invalid array flags")
    if found != element.oid:
        raise SqlError(
            sqlstate.DATATYPE_MISMATCH,
            f"binary data has array element type {found} instead of expected {element.oid}",
        )
    try:
        pairs = [_PAIR.unpack_from(data, _HEAD.size + 8 * i) for i in range(count)]
        total = 1 if count else 0
        for length, _ in pairs:
            total *= length
        if not 0 <= total <= _ELEMENTS_MAX:
            raise invalid_binary()
        start = _HEAD.size + 8 * count
        elements = tuple(_binary_elements(data, start, total, element, typmod))
    except struct.error:
        raise invalid_binary() from None
    if not elements:
        return EMPTY
    return Array(tuple(n for n, _ in pairs), tuple(low for _, low in pairs), elements)


def _binary_elements(
    data: bytes, at: int, count: int, element: SqlType, typmod: int
) -> Iterator[Value]:
    for _ in range(count):
        (size,) = _SIZE.unpack_from(data, at)
        at += 4
        if size < -1 or at + size > len(data):
            raise invalid_binary()
        if size == -1:
            yield None
            continue
        yield element.binary_in(data[at : at + size], typmod)
        at += size
    if at != len(data):
        raise invalid_binary()


def _to_binary(value: Array, element: SqlType) -> bytes:
    has_null = any(v is None for v in value.elements)
    parts = [_HEAD.pack(len(value.dimensions), has_null, element.oid)]
    parts.extend(map(_PAIR.pack, value.dimensions, value.lower_bounds))
    for v in value.elements:
        if v is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            data = element.binary_out(v)
            parts.append(_SIZE.pack(len(data)))
            parts.append(data)
    return b"".join(parts)
