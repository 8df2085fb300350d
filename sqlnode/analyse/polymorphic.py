"""Polymorphic types: what anyelement, anyarray and anycompatible stand for in one call.

`resolve` follows PostgreSQL's enforce_generic_type_consistency (manual, section 38.2.5): all
"simple" ones agree exactly; all "compatible" ones are brought to their common type.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlnode.analyse import pathways
from sqlnode.analyse.pathways import Context
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import oids
from sqlnode.types import registry as types

_ARRAYS = (oids.ANYARRAY, oids.ANYCOMPATIBLEARRAY)
_ELEMENTS = (oids.ANYELEMENT, oids.ANYNONARRAY, oids.ANYENUM)
_RANGES = (oids.ANYRANGE, oids.ANYMULTIRANGE, oids.ANYCOMPATIBLERANGE, oids.ANYCOMPATIBLEMULTIRANGE)


@dataclass(slots=True)
class Binding:
    """What the families stand for; 0 while not known."""

    element: int = 0
    array: int = 0
    compatible: int = 0


def _mismatch(message: str, detail: str | None = None) -> SqlError:
    return SqlError("42804", message, detail=detail)


def _range_mismatch(given: int) -> SqlError:
    if types.by_oid(pathways.base_type(given)).kind in ("r", "m"):
        return unsupported("calling functions on range types")
    shown = types.format_type(given)
    return _mismatch(f"argument declared anyrange is not a range type but type {shown}")


def common_type(given: Sequence[int]) -> int:
    """The type all of `given` coerce to implicitly, unknown if all are; 0 if there is none."""
    known = [pathways.base_type(oid) for oid in given if oid != oids.UNKNOWN]
    if not known:
        return oids.UNKNOWN
    if all(oid == given[0] for oid in given):
        return given[0]
    chosen = known[0]
    for other in known[1:]:
        if other == chosen:
            continue
        if pathways.category(other) != pathways.category(chosen):
            return 0
        if (
            not pathways.is_preferred(chosen)
            and pathways.can_coerce_one(chosen, other, Context.IMPLICIT)
            and not pathways.can_coerce_one(other, chosen, Context.IMPLICIT)
        ):
            chosen = other
    return chosen


def bind(actual: Sequence[int], declared: Sequence[int]) -> Binding:
    """What the actual types make of the declared polymorphic ones; raises SqlError 42804."""
    binding = Binding()
    compatible: list[int] = []
    for given, wanted in zip(actual, declared, strict=True):
        if wanted in _RANGES and given != oids.UNKNOWN:
            raise _range_mismatch(given)
        if given == oids.UNKNOWN or wanted not in pathways.POLYMORPHIC:
            if wanted in (oids.ANYCOMPATIBLE, oids.ANYCOMPATIBLENONARRAY):
                compatible.append(given)
            continue
        if wanted in _ELEMENTS:
            _agree(binding, "element", given)
        elif wanted == oids.ANYARRAY:
            _agree(binding, "array", pathways.base_type(given))
        elif wanted == oids.ANYCOMPATIBLEARRAY:
            compatible.append(_element(given, "anycompatiblearray"))
        else:
            compatible.append(given)
    _agree_element(binding)
    if compatible:
        binding.compatible = _compatible(compatible)
    _check_nonarrays(binding, declared)
    return binding


def _agree_element(binding: Binding) -> None:
    """anyarray's element type is what anyelement stands for."""
    if binding.array and binding.array != oids.ANYARRAY:
        element = _element(binding.array, "anyarray")
        if not binding.element:
            binding.element = element
        elif binding.element != element:
            raise _mismatch(
                "argument declared anyarray is not consistent with argument declared anyelement",
                f"{types.format_type(binding.array)} versus {types.format_type(binding.element)}",
            )


def _compatible(given: Sequence[int]) -> int:
    found = common_type(given)
    if found == 0:
        raise _mismatch("arguments of anycompatible family cannot be cast to a common type")
    return oids.TEXT if found == oids.UNKNOWN else found


def _agree(binding: Binding, family: str, given: int) -> None:
    known = getattr(binding, family)
    if known and known != given:
        word = "anyelement" if family == "element" else "anyarray"
        raise _mismatch(
            f'arguments declared "{word}" are not all alike',
            f"{types.format_type(known)} versus {types.format_type(given)}",
        )
    setattr(binding, family, given)


def _element(array: int, name: str) -> int:
    element = types.element_of(array)
    if not element:
        shown = types.format_type(array)
        raise _mismatch(f"argument declared {name} is not an array but type {shown}")
    return element


def _check_nonarrays(binding: Binding, declared: Sequence[int]) -> None:
    for wanted, bound in (
        (oids.ANYNONARRAY, binding.element),
        (oids.ANYCOMPATIBLENONARRAY, binding.compatible),
    ):
        if wanted in declared and bound and types.element_of(bound):
            name = "anynonarray" if wanted == oids.ANYNONARRAY else "anycompatiblenonarray"
            shown = types.format_type(bound)
            raise _mismatch(f"type matched to {name} is an array type: {shown}")
    if oids.ANYENUM in declared and binding.element:
        shown = types.format_type(binding.element)
        raise _mismatch(f"type matched to anyenum is not an enum type: {shown}")


def is_consistent(actual: Sequence[int], declared: Sequence[int]) -> bool:
    """Whether a candidate's polymorphic arguments fit the actual types."""
    try:
        bind(actual, declared)
    except SqlError:
        return False
    return True


def resolve(
    *, actual: Sequence[int], declared: Sequence[int], result: int
) -> tuple[tuple[int, ...], int]:
    """The declared types and the result type with every polymorphic one replaced.

    Raises SqlError 42804 where they do not agree or cannot be known.
    """
    if result not in pathways.POLYMORPHIC and pathways.POLYMORPHIC.isdisjoint(declared):
        return tuple(declared), result
    binding = bind(actual, declared)
    needed = {*declared, result}
    if not binding.element and needed & pathways.POLYMORPHIC_SIMPLE:
        if binding.array == oids.ANYARRAY:
            binding.element = oids.ANYELEMENT
        else:
            raise _mismatch("could not determine polymorphic type because input has type unknown")
    if not binding.compatible and needed & pathways.POLYMORPHIC_COMPATIBLE:
        binding.compatible = oids.TEXT
    return tuple(_concrete(oid, binding) for oid in declared), _concrete(result, binding)


def _concrete(oid: int, binding: Binding) -> int:
    if oid in _ELEMENTS:
        return binding.element
    if oid == oids.ANYARRAY:
        return binding.array or _array_over(binding.element)
    if oid in (oids.ANYCOMPATIBLE, oids.ANYCOMPATIBLENONARRAY):
        return binding.compatible
    if oid == oids.ANYCOMPATIBLEARRAY:
        return _array_over(binding.compatible)
    if oid in _RANGES:
        shown = types.by_oid(oid).name
        raise _mismatch(
            f"could not determine polymorphic type {shown} because input has type unknown"
        )
    return oid


def _array_over(element: int) -> int:
    array = types.array_of(element)
    if not array:
        shown = types.format_type(element)
        raise SqlError("42704", f"could not find array type for data type {shown}")
    return array
