"""Array functions and operators."""

from collections.abc import Sequence

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.family import Family
from sqlnode.types.array import EMPTY, Array
from sqlnode.types.base import Key, Value
from sqlnode.types.registry import by_oid, element_of

FAMILY = Family()
_ELEMENTS_MAX = 134217727

FAMILY.inlines(
    {},
    {
        "array_cardinality": "len({0}.elements)",
        "array_ndims": "(len({0}.dimensions) or None)",
    },
)


def _element_key(array_type: int) -> Key:
    element = element_of(array_type)
    return (by_oid(element).key if element else None) or _same


def _same(value: Value) -> Value:
    return value


@FAMILY.function("array_length")
def length(array: Array, dimension: int) -> int | None:
    """array_length(); NULL for a dimension there is not."""
    return array.dimensions[dimension - 1] if 1 <= dimension <= len(array.dimensions) else None


@FAMILY.function("array_lower")
def lower(array: Array, dimension: int) -> int | None:
    """The first subscript of a dimension."""
    return array.lower_bounds[dimension - 1] if 1 <= dimension <= len(array.dimensions) else None


@FAMILY.function("array_upper")
def upper(array: Array, dimension: int) -> int | None:
    """The last subscript of a dimension."""
    return array.upper_bounds[dimension - 1] if 1 <= dimension <= len(array.dimensions) else None


@FAMILY.function("array_dims")
def dims(array: Array) -> str | None:
    """`[1:3][1:2]`."""
    bounds = zip(array.lower_bounds, array.upper_bounds, strict=True)
    return "".join(f"[{low}:{high}]" for low, high in bounds) or None


@FAMILY.function("array_unnest")
def unnest(array: Array) -> list[Value]:
    """The elements as rows."""
    return list(array.elements)


@FAMILY.function("array_append")
def append(array: Array | None, element: Value) -> Array:
    """array_append(), array || element; 22000 for several dimensions."""
    if array is None or not array.dimensions:
        return Array.of((element,))
    _one_dimension(array)
    return Array((array.dimensions[0] + 1,), array.lower_bounds, (*array.elements, element))


@FAMILY.function("array_prepend")
def prepend(element: Value, array: Array | None) -> Array:
    """array_prepend(), element || array; 22000 for several dimensions."""
    if array is None or not array.dimensions:
        return Array.of((element,))
    _one_dimension(array)
    return Array((array.dimensions[0] + 1,), array.lower_bounds, (element, *array.elements))


def _one_dimension(array: Array) -> None:
    if len(array.dimensions) > 1:
        raise SqlError(sqlstate.DATA_EXCEPTION, "argument must be empty or one-dimensional array")


@FAMILY.function("array_cat")
def concatenate(left: Array | None, right: Array | None) -> Array | None:
    """array || array; 2202E where the shapes do not fit."""
    if left is None or right is None:
        return right if left is None else left
    if not left.dimensions or not right.dimensions:
        return right if not left.dimensions else left
    depth = len(left.dimensions) - len(right.dimensions)
    elements = left.elements + right.elements
    shape_left = tuple(zip(left.dimensions, left.lower_bounds, strict=True))
    shape_right = tuple(zip(right.dimensions, right.lower_bounds, strict=True))
    if depth == 0 and shape_left[1:] == shape_right[1:]:
        count = left.dimensions[0] + right.dimensions[0]
        return Array((count, *left.dimensions[1:]), left.lower_bounds, elements)
    if depth == 1 and shape_left[1:] == shape_right:
        return Array((left.dimensions[0] + 1, *right.dimensions), left.lower_bounds, elements)
    if depth == -1 and shape_right[1:] == shape_left:
        return Array((right.dimensions[0] + 1, *left.dimensions), right.lower_bounds, elements)
    raise SqlError(
        sqlstate.ARRAY_SUBSCRIPT_ERROR,
        "cannot concatenate incompatible arrays",
        detail="Arrays with differing element dimensions are not compatible for concatenation."
        if depth == 0
        else f"Arrays of {len(left.dimensions)} and {len(right.dimensions)} dimensions are not "
        "compatible for concatenation.",
    )


@FAMILY.function("array_position", needs_types=True)
def position(types: Sequence[int], array: Array | None, wanted: Value) -> int | None:
    """Subscript of the first element equal to `wanted` (NULL equals NULL here)."""
    return position_from(types, array, wanted, None)


@FAMILY.function("array_position_start", needs_types=True)
def position_from(
    types: Sequence[int], array: Array | None, wanted: Value, start: int | None
) -> int | None:
    """Likewise, from a subscript on."""
    found = positions(types, array, wanted)
    if found is None:
        return None
    return next((at for at in found.elements if start is None or at >= start), None)


@FAMILY.function("array_positions", needs_types=True)
def positions(types: Sequence[int], array: Array | None, wanted: Value) -> Array | None:
    """Subscripts of all elements equal to `wanted`."""
    if array is None:
        return None
    if len(array.dimensions) > 1:
        raise SqlError(
            sqlstate.FEATURE_NOT_SUPPORTED,
            "searching for elements in multidimensional arrays is not supported",
        )
    key = _element_key(types[0])
    target = None if wanted is None else key(wanted)
    first = array.lower_bounds[0] if array.lower_bounds else 1
    return Array.of(
        first + i
        for i, value in enumerate(array.elements)
        if (value is None if wanted is None else value is not None and key(value) == target)
    )


@FAMILY.function("array_remove", needs_types=True)
def remove(types: Sequence[int], array: Array | None, wanted: Value) -> Array | None:
    """Without the elements equal to `wanted`."""
    if array is None:
        return None
    if len(array.dimensions) > 1:
        raise SqlError(
            sqlstate.FEATURE_NOT_SUPPORTED,
            "removing elements from multidimensional arrays is not supported",
        )
    found = positions(types, array, wanted)
    if found is None or not found.elements:
        return array
    first = array.lower_bounds[0]
    gone = {at - first for at in found.elements}
    return Array.of(value for i, value in enumerate(array.elements) if i not in gone)


@FAMILY.function("array_replace", needs_types=True)
def replace(types: Sequence[int], array: Array | None, old: Value, new: Value) -> Array | None:
    """With each element equal to `old` replaced."""
    if array is None:
        return None
    key = _element_key(types[0])
    target = None if old is None else key(old)

    def swap(value: Value) -> Value:
        same = value is None if old is None else value is not None and key(value) == target
        return new if same else value

    return Array(array.dimensions, array.lower_bounds, tuple(map(swap, array.elements)))


def _keys(types: Sequence[int], array: Array) -> set[Value]:
    key = _element_key(types[0])
    return {key(value) for value in array.elements if value is not None}


@FAMILY.function("arraycontains", needs_types=True)
def contains(types: Sequence[int], left: Array, right: Array) -> bool:
    """`@>`: NULLs are contained in nothing."""
    return None not in right.elements and _keys(types, right) <= _keys(types, left)


@FAMILY.function("arraycontained", needs_types=True)
def contained(types: Sequence[int], left: Array, right: Array) -> bool:
    """`<@`."""
    return contains(types, right, left)


@FAMILY.function("arrayoverlap", needs_types=True)
def overlaps(types: Sequence[int], left: Array, right: Array) -> bool:
    """`&&`."""
    return not _keys(types, left).isdisjoint(_keys(types, right))


@FAMILY.function("trim_array")
def trim(array: Array, count: int) -> Array:
    """Without the last `count` elements; 2202E."""
    length_now = array.dimensions[0] if array.dimensions else 0
    if not 0 <= count <= length_now:
        raise SqlError(
            sqlstate.ARRAY_ELEMENT_ERROR,
            f"number of elements to trim must be between 0 and {length_now}",
        )
    kept = length_now - count
    if not kept:
        return EMPTY
    per_row = len(array.elements) // length_now
    dimensions = (kept, *array.dimensions[1:])
    return Array(dimensions, (1,) * len(dimensions), array.elements[: kept * per_row])


@FAMILY.function("array_fill")
def fill(value: Value, dimensions: Array) -> Array:
    """array_fill(value, dimensions)."""
    return fill_from(value, dimensions, Array.of((1,) * len(dimensions.elements)))


@FAMILY.function("array_fill_with_lower_bounds")
def fill_from(value: Value, dimensions: Array | None, bounds: Array | None) -> Array:
    """array_fill(value, dimensions, lower bounds); 22004, 54000."""
    if dimensions is None or bounds is None or None in dimensions.elements + bounds.elements:
        raise SqlError(
            sqlstate.NULL_VALUE_NOT_ALLOWED, "dimension array or low bound array cannot be null"
        )
    if len(dimensions.elements) != len(bounds.elements):
        raise SqlError(
            sqlstate.ARRAY_SUBSCRIPT_ERROR,
            "wrong number of array subscripts",
            detail="Low bound array has different size than dimensions array.",
        )
    total = 1
    for count in dimensions.elements:
        total *= count
    if total > _ELEMENTS_MAX:
        raise SqlError(
            sqlstate.PROGRAM_LIMIT_EXCEEDED,
            f"array size exceeds the maximum allowed ({_ELEMENTS_MAX})",
        )
    if total <= 0:
        return EMPTY
    return Array(dimensions.elements, bounds.elements, (value,) * total)


@FAMILY.function("array_to_text", needs_context=True, needs_types=True)
def to_text(context: FunctionContext, types: Sequence[int], array: Array, delimiter: str) -> str:
    """array_to_string(array, delimiter): NULLs are left out."""
    return to_text_null(context, types, array, delimiter, None) or ""


@FAMILY.function("array_to_text_null", needs_context=True, needs_types=True)
def to_text_null(
    context: FunctionContext,
    types: Sequence[int],
    array: Array | None,
    delimiter: str | None,
    null: str | None,
) -> str | None:
    """array_to_string(array, delimiter, null)."""
    if array is None or delimiter is None:
        return None
    out = by_oid(element_of(types[0])).text_out
    words = (null if v is None else out(v, context) for v in array.elements)
    return delimiter.join(word for word in words if word is not None)


@FAMILY.function("generate_subscripts_nodir")
def subscripts(array: Array, dimension: int) -> list[int]:
    """generate_subscripts(array, dimension)."""
    if not 1 <= dimension <= len(array.dimensions):
        return []
    first = array.lower_bounds[dimension - 1]
    return list(range(first, first + array.dimensions[dimension - 1]))


@FAMILY.function("generate_subscripts")
def subscripts_directed(array: Array, dimension: int, reverse: bool) -> list[int]:
    """generate_subscripts(array, dimension, reverse)."""
    found = subscripts(array, dimension)
    return found[::-1] if reverse else found
