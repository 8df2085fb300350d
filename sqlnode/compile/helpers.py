"""What generated code calls, besides the implementations of SQL functions."""

from collections.abc import Callable, Iterable
from typing import Any

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.types.array import EMPTY, Array
from sqlnode.types.base import Value
from sqlnode.types.records import Row, make_row

__all__ = [
    "OPEN",
    "Raised",
    "all3",
    "any3",
    "array_all",
    "array_any",
    "array_item",
    "hashed_any",
    "make_array",
    "make_row",
    "map_array",
    "min_max",
    "nest_arrays",
    "optional_row",
    "row_null",
    "slice_array",
    "value",
]

OPEN: Any = object()
"""An open bound of a slice."""
_WHOLE = (OPEN, OPEN)


class Raised:
    """An error in place of a value: raised where the value is used, if it is."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def value(found: Any) -> Any:
    """The result of a sub-select, or the error that computing it early ran into."""
    if type(found) is Raised:
        raise found.error
    return found


def any3(results: Iterable[bool | None]) -> bool | None:
    """Three-valued OR over results computed one by one."""
    unknown = False
    for result in results:
        if result:
            return True
        unknown = unknown or result is None
    return None if unknown else False


def all3(results: Iterable[bool | None]) -> bool | None:
    """Three-valued AND over results computed one by one."""
    unknown = False
    for result in results:
        if result is False:
            return False
        unknown = unknown or result is None
    return None if unknown else True


def hashed_any(key: Any, members: tuple[set[Any], bool]) -> bool | None:
    """`key = ANY (members)`: (the values that are not NULL, whether there are NULLs)."""
    values, has_null = members
    if not values and not has_null:
        return False
    if key is None:
        return None
    if key in values:
        return True
    return None if has_null else False


def row_null(fields: Value, *, negated: bool) -> bool:
    """IS [NOT] NULL of a composite: all fields are (not) null."""
    if fields is None:
        return not negated
    if negated:
        return all(field is not None for field in fields)
    return all(field is None for field in fields)


def optional_row(
    values: tuple[Value, ...], *, types: tuple[int, ...], names: tuple[str, ...]
) -> Row | None:
    """A record, or NULL where every field is: a row that an outer join has left out.

    A row that is there and has nothing but NULLs cannot be told from it.
    """
    if all(value is None for value in values):
        return None
    return make_row(values, types=types, names=names)


def make_array(elements: list[Value]) -> Array:
    """A one-dimensional array."""
    return Array.of(elements)


def nest_arrays(parts: list[Array | None]) -> Array:
    """An array of arrays of equal shape; 2202E where they differ."""
    arrays = [EMPTY if part is None else part for part in parts]
    first = arrays[0]
    if any(each.dimensions != first.dimensions for each in arrays):
        raise SqlError(
            sqlstate.ARRAY_SUBSCRIPT_ERROR,
            "multidimensional arrays must have array expressions with matching dimensions",
        )
    if not first.dimensions:
        return EMPTY
    elements = tuple(element for each in arrays for element in each.elements)
    return Array((len(arrays), *first.dimensions), (1, *first.lower_bounds), elements)


def array_item(array: Array | None, indexes: tuple[int | None, ...]) -> Value:
    """array[i][j]; NULL outside the bounds."""
    if array is None or None in indexes or len(indexes) != len(array.dimensions):
        return None
    offset = 0
    for index, lower, length in zip(indexes, array.lower_bounds, array.dimensions, strict=True):
        if index is None or not lower <= index < lower + length:
            return None
        offset = offset * length + index - lower
    return array.elements[offset]


def slice_array(array: Array | None, bounds: list[tuple[Any, Any]]) -> Array | None:
    """array[l:u]…; missing trailing dimensions are whole, outside the bounds it is empty."""
    if array is None or any(None in pair for pair in bounds):
        return None
    if len(bounds) > len(array.dimensions):
        return EMPTY
    elements = list(array.elements)
    lengths = []
    block = len(elements)
    for at, (lower, length) in enumerate(zip(array.lower_bounds, array.dimensions, strict=True)):
        low, high = bounds[at] if at < len(bounds) else _WHOLE
        first = 0 if low is OPEN else max(0, low - lower)
        last = length - 1 if high is OPEN else min(length - 1, high - lower)
        if first > last:
            return EMPTY
        block //= length
        # The parts kept so far lie side by side, each `length` blocks long.
        step = length * block
        elements = [
            element
            for start in range(0, len(elements), step)
            for element in elements[start + first * block : start + (last + 1) * block]
        ]
        lengths.append(last - first + 1)
    return Array(tuple(lengths), (1,) * len(lengths), tuple(elements))


def map_array(array: Array, each: Callable[[Value], Value]) -> Array:
    """The array with every element converted."""
    elements = tuple(each(element) for element in array.elements)
    return Array(array.dimensions, array.lower_bounds, elements)


def array_any(left: Value, array: Array | None, test: Callable[[Value, Value], Any]) -> bool | None:
    """`left op ANY (array)` for a strict operator."""
    if array is None:
        return None
    if not array.elements:
        return False
    if left is None:
        return None
    return any3(None if item is None else test(left, item) for item in array.elements)


def array_all(left: Value, array: Array | None, test: Callable[[Value, Value], Any]) -> bool | None:
    """`left op ALL (array)` for a strict operator."""
    if array is None:
        return None
    if not array.elements:
        return True
    if left is None:
        return None
    return all3(None if item is None else test(left, item) for item in array.elements)


def min_max(
    values: tuple[Value, ...], less: Callable[[Value, Value], Any], *, greatest: bool
) -> Value:
    """GREATEST or LEAST; NULLs do not count."""
    best = None
    for each in values:
        if each is None:
            continue
        if best is None or (less(best, each) if greatest else less(each, best)):
            best = each
    return best
