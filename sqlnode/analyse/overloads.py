"""Choosing an overload: PostgreSQL's func_select_candidate (manual, sections 10.2 and 10.3).

Works on tuples of argument types, whatever they belong to, so that functions and operators share
the one algorithm. Candidates are narrowed step by step:

    exact matches → preferred types → categories of unknown literals → one known type for all
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlnode.analyse import pathways
from sqlnode.analyse.coerce import can_coerce
from sqlnode.analyse.pathways import Context
from sqlnode.types.oids import UNKNOWN

_Item = TypeVar("_Item")
Candidate = tuple[tuple[int, ...], _Item]
"""(argument types, what they belong to)."""


def acceptable(
    actual: Sequence[int], candidates: Sequence[Candidate[_Item]]
) -> list[Candidate[_Item]]:
    """Candidates that the actual types can be implicitly coerced to."""
    return [c for c in candidates if can_coerce(actual, c[0], Context.IMPLICIT)]


def select(
    actual: Sequence[int], candidates: Sequence[Candidate[_Item]]
) -> Candidate[_Item] | None:
    """The best of several acceptable candidates, None where there is no single best."""
    base = [oid if oid == UNKNOWN else pathways.base_type(oid) for oid in actual]
    known = [i for i, oid in enumerate(base) if oid != UNKNOWN]
    left = _best(candidates, lambda types: sum(types[i] == base[i] for i in known))
    if len(left) == 1:
        return left[0]
    categories = {i: pathways.category(base[i]) for i in known}
    left = _best(left, lambda types: sum(_fits(types[i], base[i], categories[i]) for i in known))
    if len(left) == 1:
        return left[0]
    unknown = [i for i, oid in enumerate(base) if oid == UNKNOWN]
    if not unknown:
        return None
    left = _by_category(left, unknown)
    if len(left) == 1:
        return left[0]
    return _as_all_alike(base, left)


def _fits(candidate: int, actual: int, category: str) -> bool:
    if candidate == actual:
        return True
    return pathways.category(candidate) == category and pathways.is_preferred(candidate)


def _best(
    candidates: Sequence[Candidate[_Item]], score: Callable[[tuple[int, ...]], int]
) -> list[Candidate[_Item]]:
    scores = [score(types) for types, _ in candidates]
    highest = max(scores)
    return [c for c, points in zip(candidates, scores, strict=True) if points == highest]


def _by_category(
    candidates: list[Candidate[_Item]], unknown: Sequence[int]
) -> list[Candidate[_Item]]:
    """Candidates whose arguments at `unknown` are of the winning category and preferred there."""
    wanted: dict[int, tuple[str, bool]] = {}
    for i in unknown:
        slot, preferred, conflict = "", False, False
        for types, _ in candidates:
            category, is_preferred = pathways.category(types[i]), pathways.is_preferred(types[i])
            if not slot:
                slot, preferred = category, is_preferred
            elif category == slot:
                preferred = preferred or is_preferred
            elif category == "S":
                slot, preferred = category, is_preferred
            else:
                conflict = True
        if conflict and slot != "S":
            return candidates
        wanted[i] = (slot, preferred)
    kept = [
        c
        for c in candidates
        if all(
            pathways.category(c[0][i]) == slot and (not preferred or pathways.is_preferred(c[0][i]))
            for i, (slot, preferred) in wanted.items()
        )
    ]
    return kept or candidates


def _as_all_alike(
    base: Sequence[int], candidates: list[Candidate[_Item]]
) -> Candidate[_Item] | None:
    """Where all known arguments have one type, take the unknown ones for the same."""
    known = {oid for oid in base if oid != UNKNOWN}
    if len(known) != 1:
        return None
    alike = [known.pop()] * len(base)
    fitting = acceptable(alike, candidates)
    return fitting[0] if len(fitting) == 1 else None
