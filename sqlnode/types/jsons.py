"""json and jsonb.

json is the text as it was given, checked. jsonb's runtime value is the text PostgreSQL prints for
it: keys sorted by length and then bytes, the last of duplicate keys kept, one blank after `:` and
`,`, numbers as numeric prints them. Python's own JSON reader is stricter and laxer than
PostgreSQL's in places (NaN, control characters, numbers), so those are settled here.
"""

import json
from collections.abc import Hashable
from decimal import Decimal
from typing import Any, NoReturn

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings, Value
from sqlnode.types.codec import Codec
from sqlnode.types.numerics import numeric_text, read_numeric
from sqlnode.types.reading import invalid_binary, same_text, text_binary_in, text_binary_out

_LINE = "\n"


def _reject_constant(word: str) -> NoReturn:
    raise ValueError(word)


_DECODER = json.JSONDecoder(
    parse_float=read_numeric, parse_int=read_numeric, parse_constant=_reject_constant, strict=True
)
_PAIRS = json.JSONDecoder(
    parse_float=str,
    parse_int=str,
    parse_constant=_reject_constant,
    strict=True,
    object_pairs_hook=lambda pairs: pairs,
)
_ESCAPE = json.encoder.JSONEncoder(ensure_ascii=False).encode


def parse_json(text: str) -> Any:
    """The document as dict, list, str, Decimal, bool, None; 22P02 if it is no JSON."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(text, error) from None


def check_json(text: str) -> None:
    """22P02 if `text` is no JSON."""
    try:
        _PAIRS.decode(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(text, error) from None


def _invalid(text: str, error: Exception) -> SqlError:
    if isinstance(error, RecursionError):
        return SqlError(sqlstate.STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
    at = error.pos if isinstance(error, json.JSONDecodeError) else len(text)
    rest = text[at:].lstrip()
    if not rest:
        detail = "The input string ended unexpectedly."
    else:
        word = rest.split()[0]
        detail = f'Token "{word}" is invalid.'
    return SqlError(
        sqlstate.INVALID_TEXT_REPRESENTATION,
        "invalid input syntax for type json",
        detail=detail,
        where=f"JSON data, line {text.count(_LINE, 0, at) + 1}: {text[: at + 1].split(_LINE)[-1]}",
    )


def quote_json(text: str) -> str:
    """A JSON string literal, escaped as PostgreSQL does."""
    return _ESCAPE(text)


def jsonb_text(document: Any) -> str:
    """The document as jsonb prints."""
    if document is None:
        return "null"
    if document is True:
        return "true"
    if document is False:
        return "false"
    if isinstance(document, str):
        return _ESCAPE(document)
    if isinstance(document, Decimal):
        return numeric_text(document)
    if isinstance(document, dict):
        keys = sorted(document, key=_key_order)
        return "{" + ", ".join(f"{_ESCAPE(k)}: {jsonb_text(document[k])}" for k in keys) + "}"
    return "[" + ", ".join(map(jsonb_text, document)) + "]"


def _key_order(key: str) -> tuple[int, bytes]:
    data = key.encode()
    return len(data), data


def normal_jsonb(text: str) -> str:
    """The text of a JSON document as jsonb prints it; 22P02, 22P05."""
    if "\\u0000" in text and "\\u0000" in text.replace("\\\\", ""):
        raise SqlError(
            sqlstate.UNTRANSLATABLE_CHARACTER,
            "unsupported Unicode escape sequence",
            detail="\\u0000 cannot be converted to text.",
        )
    return jsonb_text(parse_json(text))


def jsonb_order(document: Any) -> Value:
    """A key that orders documents as jsonb does:
    null < string < number < boolean < array < object, more elements above fewer."""
    if document is None:
        return (0,)
    if isinstance(document, bool):
        return 3, document
    if isinstance(document, str):
        return 1, document
    if isinstance(document, Decimal):
        return 2, document
    if isinstance(document, dict):
        keys = sorted(document, key=_key_order)
        return 5, len(keys), tuple((k, jsonb_order(document[k])) for k in keys)
    # An empty array is below everything: a quirk of PostgreSQL that its manual mentions.
    return (4, len(document), tuple(map(jsonb_order, document))) if document else (-1,)


def _jsonb_key(value: str) -> Hashable:
    order: Hashable = jsonb_order(parse_json(value))
    return order


def _json_in(text: str, typmod: int, settings: FormatSettings) -> str:
    check_json(text)
    return text


def _json_binary_in(data: bytes, typmod: int) -> str:
    text = text_binary_in(data, typmod)
    check_json(text)
    return text


def _jsonb_in(text: str, typmod: int, settings: FormatSettings) -> str:
    return normal_jsonb(text)


def _jsonb_binary_in(data: bytes, typmod: int) -> str:
    if data[:1] != b"\1":
        if not data:
            raise invalid_binary()
        raise SqlError(sqlstate.INTERNAL_ERROR, f"unsupported jsonb version number {data[0]}")
    return normal_jsonb(text_binary_in(data[1:], typmod))


def _jsonb_binary_out(value: str) -> bytes:
    return b"\1" + value.encode()


CODECS = {
    "json": Codec(_json_in, same_text, _json_binary_in, text_binary_out),
    "jsonb": Codec(_jsonb_in, same_text, _jsonb_binary_in, _jsonb_binary_out, key=_jsonb_key),
}
