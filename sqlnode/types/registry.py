"""All types by OID and by name: PostgreSQL's facts joined to the codecs written here.

A type without a codec of its own (geometry, ranges, text search …) is known by its facts, so that
overloads resolve as in PostgreSQL; reading or printing a value of it is refused as unsupported.
"""

from collections.abc import Mapping
from typing import NoReturn

from sqlnode import sqlstate
from sqlnode.builtins.facts import facts
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import (
    arrays,
    binary,
    booleans,
    dates,
    floats,
    identifiers,
    integers,
    intervals,
    jsons,
    numerics,
    objects,
    opaque,
    records,
    texts,
    times,
    timestamps,
    uuids,
)
from sqlnode.types.base import SqlType, Value
from sqlnode.types.codec import Codec
from sqlnode.types.formatting import type_text

_FAMILIES: tuple[Mapping[str, Codec], ...] = (
    binary.CODECS,
    booleans.CODECS,
    dates.CODECS,
    floats.CODECS,
    identifiers.CODECS,
    integers.CODECS,
    intervals.CODECS,
    jsons.CODECS,
    numerics.CODECS,
    objects.CODECS,
    opaque.CODECS,
    records.CODECS,
    texts.CODECS,
    times.CODECS,
    timestamps.CODECS,
    uuids.CODECS,
)
PG_CATALOG = 11

_by_oid: dict[int, SqlType] = {}
_by_name: dict[str, SqlType] = {}


def by_oid(oid: int) -> SqlType:
    """The type `oid`; SqlError XX000 if there is none."""
    found = _by_oid.get(oid)
    if found is None:
        raise SqlError(sqlstate.INTERNAL_ERROR, f"cache lookup failed for type {oid}")
    return found


def find(oid: int) -> SqlType | None:
    """The type `oid`, None if there is none."""
    return _by_oid.get(oid)


def by_name(name: str) -> SqlType | None:
    """The pg_catalog type called `name`, by its pg_type name (int4, varchar, _text)."""
    return _by_name.get(name)


def array_of(oid: int) -> int:
    """OID of the array type over `oid`, 0 if there is none."""
    return by_oid(oid).array_oid


def element_of(oid: int) -> int:
    """OID of the element type of the array type `oid`, 0 if it is no array."""
    found = by_oid(oid)
    return found.element_oid if is_array(oid) else 0


def is_array(oid: int) -> bool:
    """Whether `oid` is an array type proper (int2vector and oidvector count)."""
    found = _by_oid.get(oid)
    return found is not None and found.element_oid != 0 and found.category == "A"


def format_type(oid: int, typmod: int | None = None) -> str:
    """The SQL name of a type, such as `character varying(10)[]`; `???` if there is none."""
    found = _by_oid.get(oid)
    if found is None:
        return "-" if oid == 0 else "???"
    if is_array(oid) and found.name.startswith("_"):
        return format_type(found.element_oid, typmod) + "[]"
    return type_text(found, typmod)


def _refuse(name: str) -> Codec:
    def refuse(*_: Value) -> NoReturn:
        raise unsupported(f"type {name}")

    return Codec(refuse, refuse, refuse, refuse)


def _load() -> None:
    codecs = {name: codec for family in _FAMILIES for name, codec in family.items()}
    table = facts("pg_type")
    names = [column.name for column in table.columns]
    pending: list[dict[str, str]] = []
    for row in table.rows:
        fact = {name: value or "" for name, value in zip(names, row, strict=True)}
        if fact["typcategory"] == "A" and fact["typname"].startswith("_"):
            pending.append(fact)
        else:
            codec = codecs.pop(fact["typname"], None) or _derived(fact)
            _register(fact, codec)
    if codecs:
        raise LookupError(f"codecs of types PostgreSQL does not have: {sorted(codecs)}")
    for fact in pending:
        _register(fact, arrays.codec_for(_by_oid[int(fact["typelem"])]))


def _derived(fact: dict[str, str]) -> Codec | None:
    if fact["typtype"] == "c":
        return records.CODECS["record"]
    base = _by_oid.get(int(fact["typbasetype"]))
    if base is None or not base.implemented:
        return None
    return Codec(
        base.text_in,
        base.text_out,
        base.binary_in,
        base.binary_out,
        base.apply_typmod,
        base.struct_code,
        base.key_kind,
        base.key,
    )


def _register(fact: dict[str, str], codec: Codec | None) -> None:
    used = codec or _refuse(fact["typname"])
    made = SqlType(
        oid=int(fact["oid"]),
        name=fact["typname"],
        length=int(fact["typlen"]),
        by_value=fact["typbyval"] == "t",
        kind=fact["typtype"],
        category=fact["typcategory"],
        preferred=fact["typispreferred"] == "t",
        array_oid=int(fact["typarray"]),
        element_oid=int(fact["typelem"]),
        collatable=fact["typcollation"] != "0",
        text_in=used.text_in,
        text_out=used.text_out,
        binary_in=used.binary_in,
        binary_out=used.binary_out,
        apply_typmod=used.apply_typmod,
        struct_code=used.struct_code,
        key_kind=used.key_kind,
        key=used.key,
        typmod_in=used.typmod_in,
        typmod_out=used.typmod_out,
        delimiter=fact["typdelim"],
        relation_oid=int(fact["typrelid"]),
        base_type=int(fact["typbasetype"]),
        implemented=codec is not None,
    )
    _by_oid[made.oid] = made
    if int(fact["typnamespace"]) == PG_CATALOG:
        _by_name[made.name] = made


_load()
