"""reg* types: OIDs that read and print as the names of what they identify.

A relation, schema or role is looked up in the tenant's catalog, which the session's settings carry
(they are a FunctionContext there); types and functions are PostgreSQL's built-in ones. Without a
catalog, as when a default expression is printed at start, only numbers are read and printed.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlnode import sqlstate
from sqlnode.errors import SqlError, unsupported
from sqlnode.types.base import FormatSettings
from sqlnode.types.codec import Codec
from sqlnode.types.formatting import quoted
from sqlnode.types.identifiers import u32_in, u32_out

if TYPE_CHECKING:
    from sqlnode.functions.base import CatalogFunctions, Function

ToOid = Callable[[str, FormatSettings], int]
ToText = Callable[[int, FormatSettings], str | None]

PG_CATALOG = 11


def catalog_of(settings: FormatSettings) -> "CatalogFunctions | None":
    """The tenant's catalog, where the settings are a session's."""
    found: CatalogFunctions | None = getattr(settings, "catalog", None)
    return found


def search_path_of(settings: FormatSettings) -> Sequence[str]:
    """The session's effective search path."""
    find: Callable[[], Sequence[str]] | None = getattr(settings, "search_path", None)
    return find() if find is not None else ("pg_catalog",)


def split_name(text: str) -> list[str]:
    """The parts of a possibly qualified, possibly quoted name; 42602."""
    parts: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if text[at : at + 1] == '"':
            part, at = _quoted_part(text, at)
        else:
            start = at
            while at < len(text) and text[at] != "." and not text[at].isspace():
                at += 1
            part = text[start:at].lower()
            if not part:
                raise SqlError(sqlstate.INVALID_NAME, "invalid name syntax")
        parts.append(part)
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            return parts
        if text[at] != ".":
            raise SqlError(sqlstate.INVALID_NAME, "invalid name syntax")
        at += 1


def _quoted_part(text: str, at: int) -> tuple[str, int]:
    out = []
    at += 1
    while True:
        end = text.find('"', at)
        if end < 0:
            raise SqlError(sqlstate.INVALID_NAME, "invalid name syntax")
        out.append(text[at:end])
        at = end + 1
        if text[at : at + 1] != '"':
            return "".join(out), at
        out.append('"')
        at += 1


def _split_qualified(text: str, settings: FormatSettings) -> tuple[str | None, str]:
    parts = split_name(text)
    if len(parts) == 3 and parts[0] == getattr(settings, "current_database", None):
        parts = parts[1:]
    if len(parts) > 2:
        raise SqlError(
            sqlstate.FEATURE_NOT_SUPPORTED if len(parts) == 3 else sqlstate.SYNTAX_ERROR,
            f"cross-database references are not implemented: {text}"
            if len(parts) == 3
            else f"improper relation name (too many dotted names): {text}",
        )
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


# --- relations ---------------------------------------------------------------------------------


def find_relation(text: str, settings: FormatSettings) -> int | None:
    """OID of the relation a name in SQL syntax stands for."""
    catalog = catalog_of(settings)
    if catalog is None:
        raise unsupported("looking up a relation outside a session")
    schema, name = _split_qualified(text, settings)
    return catalog.relation_oid(name, schema, search_path_of(settings))


def _relation(text: str, settings: FormatSettings) -> int:
    found = find_relation(text, settings)
    if found is None:
        schema, name = _split_qualified(text, settings)
        catalog = catalog_of(settings)
        if schema is not None and catalog is not None and catalog.schema_oid(schema) is None:
            raise SqlError(sqlstate.INVALID_SCHEMA_NAME, f'schema "{schema}" does not exist')
        shown = name if schema is None else f"{schema}.{name}"
        raise SqlError(sqlstate.UNDEFINED_TABLE, f'relation "{shown}" does not exist')
    return found


def relation_text(oid: int, settings: FormatSettings) -> str | None:
    """Its name, qualified where the search path does not lead to it."""
    catalog = catalog_of(settings)
    found = None if catalog is None else catalog.relation_name(oid)
    if catalog is None or found is None:
        return None
    schema, name = found
    if catalog.relation_oid(name, None, search_path_of(settings)) == oid:
        return quoted(name)
    return f"{quoted(schema)}.{quoted(name)}"


# --- schemas and roles -------------------------------------------------------------------------


def _single(text: str) -> str:
    parts = split_name(text)
    if len(parts) != 1:
        raise SqlError(sqlstate.INVALID_NAME, "invalid name syntax")
    return parts[0]


def find_schema(text: str, settings: FormatSettings) -> int | None:
    """OID of a schema by its name in SQL syntax."""
    catalog = catalog_of(settings)
    return None if catalog is None else catalog.schema_oid(_single(text))


def _schema(text: str, settings: FormatSettings) -> int:
    found = find_schema(text, settings)
    if found is None:
        raise SqlError(sqlstate.INVALID_SCHEMA_NAME, f'schema "{_single(text)}" does not exist')
    return found


def _schema_text(oid: int, settings: FormatSettings) -> str | None:
    catalog = catalog_of(settings)
    name = None if catalog is None else catalog.schema_name(oid)
    return None if name is None else quoted(name)


def find_role(text: str, settings: FormatSettings) -> int | None:
    """OID of a role by its name in SQL syntax."""
    catalog = catalog_of(settings)
    return None if catalog is None else catalog.role_oid(_single(text))


def _role(text: str, settings: FormatSettings) -> int:
    found = find_role(text, settings)
    if found is None:
        raise SqlError(sqlstate.UNDEFINED_OBJECT, f'role "{_single(text)}" does not exist')
    return found


def _role_text(oid: int, settings: FormatSettings) -> str | None:
    catalog = catalog_of(settings)
    name = None if catalog is None else catalog.role_name(oid)
    return None if name is None else quoted(name)


# --- types -------------------------------------------------------------------------------------


def _type(text: str, settings: FormatSettings) -> int:
    from sqlnode.types.typenames import find_type

    found = find_type(text)
    if found is None:
        raise SqlError(sqlstate.UNDEFINED_OBJECT, f'type "{text}" does not exist')
    return found


def _type_text(oid: int, settings: FormatSettings) -> str | None:
    from sqlnode.types.registry import find, format_type

    return None if find(oid) is None else format_type(oid)


# --- functions ---------------------------------------------------------------------------------


def find_functions(text: str, settings: FormatSettings) -> "tuple[Function, ...]":
    """The built-in functions of a name in SQL syntax."""
    from sqlnode.functions.registry import functions

    schema, name = _split_qualified(text, settings)
    if schema not in {None, "pg_catalog"}:
        return ()
    return tuple(made for made in functions(name) if made.namespace == PG_CATALOG)


def _function(text: str, settings: FormatSettings) -> int:
    found = find_functions(text, settings)
    if not found:
        raise SqlError(sqlstate.UNDEFINED_FUNCTION, f'function "{text}" does not exist')
    if len(found) > 1:
        raise SqlError(sqlstate.AMBIGUOUS_FUNCTION, f'more than one function named "{text}"')
    return found[0].oid


def _function_text(oid: int, settings: FormatSettings) -> str | None:
    from sqlnode.functions.registry import find_function, functions

    found = find_function(oid)
    if found is None:
        return None
    unique = len(functions(found.name)) == 1
    return quoted(found.name) if unique else f"pg_catalog.{quoted(found.name)}"


def find_procedure(text: str, settings: FormatSettings) -> int | None:
    """OID of the function a signature such as `abs(integer)` names; 22P02."""
    name, opened, rest = text.partition("(")
    if not opened or not rest.rstrip().endswith(")"):
        raise SqlError(
            sqlstate.INVALID_TEXT_REPRESENTATION,
            "expected a left parenthesis" if not opened else "expected a right parenthesis",
        )
    inside = rest.rstrip()[:-1]
    arguments = [_type(word.strip(), settings) for word in inside.split(",")] if inside else []
    for made in find_functions(name, settings):
        if made.argument_types == tuple(arguments):
            return made.oid
    return None


def _procedure(text: str, settings: FormatSettings) -> int:
    found = find_procedure(text, settings)
    if found is None:
        raise SqlError(sqlstate.UNDEFINED_FUNCTION, f'function "{text}" does not exist')
    return found


def _procedure_text(oid: int, settings: FormatSettings) -> str | None:
    from sqlnode.functions.registry import find_function
    from sqlnode.types.registry import format_type

    found = find_function(oid)
    if found is None:
        return None
    return f"{quoted(found.name)}({','.join(map(format_type, found.argument_types))})"


def _operator(text: str, settings: FormatSettings) -> int:
    from sqlnode.functions.registry import operators

    found = operators(text.removeprefix("pg_catalog."))
    if not found:
        raise SqlError(sqlstate.UNDEFINED_FUNCTION, f"operator does not exist: {text}")
    if len(found) > 1:
        raise SqlError(sqlstate.AMBIGUOUS_FUNCTION, f"more than one operator named {text}")
    return found[0].oid


def _operator_text(oid: int, settings: FormatSettings) -> str | None:
    from sqlnode.functions.registry import find_operator, operators

    found = find_operator(oid)
    if found is None:
        return None
    return found.name if len(operators(found.name)) == 1 else f"pg_catalog.{found.name}"


def _codec(to_oid: ToOid, to_text: ToText) -> Codec:
    def text_in(text: str, typmod: int, settings: FormatSettings) -> int:
        if text == "-":
            return 0
        if text.isascii() and text.isdigit():
            return int(text)
        return to_oid(text, settings)

    def text_out(value: int, settings: FormatSettings) -> str:
        if value == 0:
            return "-"
        return to_text(value, settings) or str(value)

    return Codec(text_in, text_out, u32_in, u32_out, struct_code="I", key_kind="int")


CODECS = {
    "regclass": _codec(_relation, relation_text),
    "regtype": _codec(_type, _type_text),
    "regproc": _codec(_function, _function_text),
    "regprocedure": _codec(_procedure, _procedure_text),
    "regoper": _codec(_operator, _operator_text),
    "regnamespace": _codec(_schema, _schema_text),
    "regrole": _codec(_role, _role_text),
}
