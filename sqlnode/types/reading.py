"""Errors and small parts that every codec's input shares."""

import re
import struct

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings

WHITESPACE = " \t\n\v\f\r"
"""What C's isspace() skips; str.strip() without arguments would skip more."""

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")


def invalid_text(type_name: str, text: str) -> SqlError:
    """22P02: the text is no value of the type."""
    return SqlError(
        sqlstate.INVALID_TEXT_REPRESENTATION,
        f'invalid input syntax for type {type_name}: "{text}"',
    )


def out_of_range(type_name: str, text: str) -> SqlError:
    """22003 for a number read from text."""
    return SqlError(
        sqlstate.NUMERIC_VALUE_OUT_OF_RANGE,
        f'value "{text}" is out of range for type {type_name}',
    )


def invalid_binary() -> SqlError:
    """22P03: a binary parameter of the wrong length or content."""
    return SqlError(sqlstate.INVALID_BINARY_REPRESENTATION, "incorrect binary data format")


def read_integer(text: str, type_name: str, low: int, high: int) -> int:
    """A decimal integer between `low` and `high`; 22P02, 22003."""
    found = _INTEGER.fullmatch(text)
    if found is None:
        raise invalid_text(type_name, text)
    if len(found[1]) > 25:
        raise out_of_range(type_name, text)
    value = int(found[1])
    if not low <= value <= high:
        raise out_of_range(type_name, text)
    return value


def unpack(code: struct.Struct, data: bytes) -> tuple[int, ...]:
    """Fixed-size binary input; 22P03 if the size differs."""
    if len(data) != code.size:
        raise invalid_binary()
    return code.unpack(data)


def text_binary_in(data: bytes, typmod: int) -> str:
    """UTF-8 text; 22021 for what is not UTF-8 or holds a zero byte."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        bad = data[error.start : max(error.end, error.start + 1)]
        raise SqlError(
            sqlstate.CHARACTER_NOT_IN_REPERTOIRE,
            f'invalid byte sequence for encoding "UTF8": {" ".join(f"0x{b:02x}" for b in bad)}',
        ) from None
    if "\0" in text:
        raise SqlError(
            sqlstate.CHARACTER_NOT_IN_REPERTOIRE, 'invalid byte sequence for encoding "UTF8": 0x00'
        )
    return text


def text_binary_out(value: str) -> bytes:
    """UTF-8."""
    return value.encode()


def same_text(value: str, settings: FormatSettings) -> str:
    """Output of a type whose runtime value is its text."""
    return value
