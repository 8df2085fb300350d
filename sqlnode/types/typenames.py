"""Type names as SQL writes them, read back: what `'character varying(10)[]'::regtype` needs."""

import re

from sqlnode.types.registry import array_of, by_name, by_oid

_SPELLINGS = {
    "bigint": "int8",
    "bit varying": "varbit",
    "boolean": "bool",
    "char": "bpchar",
    "char varying": "varchar",
    "character": "bpchar",
    "character varying": "varchar",
    "dec": "numeric",
    "decimal": "numeric",
    "double precision": "float8",
    "float": "float8",
    "int": "int4",
    "integer": "int4",
    "nchar": "bpchar",
    "real": "float4",
    "smallint": "int2",
    "time with time zone": "timetz",
    "time without time zone": "time",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}
_ARRAY = re.compile(r"\s*\[\s*\d*\s*\]")
_MODIFIER = re.compile(r"\s*\(([^)]*)\)")
_SPACE = re.compile(r"\s+")


def parse_type(text: str) -> tuple[int, int] | None:
    """(OID, typmod) of a type written in SQL, None if no built-in type is called that."""
    dimensions = len(_ARRAY.findall(text))
    bare = _ARRAY.sub("", text)
    found = _MODIFIER.search(bare)
    modifiers = [] if found is None else [part.strip() for part in found[1].split(",")]
    name = _SPACE.sub(" ", _MODIFIER.sub("", bare)).strip()
    if name.startswith('"') and name.endswith('"'):
        sql_type = by_name(name[1:-1])
    else:
        lowered = name.lower().removeprefix("pg_catalog.").strip('"')
        sql_type = by_name(_SPELLINGS.get(lowered, lowered))
    if sql_type is None:
        return None
    typmod = sql_type.typmod_in(modifiers) if modifiers and sql_type.typmod_in else -1
    return (array_of(sql_type.oid) if dimensions else sql_type.oid), typmod


def find_type(text: str) -> int | None:
    """OID of a type written in SQL or given as a number; None if there is none."""
    if text.isdigit():
        return by_oid(int(text)).oid
    found = parse_type(text)
    return None if found is None else found[0]
