"""json (not jsonb): its parts are pieces of the text as it was written."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.family import Family
from sqlnode.types.array import Array
from sqlnode.types.base import Value

FAMILY = Family()
_DECODER = json.JSONDecoder()
_SPACE = " \t\n\r"


def _skip(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def members(text: str) -> Iterator[tuple[str, str]]:
    """(key, text of the value) of an object, in the order written; nothing for other documents.

    The text was checked when it became a json value."""
    at = _skip(text, 0)
    if text[at] != "{":
        return
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, at)
        yield key, text[at:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def items(text: str) -> Iterator[str]:
    """The texts of an array's items; nothing for other documents."""
    at = _skip(text, 0)
    if text[at] != "[":
        return
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        yield text[at:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _field(text: str, key: str) -> str | None:
    found = None
    for name, value in members(text):
        if name == key:
            found = value
    return found


def _element(text: str, index: int) -> str | None:
    every = list(items(text))
    return every[index] if -len(every) <= index < len(every) else None


def _path(text: str, path: Array) -> str | None:
    found: str | None = text
    for word in path.elements:
        if found is None or word is None:
            return None
        if found.lstrip(_SPACE).startswith("["):
            found = _element(found, int(word)) if word.lstrip("-").isdigit() else None
        else:
            found = _field(found, word)
    return found


def _unquoted(raw: str | None) -> str | None:
    if raw is None or raw == "null":
        return None
    stripped = raw.strip(_SPACE)
    if not stripped.startswith('"'):
        return None if stripped == "null" else raw
    text: str = json.loads(stripped)
    return text


def _as_text(find: Callable[[str, Any], str | None]) -> Callable[[str, Value], str | None]:
    return lambda text, key: _unquoted(find(text, key))


for _key, _find in (
    ("json_object_field", _field),
    ("json_array_element", _element),
    ("json_extract_path", _path),
):
    _typed: Callable[[str, Any], str | None] = _find
    FAMILY.call(_typed, _key)
    FAMILY.call(_as_text(_typed), f"{_key}_text")


def _kind(text: str) -> str:
    return {"{": "an object", "[": "an array"}.get(text.lstrip(_SPACE)[:1], "a scalar")


@FAMILY.function("json_array_elements")
def array_elements(text: str) -> list[str]:
    """The items as rows; 22023 for what is no array."""
    if _kind(text) != "an array":
        verb = "call json_array_elements on a non-array"
        message = (
            f"cannot {verb}"
            if _kind(text) == "an object"
            else ("cannot call json_array_elements on a scalar")
        )
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, message)
    return list(items(text))


@FAMILY.function("json_array_elements_text")
def array_elements_text(text: str) -> list[str | None]:
    """The items as rows of text."""
    return [_unquoted(item) for item in array_elements(text)]


def _members(text: str, function: str) -> list[tuple[str, str]]:
    if _kind(text) != "an object":
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f"cannot call {function} on {_kind(text)}")
    return list(members(text))


@FAMILY.function("json_object_keys")
def object_keys(text: str) -> list[str]:
    """The keys as rows, in the order written; 22023."""
    return [key for key, _ in _members(text, "json_object_keys")]


@FAMILY.function("json_each")
def each(text: str) -> list[tuple[str, str]]:
    """Keys and values as rows; 22023."""
    return _members(text, "json_each")


@FAMILY.function("json_each_text")
def each_text(text: str) -> list[tuple[str, str | None]]:
    """Keys and values as rows of text; 22023."""
    return [(key, _unquoted(value)) for key, value in _members(text, "json_each_text")]
