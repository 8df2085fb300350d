"""Type names of the grammar to (OID, typmod)."""

from sqlnode.analyse.locations import position
from sqlnode.analyse.state import Node
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import registry as types
from sqlnode.types.base import SqlType

_SERIAL = {"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}


def name_parts(names: Node) -> list[str]:
    """The words of a qualified name."""
    return [part.string.sval for part in names]


def resolve(type_name: Node) -> tuple[int, int]:
    """(type OID, typmod) of a TypeName; raises SqlError 42704 where there is no such type."""
    names = name_parts(type_name.names)
    found = _lookup(names)
    at = position(type_name.location)
    if type_name.setof or type_name.pct_type:
        raise unsupported("SETOF and %TYPE", position=at)
    if found is None or found.name in _SERIAL:
        shown = ".".join(names) + "[]" * len(type_name.array_bounds)
        raise SqlError("42704", f'type "{shown}" does not exist', position=at)
    typmod = _typmod(type_name, found)
    if not type_name.array_bounds:
        return found.oid, typmod
    if not found.array_oid:
        shown = types.format_type(found.oid)
        raise SqlError("42704", f"could not find array type for data type {shown}", position=at)
    return found.array_oid, typmod


def lookup_function_style(names: list[str]) -> int:
    """OID of the type a call such as text(x) may mean, 0 if there is none."""
    found = _lookup(names)
    return found.oid if found is not None else 0


def _lookup(names: list[str]) -> SqlType | None:
    if len(names) > 1 and names[-2] not in ("pg_catalog", "information_schema"):
        return None
    return types.by_name(names[-1])


def _typmod(type_name: Node, found: SqlType) -> int:
    if not type_name.typmods:
        return int(type_name.typemod)
    at = position(type_name.location)
    modifiers = [_modifier(node, at) for node in type_name.typmods]
    if found.typmod_in is None:
        shown = types.format_type(found.oid)
        raise SqlError("42601", f'type modifier is not allowed for type "{shown}"', position=at)
    try:
        return found.typmod_in(modifiers)
    except SqlError as error:
        if error.position is None:
            error.position = at
        raise


def _modifier(node: Node, at: int | None) -> str:
    kind = node.WhichOneof("node")
    if kind == "a_const":
        value = node.a_const.WhichOneof("val")
        if value == "ival":
            return str(node.a_const.ival.ival)
        if value == "fval":
            return str(node.a_const.fval.fval)
        if value == "sval":
            return str(node.a_const.sval.sval)
    if kind == "column_ref" and len(node.column_ref.fields) == 1:
        return str(node.column_ref.fields[0].string.sval)
    message = "type modifiers must be simple constants or identifiers"
    raise SqlError("42601", message, position=at)
