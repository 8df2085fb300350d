"""bytea."""

import re

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings
from sqlnode.types.codec import Codec

_ESCAPED = re.compile(r"\\(\\|[0-3][0-7]{2})|\\|([^\\]+)", re.DOTALL)
_SPACES = re.compile(r"[ \t\n\r\v\f]")


def hex_bytes(digits: str) -> bytes:
    """Pairs of hexadecimal digits, spaces allowed between pairs; 22023."""
    try:
        return bytes.fromhex(digits) if digits.isascii() else _bad_digits(digits)
    except ValueError:
        return _bad_digits(digits)


def _bad_digits(digits: str) -> bytes:
    for character in _SPACES.sub("", digits):
        if character not in "0123456789abcdefABCDEF":
            raise SqlError(
                sqlstate.INVALID_PARAMETER_VALUE, f'invalid hexadecimal digit: "{character}"'
            )
    raise SqlError(
        sqlstate.INVALID_PARAMETER_VALUE, "invalid hexadecimal data: odd number of digits"
    )


def escaped_bytes(text: str) -> bytes:
    """The escape format: backslash with three octal digits or another backslash; 22P02."""
    out = bytearray()
    for found in _ESCAPED.finditer(text):
        if found[2] is not None:
            out += found[2].encode()
        elif found[1] is None:
            raise SqlError(
                sqlstate.INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea"
            )
        else:
            out.append(0x5C if found[1] == "\\" else int(found[1], 8))
    return bytes(out)


def escape_bytes(value: bytes) -> str:
    """The escape format's output."""
    return "".join(
        "\\\\" if b == 0x5C else chr(b) if 32 <= b < 127 else f"\\{b:03o}" for b in value
    )


def _text_in(text: str, typmod: int, settings: FormatSettings) -> bytes:
    if text.startswith("\\x"):
        return hex_bytes(text[2:])
    return escaped_bytes(text)


def _text_out(value: bytes, settings: FormatSettings) -> str:
    if settings.bytea_output == "escape":
        return escape_bytes(value)
    return "\\x" + value.hex()


def _binary_in(data: bytes, typmod: int) -> bytes:
    return bytes(data)


def _binary_out(value: bytes) -> bytes:
    return value


CODECS = {"bytea": Codec(_text_in, _text_out, _binary_in, _binary_out, key_kind="bytes")}
