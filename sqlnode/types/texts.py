"""text, varchar, bpchar, name, "char"; and the pseudo types that hold text.

bpchar values are kept as stored, padded with blanks to their declared length; the blanks do not
count in comparisons, which is what its key is for.
"""

from collections.abc import Sequence

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.base import FormatSettings, TypmodInput
from sqlnode.types.codec import Codec
from sqlnode.types.reading import invalid_binary, same_text, text_binary_in, text_binary_out

_HEADER = 4
"""What PostgreSQL adds to a declared length in a typmod (its variable-length header)."""
_LENGTH_MAX = 10485760
_NAME_BYTES_MAX = 63


def _text_in(text: str, typmod: int, settings: FormatSettings) -> str:
    return text


def clip_name(text: str) -> str:
    """The text cut to the 63 bytes of a name, at a character's edge."""
    if len(text) <= _NAME_BYTES_MAX and text.isascii():
        return text
    return text.encode()[:_NAME_BYTES_MAX].decode(errors="ignore")


def _name_in(text: str, typmod: int, settings: FormatSettings) -> str:
    return clip_name(text)


def _too_long(type_name: str, length: int) -> SqlError:
    return SqlError(
        sqlstate.STRING_DATA_RIGHT_TRUNCATION,
        f"value too long for type {type_name}({length})",
    )


def fit_varchar(value: str, typmod: int, explicit: bool) -> str:
    """varchar(n): 22001 where more than trailing blanks would be lost, unless cast explicitly."""
    length = typmod - _HEADER
    if typmod < _HEADER or len(value) <= length:
        return value
    if not explicit and value[length:].strip(" "):
        raise _too_long("character varying", length)
    return value[:length]


def fit_bpchar(value: str, typmod: int, explicit: bool) -> str:
    """char(n): likewise, and padded with blanks."""
    length = typmod - _HEADER
    if typmod < _HEADER or len(value) == length:
        return value
    if len(value) < length:
        return value.ljust(length)
    if not explicit and value[length:].strip(" "):
        raise _too_long("character", length)
    return value[:length]


def _varchar_in(text: str, typmod: int, settings: FormatSettings) -> str:
    return fit_varchar(text, typmod, False)


def _bpchar_in(text: str, typmod: int, settings: FormatSettings) -> str:
    return fit_bpchar(text, typmod, False)


def _varchar_binary_in(data: bytes, typmod: int) -> str:
    return fit_varchar(text_binary_in(data, typmod), typmod, False)


def _bpchar_binary_in(data: bytes, typmod: int) -> str:
    return fit_bpchar(text_binary_in(data, typmod), typmod, False)


def _bpchar_key(value: str) -> str:
    return value.rstrip(" ")


def _length_typmod(type_name: str) -> TypmodInput:
    def typmod_in(modifiers: Sequence[str]) -> int:
        if len(modifiers) != 1:
            raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "invalid type modifier")
        length = int(modifiers[0])
        if length < 1:
            raise SqlError(
                sqlstate.INVALID_PARAMETER_VALUE, f"length for type {type_name} must be at least 1"
            )
        if length > _LENGTH_MAX:
            raise SqlError(
                sqlstate.INVALID_PARAMETER_VALUE,
                f"length for type {type_name} cannot exceed {_LENGTH_MAX}",
            )
        return length + _HEADER

    return typmod_in


def _length_out(typmod: int) -> str:
    return f"({typmod - _HEADER})" if typmod > _HEADER else ""


def _char_in(text: str, typmod: int, settings: FormatSettings) -> str:
    data = text.encode()
    return _char_of(data[0]) if data else ""


def _char_of(byte: int) -> str:
    return chr(byte) if byte else ""


def char_byte(value: str) -> int:
    """The one byte of a "char"; 0 for the empty one."""
    return ord(value) if value else 0


def _char_out(value: str, settings: FormatSettings) -> str:
    # PostgreSQL 15 sends such a byte bare, which is no valid UTF-8; later ones show it in octal.
    byte = char_byte(value)
    return value if byte < 128 else f"\\{byte:03o}"


def _char_binary_in(data: bytes, typmod: int) -> str:
    if len(data) != 1:
        raise invalid_binary()
    return _char_of(data[0])


def _char_binary_out(value: str) -> bytes:
    return bytes([char_byte(value)])


TEXT = Codec(_text_in, same_text, text_binary_in, text_binary_out, key_kind="text")

CODECS = {
    "text": TEXT,
    "unknown": TEXT,
    "cstring": TEXT,
    "name": Codec(_name_in, same_text, text_binary_in, text_binary_out, key_kind="text"),
    "varchar": Codec(
        _varchar_in,
        same_text,
        _varchar_binary_in,
        text_binary_out,
        apply_typmod=fit_varchar,
        key_kind="text",
        typmod_in=_length_typmod("varchar"),
        typmod_out=_length_out,
    ),
    "bpchar": Codec(
        _bpchar_in,
        same_text,
        _bpchar_binary_in,
        text_binary_out,
        apply_typmod=fit_bpchar,
        key_kind="text",
        key=_bpchar_key,
        typmod_in=_length_typmod("char"),
        typmod_out=_length_out,
    ),
    "char": Codec(_char_in, _char_out, _char_binary_in, _char_binary_out, key_kind="text"),
}
