"""uuid."""

import re
from uuid import UUID

from sqlnode.types.base import FormatSettings
from sqlnode.types.codec import Codec
from sqlnode.types.reading import invalid_binary, invalid_text

_GROUPED = re.compile(r"(?:[0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}")


def _text_in(text: str, typmod: int, settings: FormatSettings) -> UUID:
    bare = text[1:-1] if text[:1] == "{" and text[-1:] == "}" else text
    if not _GROUPED.fullmatch(bare):
        raise invalid_text("uuid", text)
    return UUID(int=int(bare.replace("-", ""), 16))


def _text_out(value: UUID, settings: FormatSettings) -> str:
    return str(value)


def _binary_in(data: bytes, typmod: int) -> UUID:
    if len(data) != 16:
        raise invalid_binary()
    return UUID(bytes=bytes(data))


def _binary_out(value: UUID) -> bytes:
    return value.bytes


CODECS = {"uuid": Codec(_text_in, _text_out, _binary_in, _binary_out, key_kind="uuid")}
