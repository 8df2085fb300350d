"""Type names as SQL writes them (format_type)."""

from sqlnode.types import oids
from sqlnode.types.base import SqlType
from sqlnode.types.keywords import RESERVED

_SQL_NAMES = {
    oids.BOOL: "boolean",
    oids.CHAR: '"char"',
    oids.INT2: "smallint",
    oids.INT4: "integer",
    oids.INT8: "bigint",
    oids.FLOAT4: "real",
    oids.FLOAT8: "double precision",
    oids.NUMERIC: "numeric",
    oids.VARCHAR: "character varying",
    oids.BIT: "bit",
    oids.VARBIT: "bit varying",
    oids.TIME: "time without time zone",
    oids.TIMETZ: "time with time zone",
    oids.TIMESTAMP: "timestamp without time zone",
    oids.TIMESTAMPTZ: "timestamp with time zone",
    oids.INTERVAL: "interval",
}
_PRECISION_INSIDE = {oids.TIME, oids.TIMETZ, oids.TIMESTAMP, oids.TIMESTAMPTZ}


def type_text(sql_type: SqlType, typmod: int | None) -> str:
    """The SQL name of a type that is no array, with its modifier where it has one.

    None is "no modifier is spoken of"; -1 is "there is none", and then `character` and `bit`, which
    would read as of length 1, are written by their internal names.
    """
    if sql_type.oid == oids.BPCHAR:
        return "bpchar" if typmod == -1 else f"character{_modifier(sql_type, typmod)}"
    if sql_type.oid == oids.BIT and typmod == -1:
        return '"bit"'
    name = _SQL_NAMES.get(sql_type.oid)
    if name is None:
        return quoted(sql_type.name) + _modifier(sql_type, typmod)
    if sql_type.oid in _PRECISION_INSIDE:
        head, _, tail = name.partition(" ")
        return f"{head}{_modifier(sql_type, typmod)} {tail}"
    return name + _modifier(sql_type, typmod)


def _modifier(sql_type: SqlType, typmod: int | None) -> str:
    if typmod is None or typmod < 0 or sql_type.typmod_out is None:
        return ""
    return sql_type.typmod_out(typmod)


def quoted(identifier: str) -> str:
    """quote_ident: the identifier, in double quotes where SQL needs them."""
    plain = (
        identifier != ""
        and (identifier[0] == "_" or "a" <= identifier[0] <= "z")
        and all(c == "_" or "a" <= c <= "z" or "0" <= c <= "9" for c in identifier)
        and identifier not in RESERVED
    )
    return identifier if plain else '"' + identifier.replace('"', '""') + '"'
