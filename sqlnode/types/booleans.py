"""bool."""

from sqlnode.types.base import FormatSettings
from sqlnode.types.codec import Codec
from sqlnode.types.reading import WHITESPACE, invalid_binary, invalid_text

_WORDS = {
    word[:length]: value
    for word, value, shortest in (
        ("true", True, 1),
        ("false", False, 1),
        ("yes", True, 1),
        ("no", False, 1),
        ("on", True, 2),
        ("off", False, 2),
    )
    for length in range(shortest, len(word) + 1)
} | {"1": True, "0": False}


def _text_in(text: str, typmod: int, settings: FormatSettings) -> bool:
    value = _WORDS.get(text.strip(WHITESPACE).lower())
    if value is None:
        raise invalid_text("boolean", text)
    return value


def _text_out(value: bool, settings: FormatSettings) -> str:
    return "t" if value else "f"


def _binary_in(data: bytes, typmod: int) -> bool:
    if len(data) != 1:
        raise invalid_binary()
    return data != b"\0"


def _binary_out(value: bool) -> bytes:
    return b"\1" if value else b"\0"


CODECS = {
    "bool": Codec(_text_in, _text_out, _binary_in, _binary_out, struct_code="?", key_kind="bool")
}
