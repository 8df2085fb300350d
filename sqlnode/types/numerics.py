"""numeric: arbitrary precision with a display scale.

The value is a Decimal whose exponent is minus the scale (2.50 has scale 2), never positive. In
binary it is PostgreSQL's format:

    ndigits:i16  weight:i16  sign:u16  dscale:u16  digit:i16 …     base-10000 digits, the first of
                                                                   weight 10000^weight
"""

import re
import struct
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings, Value
from sqlnode.types.codec import Codec
from sqlnode.types.ordering import above_all
from sqlnode.types.reading import WHITESPACE, invalid_binary, invalid_text

CONTEXT = Context(prec=160_000, rounding=ROUND_HALF_UP, Emin=-999_999, Emax=999_999, traps=[])
"""Exact within PostgreSQL's limits; nothing traps, infinities and NaN come out as values."""

WHOLE_DIGITS_MAX = 131072
SCALE_MAX = 16383
PRECISION_MAX = 1000
_HEADER = 4
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,7})?")
_SPECIAL = {"nan": "NaN", "inf": "Infinity", "infinity": "Infinity"}
_ZERO = Decimal(0)
_HEAD = struct.Struct(">hhHH")
_SIGN_NEGATIVE, _SIGN_NAN, _SIGN_PINF, _SIGN_NINF = 0x4000, 0xC000, 0xD000, 0xF000
_INFINITE_SCALE = 0x20  # what PostgreSQL sends as the scale of an infinity
_SPECIAL_SIGNS = {
    _SIGN_NAN: Decimal("NaN"),
    _SIGN_PINF: Decimal("Infinity"),
    _SIGN_NINF: Decimal("-Infinity"),
}


def overflow() -> SqlError:
    """22003 for a number beyond 131072 digits before or 16383 after the point."""
    return SqlError(sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")


def scale_of(value: Decimal) -> int:
    """Digits after the point; 0 for NaN and infinities."""
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def rescale(value: Decimal, scale: int) -> Decimal:
    """The finite value rounded (half away from zero) or padded to `scale` digits, which may be
    negative; the result's own scale is never below 0."""
    if scale >= 0:
        return value.quantize(Decimal((0, (1,), -scale)), context=CONTEXT)
    return value.quantize(Decimal((0, (1,), -scale)), context=CONTEXT).quantize(
        Decimal(1), context=CONTEXT
    )


def checked(value: Decimal) -> Decimal:
    """The value without negative zero; 22003 if PostgreSQL could not hold it."""
    if not value:
        return value.copy_abs()
    if value.is_finite() and value.adjusted() >= WHOLE_DIGITS_MAX:
        raise overflow()
    return value


def read_numeric(text: str) -> Decimal:
    """A numeric from text; 22P02, 22003."""
    stripped = text.strip(WHITESPACE)
    if not _NUMBER.fullmatch(stripped):
        return _read_special(stripped, text)
    value = Decimal(stripped)
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int):
        if exponent > 0:
            if value and value.adjusted() >= WHOLE_DIGITS_MAX:
                raise overflow()
            value = value.quantize(Decimal(1), context=CONTEXT)
        elif exponent < -SCALE_MAX:
            value = rescale(value, SCALE_MAX)
    return checked(value)


def _read_special(stripped: str, text: str) -> Decimal:
    sign, word = ("", stripped)
    if stripped[:1] in {"+", "-"}:
        sign, word = stripped[0], stripped[1:]
    name = _SPECIAL.get(word.lower())
    if name is None or (name == "NaN" and sign):
        raise invalid_text("numeric", text)
    return Decimal(sign + name)


def numeric_text(value: Decimal) -> str:
    """The number in full, with its scale; never an exponent."""
    return f"{value:f}" if value else f"{value.copy_abs():f}"


def _text_in(text: str, typmod: int, settings: FormatSettings) -> Decimal:
    return fit(read_numeric(text), typmod, False)


def _text_out(value: Decimal, settings: FormatSettings) -> str:
    return numeric_text(value)


# --- precision and scale -----------------------------------------------------------------------


def precision_and_scale(typmod: int) -> tuple[int, int]:
    """What a typmod says; the scale may be negative."""
    packed = typmod - _HEADER
    return (packed >> 16) & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024


def fit(value: Decimal, typmod: int, explicit: bool) -> Decimal:
    """numeric(p, s): rounded to the scale; 22003 if the whole part has too many digits."""
    if typmod < _HEADER or value.is_nan():
        return value
    precision, scale = precision_and_scale(typmod)
    if value.is_infinite():
        raise SqlError(
            sqlstate.NUMERIC_VALUE_OUT_OF_RANGE,
            "numeric field overflow",
            detail=f"A field with precision {precision}, scale {scale} cannot hold an infinite "
            "value.",
        )
    rounded = rescale(value, scale)
    if rounded and rounded.adjusted() >= precision - scale:
        limit = precision - scale
        raise SqlError(
            sqlstate.NUMERIC_VALUE_OUT_OF_RANGE,
            "numeric field overflow",
            detail=f"A field with precision {precision}, scale {scale} must round to an absolute "
            f"value less than {f'10^{limit}' if limit else 1}.",
        )
    return rounded or rounded.copy_abs()


def _typmod_in(modifiers: Sequence[str]) -> int:
    if not 1 <= len(modifiers) <= 2:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "invalid NUMERIC type modifier")
    precision = int(modifiers[0])
    scale = int(modifiers[1]) if len(modifiers) == 2 else 0
    if not 1 <= precision <= PRECISION_MAX:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            f"NUMERIC precision {precision} must be between 1 and {PRECISION_MAX}",
        )
    if not -PRECISION_MAX <= scale <= PRECISION_MAX:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            f"NUMERIC scale {scale} must be between -{PRECISION_MAX} and {PRECISION_MAX}",
        )
    return ((precision << 16) | (scale & 0x7FF)) + _HEADER


def _typmod_out(typmod: int) -> str:
    precision, scale = precision_and_scale(typmod)
    return f"({precision},{scale})"


# --- binary ------------------------------------------------------------------------------------


def _binary_in(data: bytes, typmod: int) -> Decimal:
    if len(data) < _HEAD.size:
        raise invalid_binary()
    count, weight, sign, scale = _HEAD.unpack_from(data)
    special = _SPECIAL_SIGNS.get(sign)
    if special is not None:
        return fit(special, typmod, False)
    if sign not in {0, _SIGN_NEGATIVE} or scale > SCALE_MAX:
        raise SqlError(
            sqlstate.INVALID_BINARY_REPRESENTATION, 'invalid sign in external "numeric" value'
        )
    if count < 0 or len(data) != _HEAD.size + 2 * count:
        raise invalid_binary()
    digits = struct.unpack_from(f">{count}h", data, _HEAD.size)
    whole = 0
    for digit in digits:
        if not 0 <= digit < 10000:
            raise SqlError(
                sqlstate.INVALID_BINARY_REPRESENTATION, 'invalid digit in external "numeric" value'
            )
        whole = whole * 10000 + digit
    value = Decimal(whole).scaleb(4 * (weight - count + 1), context=CONTEXT)
    value = value.quantize(Decimal((0, (1,), -scale)), context=CONTEXT, rounding="ROUND_DOWN")
    return fit(value.copy_negate() if sign and value else value, typmod, False)


def _binary_out(value: Decimal) -> bytes:
    if not value.is_finite():
        sign = next(s for s, special in _SPECIAL_SIGNS.items() if str(special) == str(value))
        return _HEAD.pack(0, 0, sign, 0 if value.is_nan() else _INFINITE_SCALE)
    sign, digits, exponent = value.as_tuple()
    scale = -int(exponent) if int(exponent) < 0 else 0
    if not value:
        return _HEAD.pack(0, 0, 0, scale)
    text = "".join(map(str, digits)) + "0" * max(0, int(exponent))
    whole, fraction = (text[:-scale], text[-scale:].rjust(scale, "0")) if scale else (text, "")
    whole = whole.rjust(-len(whole) % 4 + len(whole), "0")
    fraction = fraction.ljust(-len(fraction) % 4 + len(fraction), "0")
    groups = [int(part) for part in re.findall("....", whole + fraction)]
    weight = len(whole) // 4 - 1
    first = next(i for i, group in enumerate(groups) if group)
    weight -= first
    groups = groups[first:]
    while not groups[-1]:
        groups.pop()
    head = _HEAD.pack(len(groups), weight, _SIGN_NEGATIVE if sign else 0, scale)
    return head + struct.pack(f">{len(groups)}h", *groups)


def numeric_key(value: Decimal) -> Value:
    """NaN equals NaN and is above every number, infinity too."""
    return value if value == value else above_all


CODECS = {
    "numeric": Codec(
        _text_in,
        _text_out,
        _binary_in,
        _binary_out,
        apply_typmod=fit,
        key_kind="numeric",
        key=numeric_key,
        typmod_in=_typmod_in,
        typmod_out=_typmod_out,
    )
}
