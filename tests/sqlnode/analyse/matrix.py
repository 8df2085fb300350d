"""Every operator and cast between every two common types, as statements."""

from collections.abc import Iterator
from typing import Any

TYPES = (
    *("NULL", "int2", "int4", "int8", "numeric", "float8", "text", "varchar", "bpchar", "name"),
    *("bool", "date", "time", "timestamp", "timestamptz", "interval", "bytea", "oid", "int4[]"),
    *("jsonb", "uuid"),
)
FORMS = (
    *(f"{{0}} {op} {{1}}" for op in ("+", "-", "*", "/", "=", "<", "||", "~~", "->", "@>")),
    *("coalesce({0}, {1})", "{0} IN ({1}, {1})", "round({0}, {1})", "date_trunc({0}, {1})"),
    *("array_append({0}, {1})", "substr({0}, {1})", "concat({0}, {1})", "power({0}, {1})"),
)


def rows() -> Iterator[tuple[str, list[str]]]:
    """(label, statements) per form and left type."""
    for form in FORMS:
        for left in TYPES:
            label = form.format(left, "_")
            yield label, [f"SELECT {form.format(_null(left), _null(right))}" for right in TYPES]


def _null(name: str) -> str:
    return name if name == "NULL" else f"NULL::{name}"


def cell(described: dict[str, Any]) -> str:
    """The result's type OID, or the SQLSTATE."""
    if "error" in described:
        return str(described["error"][0])
    return str(described["columns"][0][1])
