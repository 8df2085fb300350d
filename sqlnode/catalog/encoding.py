"""Descriptors as bytes: one JSON object each, with a version in front.

    {"v": 1, "kind": "table", …}     fields that have their default are left out

JSON keeps the catalog readable in a dump of the tenant's keys, and fields can be added: an unknown
version is refused, an absent field is its default.
"""

import json
from dataclasses import MISSING, fields
from typing import Any

from sqlnode.catalog.catalog import Schema
from sqlnode.catalog.descriptors import (
    Column,
    Constraint,
    Index,
    IndexColumn,
    NumberSequence,
    Table,
)
from sqlnode.types.registry import by_oid

_VERSION = 1
Descriptor = Table | NumberSequence | Schema
_SHORT: dict[type, str] = {Table: "table", NumberSequence: "sequence", Schema: "schema"}
_LONG: dict[str, type] = {name: kind for kind, name in _SHORT.items()}
_PARTS: dict[tuple[type, str], type] = {
    (Table, "columns"): Column,
    (Table, "indexes"): Index,
    (Table, "constraints"): Constraint,
    (Index, "columns"): IndexColumn,
}
# Known from where the row is.
_NOT_STORED = {"tenant", "virtual", "live"}
# In descriptors of earlier releases, and of no use to this one.
_GONE = {(Table, "version")}


class BadDescriptor(ValueError):
    """Bytes that are no descriptor this version can read."""


def encode(descriptor: Descriptor) -> bytes:
    """The bytes of a descriptor."""
    body = {"v": _VERSION, "kind": _SHORT[type(descriptor)], **_fields(descriptor)}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes, *, tenant: int) -> Descriptor:
    """The descriptor in `data`. Raises BadDescriptor."""
    try:
        body = json.loads(data)
        version, kind = body.pop("v"), body.pop("kind")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadDescriptor("no descriptor") from error
    if version != _VERSION or kind not in _LONG:
        raise BadDescriptor(f"descriptor {kind!r} of version {version}")
    if kind == "table":
        body["tenant"] = tenant
    made: Descriptor = _made(_LONG[kind], body)
    return made


def encode_next_oid(next_oid: int) -> bytes:
    """The bytes of the catalog's head."""
    return json.dumps({"v": _VERSION, "next_oid": next_oid}).encode()


def decode_next_oid(data: bytes) -> int:
    """What `encode_next_oid` wrote. Raises BadDescriptor."""
    body = json.loads(data)
    if body.get("v") != _VERSION:
        raise BadDescriptor("the catalog's head has an unknown version")
    return int(body["next_oid"])


def _fields(descriptor: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in fields(descriptor):
        value = getattr(descriptor, each.name)
        if each.name in _NOT_STORED or (each.default is not MISSING and value == each.default):
            continue
        if each.name == "missing":
            found["missing"] = by_oid(descriptor.type).binary_out(value).hex()
        elif (type(descriptor), each.name) in _PARTS:
            found[each.name] = [_fields(part) for part in value]
        else:
            found[each.name] = value
    return found


def _made(kind: type, body: dict[str, Any]) -> Any:
    values: dict[str, Any] = {}
    for name, value in body.items():
        if (kind, name) in _GONE:
            continue
        part = _PARTS.get((kind, name))
        if part is not None:
            values[name] = tuple(_made(part, each) for each in value)
        elif name == "missing":
            values[name] = by_oid(body["type"]).binary_in(bytes.fromhex(value), -1)
        elif name == "layouts":
            values[name] = tuple(tuple(layout) for layout in value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)
