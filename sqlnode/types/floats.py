"""float4 and float8, printed with the fewest digits that read back as the same number."""

import math
import re
import struct

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings, Value
from sqlnode.types.codec import Codec
from sqlnode.types.ordering import above_all
from sqlnode.types.reading import WHITESPACE, invalid_binary, invalid_text

_F4 = struct.Struct(">f")
_F8 = struct.Struct(">d")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"[+-]?0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*(?:[pP][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"nan|[+-]?inf(?:inity)?", re.IGNORECASE)


def round_float4(value: float) -> float:
    """The nearest single-precision number; OverflowError beyond its range."""
    return float(_F4.unpack(_F4.pack(value))[0])


def read_float(text: str, type_name: str) -> float:
    """A double from text; 22P02, 22003."""
    stripped = text.strip(WHITESPACE)
    if _DECIMAL.fullmatch(stripped):
        value = float(stripped)
        if math.isinf(value) or (value == 0.0 and _has_nonzero_digit(stripped)):
            raise _out_of_range(stripped, type_name)
        return value
    if _SPECIAL.fullmatch(stripped):
        return float(stripped)
    if _HEXADECIMAL.fullmatch(stripped):
        try:
            return float.fromhex(stripped)
        except ValueError:
            raise invalid_text(type_name, text) from None
        except OverflowError:
            raise _out_of_range(stripped, type_name) from None
    raise invalid_text(type_name, text)


def _has_nonzero_digit(number: str) -> bool:
    mantissa = re.split("[eE]", number)[0]
    return any(digit in "123456789" for digit in mantissa)


def _out_of_range(text: str, type_name: str) -> SqlError:
    return SqlError(
        sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, f'"{text}" is out of range for type {type_name}'
    )


def _float4_in(text: str, typmod: int, settings: FormatSettings) -> float:
    value = read_float(text, "real")
    try:
        rounded = round_float4(value)
    except OverflowError:
        raise _out_of_range(text.strip(WHITESPACE), "real") from None
    if rounded == 0.0 and value != 0.0:
        raise _out_of_range(text.strip(WHITESPACE), "real")
    return rounded


def _float8_in(text: str, typmod: int, settings: FormatSettings) -> float:
    return read_float(text, "double precision")


def float8_text(value: float, extra_digits: int = 1) -> str:
    """A double as PostgreSQL prints it; `extra_digits` is extra_float_digits."""
    if value - value != 0.0:
        return _special_text(value)
    if extra_digits <= 0:
        return f"{value:.{max(1, 15 + extra_digits)}g}"
    text = repr(value)
    if text.endswith(".0"):
        if -1e15 < value < 1e15:
            return text[:-2]
        return _scientific(text[:-2])
    if "e" not in text and not -1e15 < value < 1e15:
        return _scientific(text)
    return text


def _scientific(text: str) -> str:
    """A repr without exponent as mantissa and exponent (Python starts those one digit later)."""
    sign = "-" if text[0] == "-" else ""
    whole, _, fraction = text.lstrip("-").partition(".")
    digits = (whole + fraction).rstrip("0")
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{mantissa}e+{len(whole) - 1:02d}"


def _special_text(value: float) -> str:
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _reads_back(text: str, value: float) -> bool:
    try:
        return round_float4(float(text)) == value
    except OverflowError:  # fewer digits may round up beyond the largest number
        return False


def float4_text(value: float, extra_digits: int = 1) -> str:
    """A single-precision number as PostgreSQL prints it."""
    if value - value != 0.0:
        return _special_text(value)
    if extra_digits <= 0:
        return f"{value:.{max(1, 6 + extra_digits)}g}"
    scientific = next(
        text for text in (f"{value:.{digits}e}" for digits in range(9)) if _reads_back(text, value)
    )
    mantissa, _, exponent = scientific.partition("e")
    places = int(exponent)
    if not -4 <= places < 6:
        return scientific
    decimals = max(0, len(mantissa.lstrip("-").replace(".", "")) - 1 - places)
    return f"{float(scientific):.{decimals}f}"


def _float4_out(value: float, settings: FormatSettings) -> str:
    return float4_text(value, settings.extra_float_digits)


def _float8_out(value: float, settings: FormatSettings) -> str:
    return float8_text(value, settings.extra_float_digits)


def _float4_binary_in(data: bytes, typmod: int) -> float:
    if len(data) != 4:
        raise invalid_binary()
    return float(_F4.unpack(data)[0])


def _float8_binary_in(data: bytes, typmod: int) -> float:
    if len(data) != 8:
        raise invalid_binary()
    return float(_F8.unpack(data)[0])


def float_key(value: float) -> Value:
    """NaN equals NaN and is above every number."""
    return value if value == value else above_all


CODECS = {
    "float4": Codec(
        _float4_in,
        _float4_out,
        _float4_binary_in,
        _F4.pack,
        struct_code="f",
        key_kind="float",
        key=float_key,
    ),
    "float8": Codec(
        _float8_in,
        _float8_out,
        _float8_binary_in,
        _F8.pack,
        struct_code="d",
        key_kind="float",
        key=float_key,
    ),
}
