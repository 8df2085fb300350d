"""json and jsonb: building them out of values, taking them apart, containment."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.anytexts import spread
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.family import Family
from sqlnode.types import oids
from sqlnode.types.array import Array
from sqlnode.types.base import Value
from sqlnode.types.jsons import jsonb_text, normal_jsonb, parse_json, quote_json
from sqlnode.types.records import Row
from sqlnode.types.registry import by_oid, element_of, is_array

FAMILY = Family()
_INTEGERS = {oids.INT2, oids.INT4, oids.INT8}
_FLOATS = {oids.FLOAT4, oids.FLOAT8}
_MISSING = object()


def json_of(context: FunctionContext, oid: int, value: Value) -> str:
    """Any SQL value as JSON text, the way to_json() writes it."""
    if value is None:
        return "null"
    if oid in {oids.JSON, oids.JSONB}:
        return str(value)
    if oid == oids.BOOL:
        return "true" if value else "false"
    if oid in _INTEGERS:
        return str(value)
    if oid in _FLOATS or oid == oids.NUMERIC:
        text = by_oid(oid).text_out(value, context)
        return text if value - value == 0 else f'"{text}"'
    if isinstance(value, Row):
        fields = zip(value.names, value.types, value, strict=True)
        return (
            "{" + ",".join(f"{quote_json(n)}:{json_of(context, t, v)}" for n, t, v in fields) + "}"
        )
    if is_array(oid):
        return _array_json(context, element_of(oid), value)
    text = by_oid(oid).text_out(value, context)
    if oid in {oids.TIMESTAMP, oids.TIMESTAMPTZ}:
        text = _iso_text(oid, value, context)
    return quote_json(text)


def _iso_text(oid: int, value: int, context: FunctionContext) -> str:
    from sqlnode.types.timestamps import timestamp_text, timestamptz_text

    if oid == oids.TIMESTAMP:
        return timestamp_text(value, "ISO").replace(" ", "T", 1)
    text = timestamptz_text(value, "ISO", context.time_zone).replace(" ", "T", 1)
    return text if ":" in text[-6:-2] and text[-6] in "+-" else _with_minutes(text)


def _with_minutes(text: str) -> str:
    return f"{text}:00" if text[-3:-2] in {"+", "-"} else text


def _array_json(context: FunctionContext, element: int, array: Array) -> str:
    words = [json_of(context, element, v) for v in array.elements]
    for length in reversed(array.dimensions):
        words = ["[" + ",".join(words[i : i + length]) + "]" for i in range(0, len(words), length)]
    return words[0] if words else "[]"


@FAMILY.function("to_json", needs_context=True, needs_types=True)
def to_json(context: FunctionContext, types: Sequence[int], value: Value) -> str:
    """to_json(anything)."""
    return json_of(context, types[0], value)


@FAMILY.function("to_jsonb", needs_context=True, needs_types=True)
def to_jsonb(context: FunctionContext, types: Sequence[int], value: Value) -> str:
    """to_jsonb(anything)."""
    return normal_jsonb(json_of(context, types[0], value))


FAMILY.call(to_json, "row_to_json", needs_context=True, needs_types=True)
FAMILY.call(to_json, "array_to_json", needs_context=True, needs_types=True)


def _pairs(context: FunctionContext, types: Sequence[int], values: Sequence[Value]) -> list[str]:
    types, values = spread(types, values)
    if len(values) % 2:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            "argument list must have even number of elements",
        )
    out = []
    for i in range(0, len(values), 2):
        if values[i] is None:
            raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f"argument {i + 1} cannot be null")
        name = by_oid(types[i]).text_out(values[i], context)
        out.append(f"{quote_json(name)} : {json_of(context, types[i + 1], values[i + 1])}")
    return out


@FAMILY.function("json_build_object", needs_context=True, needs_types=True)
def build_object(context: FunctionContext, types: Sequence[int], *values: Value) -> str:
    """json_build_object(name, value, …); 22023."""
    return "{" + ", ".join(_pairs(context, types, values)) + "}"


@FAMILY.function("jsonb_build_object", needs_context=True, needs_types=True)
def build_objectb(context: FunctionContext, types: Sequence[int], *values: Value) -> str:
    """jsonb_build_object(name, value, …); 22023."""
    return normal_jsonb(build_object(context, types, *values))


@FAMILY.function("json_build_array", needs_context=True, needs_types=True)
def build_array(context: FunctionContext, types: Sequence[int], *values: Value) -> str:
    """json_build_array(…)."""
    spread_types, spread_values = spread(types, values)
    pairs = zip(spread_types, spread_values, strict=True)
    words = (json_of(context, t, v) for t, v in pairs)
    return "[" + ", ".join(words) + "]"


@FAMILY.function("jsonb_build_array", needs_context=True, needs_types=True)
def build_arrayb(context: FunctionContext, types: Sequence[int], *values: Value) -> str:
    """jsonb_build_array(…)."""
    return normal_jsonb(build_array(context, types, *values))


FAMILY.call(lambda: "{}", "json_build_object_noargs", "jsonb_build_object_noargs")
FAMILY.call(lambda: "[]", "json_build_array_noargs", "jsonb_build_array_noargs")

# --- taking apart (jsonb) ----------------------------------------------------------------------


def _kind(document: Any) -> str:
    if document is None:
        return "null"
    if isinstance(document, bool):
        return "boolean"
    if isinstance(document, str):
        return "string"
    if isinstance(document, Decimal):
        return "number"
    return "object" if isinstance(document, dict) else "array"


def _member(document: Any, name: str) -> Any:
    return document.get(name, _MISSING) if isinstance(document, dict) else _MISSING


def _item(document: Any, index: int) -> Any:
    if not isinstance(document, list) or not -len(document) <= index < len(document):
        return _MISSING
    return document[index]


def _step(document: Any, word: str) -> Any:
    if isinstance(document, list):
        digits = word.removeprefix("-")
        return _item(document, int(word)) if digits.isdigit() else _MISSING
    return _member(document, word)


def _path(document: Any, path: Array) -> Any:
    for word in path.elements:
        if word is None:
            return _MISSING
        document = _step(document, word)
        if document is _MISSING:
            return _MISSING
    return document


def _as_jsonb(document: Any) -> str | None:
    return None if document is _MISSING else jsonb_text(document)


def _as_text(document: Any) -> str | None:
    if document is _MISSING or document is None:
        return None
    return document if isinstance(document, str) else jsonb_text(document)


for _suffix, _find in (
    ("object_field", _member),
    ("array_element", _item),
    ("extract_path", _path),
):

    def _getter(find: Callable[[Any, Any], Any], show: Callable[[Any], str | None]) -> Any:
        return lambda text, key: show(find(parse_json(text), key))

    FAMILY.call(_getter(_find, _as_jsonb), f"jsonb_{_suffix}")
    FAMILY.call(_getter(_find, _as_text), f"jsonb_{_suffix}_text")

FAMILY.call(lambda text: _kind(parse_json(text)), "jsonb_typeof", "json_typeof")


def _array_items(text: str) -> list[Any]:
    document = parse_json(text)
    if not isinstance(document, list):
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            "cannot extract elements from "
            + ("an object" if isinstance(document, dict) else "a scalar"),
        )
    return document


FAMILY.call(
    lambda text: [jsonb_text(v) for v in _array_items(text)],
    "jsonb_array_elements",
)
FAMILY.call(
    lambda text: [_as_text(v) for v in _array_items(text)],
    "jsonb_array_elements_text",
)


@FAMILY.function("jsonb_array_length", "json_array_length")
def array_length(text: str) -> int:
    """jsonb_array_length(); 22023."""
    document = parse_json(text)
    if not isinstance(document, list):
        what = "non-array" if isinstance(document, dict) else "scalar"
        verb = "a non-array" if what == "non-array" else "a scalar"
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f"cannot get array length of {verb}")
    return len(document)


def _object(text: str, function: str) -> dict[str, Any]:
    document = parse_json(text)
    if not isinstance(document, dict):
        what = "an array" if isinstance(document, list) else "a scalar"
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f"cannot call {function} on {what}")
    return document


def _sorted_items(text: str, function: str) -> list[tuple[str, Any]]:
    items = _object(text, function).items()
    return sorted(items, key=lambda item: (len(item[0].encode()), item[0].encode()))


FAMILY.call(
    lambda text: [key for key, _ in _sorted_items(text, "jsonb_object_keys")], "jsonb_object_keys"
)
FAMILY.call(
    lambda text: [(key, jsonb_text(v)) for key, v in _sorted_items(text, "jsonb_each")],
    "jsonb_each",
)
FAMILY.call(
    lambda text: [(key, _as_text(v)) for key, v in _sorted_items(text, "jsonb_each_text")],
    "jsonb_each_text",
)

# --- jsonb operators ---------------------------------------------------------------------------


def _contains(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return all(key in left and _contains(left[key], right[key]) for key in right)
    if isinstance(left, list) and isinstance(right, list):
        return all(any(_same_or_contains(item, wanted) for item in left) for wanted in right)
    return _equal(left, right)


def _same_or_contains(left: Any, right: Any) -> bool:
    if isinstance(right, dict | list):
        return type(left) is type(right) and _contains(left, right)
    return _equal(left, right)


def _equal(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


@FAMILY.function("jsonb_contains")
def contains(left: str, right: str) -> bool:
    """`@>`: an array also contains a bare scalar that is one of its items."""
    outer, inner = parse_json(left), parse_json(right)
    if isinstance(outer, list) and not isinstance(inner, dict | list):
        return any(_equal(item, inner) for item in outer)
    return _contains(outer, inner)


FAMILY.call(lambda left, right: contains(right, left), "jsonb_contained")


def _has_key(document: Any, key: str) -> bool:
    return (
        document == key
        if isinstance(document, str)
        else (key in document if isinstance(document, dict | list) else False)
    )


FAMILY.call(lambda text, key: _has_key(parse_json(text), key), "jsonb_exists")
FAMILY.call(
    lambda text, keys: any(_has_key(parse_json(text), k) for k in keys.elements if k is not None),
    "jsonb_exists_any",
)
FAMILY.call(
    lambda text, keys: all(_has_key(parse_json(text), k) for k in keys.elements if k is not None),
    "jsonb_exists_all",
)


@FAMILY.function("jsonb_concat")
def concatenate(left: str, right: str) -> str:
    """`||`: objects merge, everything else joins as arrays."""
    first, second = parse_json(left), parse_json(right)
    if isinstance(first, dict) and isinstance(second, dict):
        return jsonb_text(first | second)
    parts = [part if isinstance(part, list) else [part] for part in (first, second)]
    return jsonb_text(parts[0] + parts[1])


@FAMILY.function("jsonb_delete")
def delete_key(text: str, key: str) -> str:
    """jsonb - text; 22023 on a scalar."""
    document = parse_json(text)
    if isinstance(document, dict):
        return jsonb_text({k: v for k, v in document.items() if k != key})
    if isinstance(document, list):
        return jsonb_text([v for v in document if v != key])
    raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "cannot delete from scalar")


@FAMILY.function("jsonb_delete_idx")
def delete_index(text: str, index: int) -> str:
    """jsonb - integer; 22023."""
    document = parse_json(text)
    if isinstance(document, dict):
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE, "cannot delete from object using integer index"
        )
    if not isinstance(document, list):
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "cannot delete from scalar")
    if -len(document) <= index < len(document):
        del document[index]
    return jsonb_text(document)
