"""bytea: digests, encodings, bits and bytes; random UUIDs."""

import base64
import binascii
import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.family import Family
from sqlnode.types.binary import escaped_bytes, hex_bytes
from sqlnode.types.reading import text_binary_in

FAMILY = Family()
_BASE64_LINE = 76

FAMILY.inlines(
    {},
    {
        "byteacat": "({0} + {1})",
        "byteaoctetlen": "len({0})",
        "byteapos": "({0}.find({1}) + 1)",
    },
)


def _digest(make: Callable[..., Any]) -> Callable[[bytes], bytes]:
    def digest(value: bytes) -> bytes:
        computed: bytes = make(value).digest()
        return computed

    return digest


for _key, _make in (
    ("sha224_bytea", hashlib.sha224),
    ("sha256_bytea", hashlib.sha256),
    ("sha384_bytea", hashlib.sha384),
    ("sha512_bytea", hashlib.sha512),
):
    FAMILY.call(_digest(_make), _key)


@FAMILY.function("md5_bytea")
def md5_bytes(value: bytes) -> str:
    """md5(bytea)."""
    return hashlib.md5(value, usedforsecurity=False).hexdigest()


@FAMILY.function("gen_random_uuid")
def random_uuid() -> uuid.UUID:
    """gen_random_uuid()."""
    return uuid.uuid4()


def _unknown(name: str) -> SqlError:
    return SqlError(sqlstate.INVALID_PARAMETER_VALUE, f'unrecognized encoding: "{name}"')


@FAMILY.function("binary_encode")
def encode(value: bytes, form: str) -> str:
    """encode(): hex, base64 (lines of 76), escape; 22023."""
    name = form.lower()
    if name == "hex":
        return value.hex()
    if name == "escape":
        return escape_bytes_only(value)
    if name == "base64":
        text = base64.b64encode(value).decode()
        return "\n".join(text[i : i + _BASE64_LINE] for i in range(0, len(text), _BASE64_LINE))
    raise _unknown(form)


def escape_bytes_only(value: bytes) -> str:
    """encode(…, 'escape') leaves all but zero, high bytes and backslashes as they are."""
    return "".join(
        "\\\\" if b == 0x5C else f"\\{b:03o}" if b == 0 or b >= 0x80 else chr(b) for b in value
    )


@FAMILY.function("binary_decode")
def decode(text: str, form: str) -> bytes:
    """decode(); 22023."""
    name = form.lower()
    if name == "hex":
        return hex_bytes(text)
    if name == "escape":
        return escaped_bytes(text)
    if name == "base64":
        return _from_base64(text)
    raise _unknown(form)


def _from_base64(text: str) -> bytes:
    for character in text:
        if character not in " \t\r\n=" and not (character.isascii() and character.isalnum()):
            if character in "+/":
                continue
            raise SqlError(
                sqlstate.INVALID_PARAMETER_VALUE,
                f'invalid symbol "{character}" found while decoding base64 sequence',
            )
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            "invalid base64 end sequence",
            hint="Input data is missing padding, is truncated, or is otherwise corrupted.",
        ) from None


@FAMILY.function("pg_convert_from")
def convert_from(value: bytes, encoding: str) -> str:
    """convert_from(bytes, encoding); 22021, 42704."""
    codec = _codec(encoding, "source")
    return text_binary_in(value, -1) if codec == "utf-8" else value.decode(codec)


@FAMILY.function("pg_convert_to")
def convert_to(text: str, encoding: str) -> bytes:
    """convert_to(text, encoding); 22P05."""
    try:
        return text.encode(_codec(encoding, "destination"))
    except UnicodeEncodeError:
        raise SqlError(
            sqlstate.UNTRANSLATABLE_CHARACTER,
            f'character has no equivalent in encoding "{encoding}"',
        ) from None


def _codec(encoding: str, which: str) -> str:
    known = {"utf8": "utf-8", "utf-8": "utf-8", "unicode": "utf-8", "latin1": "latin-1"}
    found = known.get(encoding.lower())
    if found is None:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE, f'invalid {which} encoding name "{encoding}"'
        )
    return found


def _check_index(index: int, length: int) -> None:
    if not 0 <= index < length:
        raise SqlError(
            sqlstate.ARRAY_SUBSCRIPT_ERROR,
            f"index {index} out of valid range, 0..{length - 1}",
        )


@FAMILY.function("byteaGetByte")
def get_byte(value: bytes, index: int) -> int:
    """get_byte(); 2202E."""
    _check_index(index, len(value))
    return value[index]


@FAMILY.function("byteaSetByte")
def set_byte(value: bytes, index: int, new: int) -> bytes:
    """set_byte(); 2202E."""
    _check_index(index, len(value))
    return value[:index] + bytes([new & 0xFF]) + value[index + 1 :]


@FAMILY.function("byteaGetBit")
def get_bit(value: bytes, index: int) -> int:
    """get_bit(); 2202E."""
    _check_index(index, len(value) * 8)
    return value[index // 8] >> (index % 8) & 1


@FAMILY.function("bytea_bit_count")
def bit_count(value: bytes) -> int:
    """bit_count()."""
    return int.from_bytes(value, "big").bit_count()
