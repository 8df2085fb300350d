"""Which function a call means: named and default arguments, VARIADIC, casts written as calls.

PostgreSQL's func_get_detail (manual, section 10.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlnode.analyse import overloads, pathways, typenames
from sqlnode.analyse.pathways import Context
from sqlnode.functions import registry as functions
from sqlnode.functions.base import Function
from sqlnode.types import oids


@dataclass(frozen=True, slots=True)
class Match:
    """A function with the types its given arguments are declared as, in call order.

    `order` says at which declared position each given argument stands; `spread` counts the trailing
    ones that a VARIADIC array gathers. `ambiguous`: several fit equally. `cast_to`: it is a cast.
    """

    function: Function | None = None
    declared: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    spread: int = 0
    ambiguous: bool = False
    cast_to: int = 0


def find(
    names: Sequence[str],
    actual: Sequence[int],
    argument_names: Sequence[str],
    *,
    variadic: bool,
) -> Match:
    """The function for a call; an empty Match where there is none."""
    return _find(tuple(names), tuple(actual), tuple(argument_names), variadic)


@lru_cache(maxsize=8192)
def _find(
    names: tuple[str, ...], actual: tuple[int, ...], argument_names: tuple[str, ...], variadic: bool
) -> Match:
    candidates = _candidates(names, len(actual), argument_names, variadic)
    for match in candidates:
        if match.declared == actual:
            return match
    if len(actual) == 1 and not argument_names and not variadic:
        target = _as_cast(names, actual[0])
        if target:
            return Match(cast_to=target)
    listed = [(match.declared, match) for match in candidates]
    fitting = overloads.acceptable(actual, listed)
    if len(fitting) == 1:
        return fitting[0][1]
    if not fitting:
        return Match()
    best = overloads.select(actual, fitting)
    return best[1] if best is not None else Match(ambiguous=True)


def _as_cast(names: tuple[str, ...], source: int) -> int:
    """The type a call such as text(x) casts to, 0 if it is no such call."""
    target = typenames.lookup_function_style(list(names))
    if not target:
        return 0
    if source == oids.UNKNOWN:
        return target
    pathway = pathways.find_pathway(target, source, Context.EXPLICIT)
    if pathway is None:
        return 0
    if pathway[0] == "relabel":
        return target
    row = source == oids.RECORD or pathways.is_complex(source)
    via_text = pathway[0] == "io" and not (row and pathways.category(target) == "S")
    return target if via_text else 0


def _candidates(
    names: tuple[str, ...], given: int, argument_names: tuple[str, ...], variadic: bool
) -> list[Match]:
    if len(names) > 1 and names[-2] not in ("pg_catalog", "information_schema"):
        return []
    if len(names) > 1 and names[-2] == "pg_catalog":
        pool = [f for f in functions.functions(names[-1]) if f.namespace == 11]
    elif len(names) > 1:
        pool = [f for f in functions.functions(names[-1]) if f.namespace != 11]
    else:
        pool = [f for f in functions.functions(names[-1]) if f.namespace == 11]
    found: dict[tuple[int, ...], Match] = {}
    for function in pool:
        match = _shape(function, given, argument_names, variadic)
        if match is None:
            continue
        known = found.get(match.declared)
        if known is None or _better(match, known):
            found[match.declared] = match
    return list(found.values())


def _better(one: Match, other: Match) -> bool:
    """Without VARIADIC expansion before with it, fewer defaults before more."""
    if one.function is None or other.function is None:
        return False
    if bool(one.spread) != bool(other.spread):
        return not one.spread
    return len(one.function.argument_types) < len(other.function.argument_types)


def _shape(
    function: Function, given: int, argument_names: tuple[str, ...], variadic: bool
) -> Match | None:
    """How `given` arguments would meet the function's declared ones, None if they can't."""
    types = function.argument_types
    total = len(types)
    if argument_names:
        return _named(function, given, argument_names)
    if function.variadic and not variadic and given >= total:
        spread = given - total + 1
        declared = types[:-1] + (function.variadic,) * spread
        return Match(function, declared, tuple(range(given)), spread)
    if variadic and not function.variadic:
        return None
    if total - function.defaults <= given <= total:
        return Match(function, types[:given], tuple(range(given)))
    return None


def _named(function: Function, given: int, argument_names: tuple[str, ...]) -> Match | None:
    types, known = function.argument_types, function.argument_names
    positional = given - len(argument_names)
    order = list(range(positional))
    for name in argument_names:
        if name not in known or known.index(name) < positional:
            return None
        order.append(known.index(name))
    if len(set(order)) != given or any(i >= len(types) for i in order):
        return None
    required = len(types) - function.defaults
    if any(i not in order for i in range(required)):
        return None
    return Match(function, tuple(types[i] for i in order), tuple(order))
