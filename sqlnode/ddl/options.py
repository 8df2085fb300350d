"""Storage parameters: checked as PostgreSQL checks them, kept, shown, without effect."""

from collections.abc import Iterable
from typing import Any

from sqlnode import sqlstate
from sqlnode.errors import SqlError

_RANGES: dict[str, tuple[int, int]] = {
    "fillfactor": (10, 100),
    "toast_tuple_target": (128, 8160),
    "parallel_workers": (0, 1024),
    "autovacuum_vacuum_threshold": (0, 2**31 - 1),
    "autovacuum_analyze_threshold": (0, 2**31 - 1),
    "autovacuum_vacuum_cost_limit": (1, 10_000),
}
_OTHERS = frozenset(
    {
        "autovacuum_enabled",
        "autovacuum_vacuum_scale_factor",
        "autovacuum_analyze_scale_factor",
        "autovacuum_vacuum_cost_delay",
        "vacuum_truncate",
        "vacuum_index_cleanup",
        "user_catalog_table",
    }
)


def storage_options(options: Iterable[Any]) -> tuple[str, ...]:
    """`name=value` of each option. Raises SqlError 22023."""
    found = []
    for wrapped in options:
        name, value = wrapped.def_elem.defname, _text(wrapped.def_elem.arg)
        if name == "oids" and value in ("false", "off", "0"):
            continue
        if name not in _RANGES and name not in _OTHERS:
            raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f'unrecognized parameter "{name}"')
        if name in _RANGES:
            _check_range(name, value)
        found.append(f"{name}={value}")
    return tuple(found)


def _check_range(name: str, value: str) -> None:
    low, high = _RANGES[name]
    try:
        number = int(value)
    except ValueError:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            f'invalid value for integer option "{name}": {value}',
        ) from None
    if not low <= number <= high:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            f'value {value} out of bounds for option "{name}"',
            detail=f'Valid values are between "{low}" and "{high}".',
        )


def _text(argument: Any) -> str:
    kind = argument.WhichOneof("node")
    if kind is None:
        return "true"
    inner = getattr(argument, kind)
    if kind == "integer":
        return str(inner.ival)
    if kind == "float":
        return str(inner.fval)
    if kind == "boolean":
        return "true" if inner.boolval else "false"
    return str(inner.sval if kind == "string" else inner.names[-1].string.sval)
