"""to_char of numbers and to_number: 9 0 . , D G S SG MI PL PR TH L FM RN (not V and EEEE)."""

import re
from decimal import Decimal

from sqlnode import sqlstate
from sqlnode.errors import SqlError, unsupported
from sqlnode.functions.checks import int4
from sqlnode.functions.family import Family
from sqlnode.functions.templates import ordinal_suffix
from sqlnode.types.floats import float8_text
from sqlnode.types.numerics import read_numeric, rescale

FAMILY = Family()
_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"),
    (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip
_TOKEN = re.compile(
    r'"[^"]*"|EEEE|PR|MI|PL|SG|TH|th|FM|RN|rn|[09.,DGSLV]|.', re.DOTALL | re.IGNORECASE
)


_WHOLE_PART = {"0", "9", ",", "G"}


def _not_a_number(picture: "_Picture") -> str:
    if "TH" in picture.upper:
        raise SqlError(sqlstate.INVALID_TEXT_REPRESENTATION, '"NaN" is not a number')
    width = sum(kind in _WHOLE_PART for kind in picture.upper[: picture.point])
    text = "NaN".rjust(width) if picture.fill else "NaN"
    tail = " " if "PR" in picture.upper or "MI" in picture.upper else ""
    lead = "" if "MI" in picture.upper else " "
    return f"{lead}{text}{tail}" if picture.fill else text


def _roman(value: Decimal, *, fill: bool, lower: bool) -> str:
    number = int4(int(rescale(value, 0))) if value.is_finite() else 0
    if not 1 <= number <= 3999:
        return "#" * 15
    out = []
    for size, letters in _ROMAN:
        count, number = divmod(number, size)
        out.append(letters * count)
    text = "".join(out)
    text = text.lower() if lower else text
    return text.rjust(15) if fill else text


class _Picture:
    """A number template taken apart."""

    def __init__(self, template: str) -> None:
        self.tokens = _TOKEN.findall(template)
        upper = [token.upper() for token in self.tokens]
        self.fill = "FM" not in upper
        self.roman = next((t for t in self.tokens if t.upper() == "RN"), None)
        point = next((i for i, t in enumerate(upper) if t in {".", "D"}), len(upper))
        self.point = point
        self.whole = sum(t in {"0", "9"} for t in upper[:point])
        self.decimals = sum(t in {"0", "9"} for t in upper[point:])
        digits_before = [t for t in upper[:point] if t in {"0", "9"}]
        self.first_zero = digits_before.index("0") if "0" in digits_before else self.whole
        digits_after = [t for t in upper[point:] if t in {"0", "9"}]
        self.last_zero = max((i + 1 for i, t in enumerate(digits_after) if t == "0"), default=0)
        self.signed = any(t in {"S", "SG", "MI", "PL", "PR"} for t in upper)
        self.upper = upper
        if "V" in upper or "EEEE" in upper:
            raise unsupported("V or EEEE in to_char")


def format_number(value: Decimal, template: str) -> str:
    """to_char(numeric, template)."""
    picture = _Picture(template)
    if picture.roman is not None:
        return _roman(value, fill=picture.fill, lower=picture.roman == "rn")
    negative = value.is_signed() and bool(value)
    hidden = "#" * picture.decimals
    if value.is_nan():
        return _not_a_number(picture)
    if not value.is_finite():
        return _assemble(picture, "#" * picture.whole, hidden, negative)
    rounded = rescale(value.copy_abs(), picture.decimals)
    negative = negative and bool(rounded)
    whole, _, fraction = f"{rounded:f}".partition(".")
    if whole == "0" and picture.decimals and (picture.fill or picture.last_zero or rounded):
        whole = ""
    if len(whole) > picture.whole:
        whole, fraction = "#" * picture.whole, hidden
    return _assemble(picture, whole, fraction, negative)


def _assemble(picture: _Picture, whole: str, fraction: str, negative: bool) -> str:
    padded = whole.rjust(picture.whole)
    shown_from = min(picture.whole - len(whole), picture.first_zero)
    if not picture.fill:
        fraction = fraction[: picture.last_zero] + fraction[picture.last_zero :].rstrip("0")
    out: list[str] = []
    at = after = 0
    sign_at = None
    for place, token in enumerate(picture.tokens):
        kind = picture.upper[place]
        if kind in {"0", "9"} and place < picture.point:
            if sign_at is None and at >= shown_from:
                sign_at = len(out)
            out.append(_digit(padded[at], shown=at >= shown_from, fill=picture.fill))
            at += 1
        elif kind in {"0", "9"}:
            out.append(fraction[after] if after < len(fraction) else "")
            after += 1
        elif kind in {".", "D"}:
            sign_at = len(out) if sign_at is None else sign_at
            out.append("." if picture.fill or fraction or picture.decimals else "")
        elif kind in {",", "G"}:
            out.append("," if at > shown_from else " " if picture.fill else "")
        else:
            out.append(_other(picture, token, kind, whole, negative))
    return _signed(picture, out, sign_at or 0, negative)


def _other(picture: _Picture, token: str, kind: str, whole: str, negative: bool) -> str:
    """What a token that is no digit, point or comma prints."""
    blank = " " if picture.fill else ""
    if kind == "TH":
        if negative:
            return ""
        if "#" in whole:
            return ""
        suffix = ordinal_suffix(int(whole or 0))
        return suffix.upper() if token.isupper() else suffix
    fixed = {
        "MI": "-" if negative else blank,
        "PL": blank if negative else "+",
        "SG": "-" if negative else "+",
        "L": blank,
        "FM": "",
        "S": "",
        "PR": "",
    }
    return fixed.get(kind, token.strip('"') if token.startswith('"') else token)


def _digit(digit: str, *, shown: bool, fill: bool) -> str:
    if not shown:
        return " " if fill else ""
    return "0" if digit == " " else digit


def _signed(picture: _Picture, out: list[str], sign_at: int, negative: bool) -> str:
    if "PR" in picture.upper:
        if negative:
            return "".join(out[:sign_at]) + "<" + "".join(out[sign_at:]) + ">"
        return (" " + "".join(out) + " ") if picture.fill else "".join(out)
    if "S" in picture.upper:
        sign = "-" if negative else "+"
        if picture.upper[-1] == "S":
            return "".join(out) + sign
        return "".join(out[:sign_at]) + sign + "".join(out[sign_at:])
    if picture.signed:
        return "".join(out)
    sign = "-" if negative else " " if picture.fill else ""
    return "".join(out[:sign_at]) + sign + "".join(out[sign_at:])


FAMILY.call(format_number, "numeric_to_char")
FAMILY.call(lambda value, template: format_number(Decimal(value), template), "int4_to_char")
FAMILY.call(lambda value, template: format_number(Decimal(value), template), "int8_to_char")


@FAMILY.function("float8_to_char", "float4_to_char")
def format_float(value: float, template: str) -> str:
    """to_char(float, template)."""
    if value - value != 0.0:
        return format_number(read_numeric(float8_text(value)), template)
    decimals = _Picture(template).decimals
    # The C library rounds the double itself, half to even where it is exactly half.
    return format_number(read_numeric(f"{value:.{decimals}f}"), template)


@FAMILY.function("numeric_to_number")
def to_number(text: str, template: str) -> Decimal | None:
    """to_number(text, template): the digits, point and sign of the text."""
    if not template:
        return None
    bracketed = "PR" in template.upper() and "<" in text
    digits = re.sub(r"[^0-9.]", "", text)
    value = read_numeric(digits or "0")
    decimals = _Picture(template).decimals
    value = rescale(value, min(decimals, max(0, -int(value.as_tuple().exponent))))
    return value.copy_negate() if value and ("-" in text or bracketed) else value
