"""Strings: length, case, search, cutting, padding, and the conversions between string types."""

import hashlib
import re
import unicodedata
from typing import Literal

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.checks import int4, out_of_range
from sqlnode.functions.family import Family
from sqlnode.types.array import Array
from sqlnode.types.keywords import RESERVED
from sqlnode.types.texts import clip_name

FAMILY = Family()
_BYTES_MAX = 1 << 30
_FORMS: dict[str, Literal["NFC", "NFD", "NFKC", "NFKD"]] = {
    "NFC": "NFC",
    "NFD": "NFD",
    "NFKC": "NFKC",
    "NFKD": "NFKD",
}

FAMILY.inlines(
    {"clip_name": clip_name},
    {
        "textcat": "({0} + {1})",
        "textlen": "len({0})",
        "textoctetlen": "len({0}.encode())",
        "bpcharlen": 'len({0}.rstrip(" "))',
        "bpcharoctetlen": "len({0}.encode())",
        "bit_length(text)": "(8 * len({0}.encode()))",
        "bit_length(bytea)": "(8 * len({0}))",
        "text_starts_with": "{0}.startswith({1})",
        "text_reverse": "{0}[::-1]",
        "text_name": "clip_name({0})",
        "name_text": "{0}",
        "name_bpchar": "{0}",
        "bpchar_name": 'clip_name({0}.rstrip(" "))',
        "rtrim1": '{0}.rstrip(" ")',
        "ltrim1": '{0}.lstrip(" ")',
        "btrim1": '{0}.strip(" ")',
        "char_text": "{0}",
        "text_char": "{0}[:1]",
        "to_hex32": "format({0} & 0xFFFFFFFF, 'x')",
        "to_hex64": "format({0} & 0xFFFFFFFFFFFFFFFF, 'x')",
        "text_larger": "max({0}, {1})",
        "text_smaller": "min({0}, {1})",
    },
)


def _too_long() -> SqlError:
    return SqlError(sqlstate.PROGRAM_LIMIT_EXCEEDED, "requested length too large")


def _change_case(text: str, *, upper: bool) -> str:
    """Character by character, as towupper() does: no character becomes two."""
    changed = text.upper() if upper else text.lower()
    if text.isascii() or len(changed) == len(text):
        return changed
    return "".join(c if len(new := c.upper() if upper else c.lower()) != 1 else new for c in text)


@FAMILY.function("upper")
def upper(text: str) -> str:
    """upper()."""
    return _change_case(text, upper=True)


@FAMILY.function("lower")
def lower(text: str) -> str:
    """lower()."""
    return _change_case(text, upper=False)


@FAMILY.function("initcap")
def initcap(text: str) -> str:
    """The first letter of each word in upper case; words are runs of letters and digits."""
    out = []
    inside = False
    for character in text:
        out.append(_change_case(character, upper=not inside))
        inside = character.isalnum()
    return "".join(out)


@FAMILY.function("textpos")
def position(text: str, part: str) -> int:
    """1-based position of `part`, 0 if it is not there."""
    return text.find(part) + 1


@FAMILY.function("text_substr_no_len", "bytea_substr_no_len")
def substring_from(text: str, start: int) -> str:
    """substring(text FROM start)."""
    return text[max(0, start - 1) :]


@FAMILY.function("text_substr", "bytea_substr")
def substring(text: str, start: int, length: int) -> str:
    """substring(text FROM start FOR length); positions before the text count too; 22011."""
    if length < 0:
        raise SqlError(sqlstate.SUBSTRING_ERROR, "negative substring length not allowed")
    return text[max(0, start - 1) : max(0, start - 1 + length)]


@FAMILY.function("textoverlay")
def overlay(text: str, new: str, start: int, length: int) -> str:
    """overlay(text PLACING new FROM start FOR length)."""
    if start <= 0:
        raise SqlError(sqlstate.SUBSTRING_ERROR, "negative substring length not allowed")
    return text[: start - 1] + new + text[max(0, int4(start + length) - 1) :]


@FAMILY.function("textoverlay_no_len")
def overlay_same_length(text: str, new: str, start: int) -> str:
    """overlay(text PLACING new FROM start)."""
    return overlay(text, new, start, len(new))


@FAMILY.function("rtrim")
def right_trim(text: str, characters: str) -> str:
    """rtrim(text, characters)."""
    return text.rstrip(characters) if characters else text


@FAMILY.function("ltrim")
def left_trim(text: str, characters: str) -> str:
    """ltrim(text, characters)."""
    return text.lstrip(characters) if characters else text


@FAMILY.function("btrim")
def both_trim(text: str, characters: str) -> str:
    """btrim(text, characters)."""
    return text.strip(characters) if characters else text


@FAMILY.function("replace_text")
def replace(text: str, old: str, new: str) -> str:
    """replace(); an empty `old` changes nothing."""
    return text.replace(old, new) if old else text


@FAMILY.function("translate")
def translate(text: str, old: str, new: str) -> str:
    """translate(): character by character; those without a partner are dropped."""
    table: dict[int, str | None] = {}
    for place, character in enumerate(old):
        table.setdefault(ord(character), new[place] if place < len(new) else None)
    return text.translate(table)


def _pad(text: str, length: int, fill: str, *, left: bool) -> str:
    if length < 0:
        length = 0
    if length * 4 > _BYTES_MAX:
        raise _too_long()
    missing = length - len(text)
    if missing <= 0 or not fill:
        return text[:length]
    padding = (fill * (missing // len(fill) + 1))[:missing]
    return padding + text if left else text + padding


@FAMILY.function("lpad")
def left_pad(text: str, length: int, fill: str) -> str:
    """lpad(text, length, fill)."""
    return _pad(text, length, fill, left=True)


@FAMILY.function("lpad(text,int4)")
def left_pad_blanks(text: str, length: int) -> str:
    """lpad(text, length)."""
    return _pad(text, length, " ", left=True)


@FAMILY.function("rpad")
def right_pad(text: str, length: int, fill: str) -> str:
    """rpad(text, length, fill)."""
    return _pad(text, length, fill, left=False)


@FAMILY.function("rpad(text,int4)")
def right_pad_blanks(text: str, length: int) -> str:
    """rpad(text, length)."""
    return _pad(text, length, " ", left=False)


@FAMILY.function("text_left")
def left(text: str, count: int) -> str:
    """left(): a negative count drops that many from the end."""
    return text[:count]


@FAMILY.function("text_right")
def right(text: str, count: int) -> str:
    """right(): a negative count drops that many from the start."""
    # The lowest integer has no negative, and PostgreSQL then drops nothing.
    if count == -(2**31):
        return text
    return text[-count:] if count else ""


@FAMILY.function("repeat")
def repeat(text: str, count: int) -> str:
    """repeat(); 54000 beyond a gigabyte."""
    if count * len(text) > _BYTES_MAX:
        raise _too_long()
    return text * max(0, count)


@FAMILY.function("split_part")
def split_part(text: str, delimiter: str, number: int) -> str:
    """The field `number`, counted from the end if negative; 22023 for 0."""
    if number == 0:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "field position must not be zero")
    fields = text.split(delimiter) if delimiter else [text]
    index = number - 1 if number > 0 else number + len(fields)
    return fields[index] if 0 <= index < len(fields) else ""


@FAMILY.function("ascii")
def ascii_code(text: str) -> int:
    """Code point of the first character, 0 for none."""
    return ord(text[0]) if text else 0


@FAMILY.function("chr")
def character(code: int) -> str:
    """The character of a code point; 54000 for none."""
    if code < 0:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "character number must be positive")
    if code == 0:
        raise SqlError(sqlstate.PROGRAM_LIMIT_EXCEEDED, "null character not permitted")
    if code > 0x10FFFF:
        raise SqlError(
            sqlstate.PROGRAM_LIMIT_EXCEEDED, f"requested character too large for encoding: {code}"
        )
    if 0xD800 <= code <= 0xDFFF:
        raise SqlError(
            sqlstate.PROGRAM_LIMIT_EXCEEDED, f"requested character not valid for encoding: {code}"
        )
    return chr(code)


@FAMILY.function("md5_text")
def md5_text(text: str) -> str:
    """md5(text)."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@FAMILY.function("quote_ident")
def quote_ident(text: str) -> str:
    """The text as an SQL identifier."""
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", text) is not None and text not in RESERVED
    return text if plain else '"' + text.replace('"', '""') + '"'


@FAMILY.function("quote_literal")
def quote_literal(text: str) -> str:
    """The text as an SQL literal, in E'' form where it holds a backslash."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f"E{quoted}" if "\\" in text else quoted


@FAMILY.function("quote_nullable")
def quote_nullable(text: str | None) -> str:
    """Like quote_literal, NULL for NULL."""
    return "NULL" if text is None else quote_literal(text)


@FAMILY.function("text_to_array")
def string_to_array(text: str | None, delimiter: str | None) -> Array | None:
    """string_to_array(text, delimiter)."""
    return string_to_array_null(text, delimiter, None)


@FAMILY.function("text_to_array_null")
def string_to_array_null(text: str | None, delimiter: str | None, null: str | None) -> Array | None:
    """Fields equal to `null` become NULL; a NULL delimiter splits into characters."""
    if text is None:
        return None
    return Array.of(string_to_table_null(text, delimiter, null))


@FAMILY.function("text_to_table")
def string_to_table(text: str | None, delimiter: str | None) -> list[str | None]:
    """string_to_table(text, delimiter)."""
    return string_to_table_null(text, delimiter, None)


@FAMILY.function("text_to_table_null")
def string_to_table_null(
    text: str | None, delimiter: str | None, null: str | None
) -> list[str | None]:
    """The fields as rows."""
    if not text:
        return []
    if delimiter is None:
        fields = list(text)
    elif not delimiter:
        fields = [text]
    else:
        fields = text.split(delimiter)
    return [None if field == null else field for field in fields]


@FAMILY.function("unicode_normalize_func")
def normalize(text: str, form: str) -> str:
    """normalize(text, form); 22023."""
    return unicodedata.normalize(_form(form), text)


@FAMILY.function("unicode_is_normalized")
def is_normalized(text: str, form: str) -> bool:
    """text IS NORMALIZED."""
    return unicodedata.is_normalized(_form(form), text)


def _form(form: str) -> Literal["NFC", "NFD", "NFKC", "NFKD"]:
    known = _FORMS.get(form.upper())
    if known is None:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f"invalid normalization form: {form}")
    return known


@FAMILY.function("i4tochar")
def int_to_char(value: int) -> str:
    """integer → "char"."""
    if not -128 <= value <= 127:
        raise out_of_range('"char"')
    return chr(value & 0xFF) if value else ""


@FAMILY.function("chartoi4")
def char_to_int(value: str) -> int:
    """ "char" → integer, signed."""
    code = ord(value) if value else 0
    return code - 256 if code > 127 else code
