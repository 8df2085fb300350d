"""Which coercions exist: PostgreSQL's casts and the rules for when each may be used.

The contexts are ordered: implicit (in any expression) < assignment (storing into a column) <
explicit (CAST). The rules are those of the manual's section 10 and of CREATE CAST.
"""

from enum import IntEnum

from sqlnode.functions import registry as functions
from sqlnode.types import oids
from sqlnode.types import registry as types


class Context(IntEnum):
    """How much a coercion was asked for."""

    IMPLICIT = 0
    ASSIGNMENT = 1
    EXPLICIT = 2


_CONTEXTS = {"i": Context.IMPLICIT, "a": Context.ASSIGNMENT, "e": Context.EXPLICIT}

POLYMORPHIC_SIMPLE = frozenset(
    {oids.ANYELEMENT, oids.ANYARRAY, oids.ANYNONARRAY, oids.ANYENUM, oids.ANYRANGE}
    | {oids.ANYMULTIRANGE}
)
POLYMORPHIC_COMPATIBLE = frozenset(
    {oids.ANYCOMPATIBLE, oids.ANYCOMPATIBLEARRAY, oids.ANYCOMPATIBLENONARRAY}
    | {oids.ANYCOMPATIBLERANGE, oids.ANYCOMPATIBLEMULTIRANGE}
)
POLYMORPHIC = POLYMORPHIC_SIMPLE | POLYMORPHIC_COMPATIBLE


def base_type(oid: int) -> int:
    """What a domain is over, or the type itself."""
    found = types.find(oid)
    while found is not None and found.kind == "d":
        oid = found.base_type
        found = types.find(oid)
    return oid


def category(oid: int) -> str:
    """pg_type.typcategory: N numbers, S strings, X unknown …"""
    return types.by_oid(oid).category


def is_preferred(oid: int) -> bool:
    """Whether the type is the preferred one of its category."""
    return types.by_oid(oid).preferred


def find_pathway(target: int, source: int, context: Context) -> tuple[str, int] | None:
    """How to coerce: ("relabel", 0), ("function", OID), ("io", 0) or ("array", 0); None: not."""
    source = base_type(source)
    target = base_type(target)
    if source == target:
        return "relabel", 0
    found = functions.cast(source, target)
    if found is not None:
        if context < _CONTEXTS[found.context]:
            return None
        if found.method == "f":
            return "function", found.function
        return ("io", 0) if found.method == "i" else ("relabel", 0)
    if target not in (oids.OIDVECTOR, oids.INT2VECTOR):
        target_element = types.element_of(target)
        source_element = types.element_of(source)
        if target_element and source_element:
            inner = find_pathway(target_element, source_element, context)
            return None if inner is None else ("array", 0)
    if context >= Context.ASSIGNMENT and category(target) == "S":
        return "io", 0
    if context >= Context.EXPLICIT and category(source) == "S":
        return "io", 0
    return None


def is_complex(oid: int) -> bool:
    """Whether the type is a named composite type."""
    found = types.find(base_type(oid))
    return found is not None and found.kind == "c"


def can_coerce_one(source: int, target: int, context: Context) -> bool:
    """Whether a value of `source` can become a `target`, polymorphic targets taking all."""
    if source == target or target == oids.ANY or target in POLYMORPHIC:
        return True
    if source == oids.UNKNOWN or find_pathway(target, source, context) is not None:
        return True
    if source == oids.RECORD and is_complex(target):
        return True
    if target == oids.RECORD and is_complex(source):
        return True
    return target == oids.RECORD_ARRAY and is_complex(types.element_of(source) or oids.RECORD_ARRAY)
