"""`=`, `<>`, `<`, `<=`, `>`, `>=` of every type that has them.

Most types' runtime values compare in Python as they do in SQL; those are pure inline templates.
The others (NaN, blanks of bpchar, documents, rows, arrays with NULLs) compare by the type's key.
"""

import operator
from collections.abc import Callable
from typing import Any

from sqlnode.functions import checks
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.family import Family
from sqlnode.types.base import Value
from sqlnode.types.calendar import (
    DATE_INFINITY,
    MICROS_PER_DAY,
    TIMESTAMP_INFINITY,
    TIMESTAMP_MINUS_INFINITY,
    is_finite_date,
    is_finite_timestamp,
)
from sqlnode.types.jsons import jsonb_order, parse_json
from sqlnode.types.records import record_key
from sqlnode.types.registry import by_oid
from sqlnode.types.zones import utc_of_local, zone

FAMILY = Family()

_SYMBOLS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}

_PLAIN = (
    "int2", "int4", "int8", "int24", "int28", "int42", "int48", "int82", "int84",
    "oid", "bool", "char", "name", "bytea", "date_", "time_",
    "timetz_", "timestamp_", "uuid_", "interval_", "xid8", "tid",
)  # fmt: skip
_templates = {
    f"{prefix}{suffix}": f"({{0}} {symbol} {{1}})"
    for prefix in _PLAIN
    for suffix, symbol in _SYMBOLS.items()
}
for _suffix, _symbol in _SYMBOLS.items():
    _name = f"text{_suffix}" if _suffix in {"eq", "ne"} else f"text_{_suffix}"
    _templates[_name] = f"({{0}} {_symbol} {{1}})"
    _templates[f"name{_suffix}text"] = f"({{0}} {_symbol} {{1}})"
    _templates[f"text{_suffix}name"] = f"({{0}} {_symbol} {{1}})"
    _templates[f"bpchar{_suffix}"] = f'({{0}}.rstrip(" ") {_symbol} {{1}}.rstrip(" "))'
    _templates[f"oidvector{_suffix}"] = (
        f"((len({{0}}.elements), {{0}}.elements) {_symbol} (len({{1}}.elements), {{1}}.elements))"
    )
for _suffix in ("lt", "le", "gt", "ge"):
    _templates[f"text_pattern_{_suffix}"] = f"({{0}} {_SYMBOLS[_suffix]} {{1}})"
    _templates[f"bpchar_pattern_{_suffix}"] = (
        f'({{0}}.rstrip(" ") {_SYMBOLS[_suffix]} {{1}}.rstrip(" "))'
    )
_templates |= {
    "xideq": "({0} == {1})",
    "xidneq": "({0} != {1})",
    "cideq": "({0} == {1})",
}
for _prefix, _lt, _le in (
    *((f"float{n}", "float_lt", "float_le") for n in (4, 8, 48, 84)),
    ("numeric_", "numeric_lt", "numeric_le"),
):
    _templates[f"{_prefix}eq"] = "number_eq({0}, {1})"
    _templates[f"{_prefix}ne"] = "number_ne({0}, {1})"
    _templates[f"{_prefix}lt"] = f"{_lt}({{0}}, {{1}})"
    _templates[f"{_prefix}le"] = f"{_le}({{0}}, {{1}})"
    _templates[f"{_prefix}gt"] = f"(not {_le}({{0}}, {{1}}))"
    _templates[f"{_prefix}ge"] = f"(not {_lt}({{0}}, {{1}}))"
FAMILY.inlines(vars(checks), _templates)


# --- date against timestamp --------------------------------------------------------------------


def date_as_timestamp(days: int) -> int:
    """Midnight of a date, which may lie beyond what a timestamp can hold (comparisons only)."""
    if is_finite_date(days):
        return days * MICROS_PER_DAY
    return TIMESTAMP_INFINITY if days == DATE_INFINITY else TIMESTAMP_MINUS_INFINITY


def _as_instant(context: FunctionContext, local: int) -> int:
    if not is_finite_timestamp(local):
        return local
    return utc_of_local(local, zone(context.time_zone))


def _crossed(suffix: str) -> None:
    compare = _OPERATORS[suffix]

    def date_timestamp(left: int, right: int) -> bool:
        return compare(date_as_timestamp(left), right)

    def timestamp_date(left: int, right: int) -> bool:
        return compare(left, date_as_timestamp(right))

    def date_timestamptz(context: FunctionContext, left: int, right: int) -> bool:
        return compare(_as_instant(context, date_as_timestamp(left)), right)

    def timestamptz_date(context: FunctionContext, left: int, right: int) -> bool:
        return compare(left, _as_instant(context, date_as_timestamp(right)))

    def timestamp_timestamptz(context: FunctionContext, left: int, right: int) -> bool:
        return compare(_as_instant(context, left), right)

    def timestamptz_timestamp(context: FunctionContext, left: int, right: int) -> bool:
        return compare(left, _as_instant(context, right))

    FAMILY.call(date_timestamp, f"date_{suffix}_timestamp")
    FAMILY.call(timestamp_date, f"timestamp_{suffix}_date")
    FAMILY.call(date_timestamptz, f"date_{suffix}_timestamptz", needs_context=True)
    FAMILY.call(timestamptz_date, f"timestamptz_{suffix}_date", needs_context=True)
    FAMILY.call(timestamp_timestamptz, f"timestamp_{suffix}_timestamptz", needs_context=True)
    FAMILY.call(timestamptz_timestamp, f"timestamptz_{suffix}_timestamp", needs_context=True)


# --- by key ------------------------------------------------------------------------------------


def _by_key(suffix: str) -> None:
    compare = _OPERATORS[suffix]

    def jsonb(left: str, right: str) -> bool:
        return compare(jsonb_order(parse_json(left)), jsonb_order(parse_json(right)))

    def record(left: Value, right: Value) -> bool:
        return compare(record_key(left), record_key(right))

    def array(types: tuple[int, ...], left: Value, right: Value) -> bool:
        key = by_oid(types[0]).key
        return compare(left, right) if key is None else compare(key(left), key(right))

    FAMILY.call(jsonb, f"jsonb_{suffix}")
    FAMILY.call(record, f"record_{suffix}")
    FAMILY.call(array, f"array_{suffix}", needs_types=True)


for _suffix in _SYMBOLS:
    _crossed(_suffix)
    _by_key(_suffix)


# --- three-way comparisons (btree support functions) -------------------------------------------


def _three_way(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


FAMILY.call(
    _three_way,
    "btint4cmp",
    "btint8cmp",
    "btoidcmp",
    "btboolcmp",
    "date_cmp",
    "time_cmp",
    "timestamp_cmp",
    "interval_cmp",
)
