"""Access paths: which index, if any, answers a table's predicates.

A predicate fits an index column when one side is that column and the other side is known before the
scan starts (a constant, a parameter, a slot). Leading columns take equalities; the next one takes
an `= ANY (array)` or a range. What fits is enforced by the key range exactly, for keys sort as the
types do, so it need not be checked again.

    index (a, b, c)    a = 1 AND b > $1 AND c = 3      →   equals (1), lower $1; c = 3 is left over
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlnode import tree
from sqlnode.catalog.descriptors import Index, Table
from sqlnode.plan.expressions import Expr
from sqlnode.plan.nodes import Bound, KeyRange
from sqlnode.plan.walk import entries_of, has_sublink, is_volatile
from sqlnode.types import oids, registry

_FLIPPED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_FAMILIES = {
    oids.INT2: "int",
    oids.INT4: "int",
    oids.INT8: "int",
    oids.FLOAT4: "float",
    oids.FLOAT8: "float",
    oids.TEXT: "text",
    oids.VARCHAR: "text",
}


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """`column operator value` out of a predicate; operator `any` is `= ANY (value)`."""

    column: int
    operator: str
    value: Expr
    source: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """A chosen path: the key range (None: the whole table) and the predicates it leaves over."""

    range: KeyRange | None
    rest: tuple[Expr, ...]


def strip_relabel(expr: Expr) -> Expr:
    """The expression without binary-coercible casts around it."""
    while isinstance(expr, tree.Relabel):
        expr = expr.arg
    return expr


def same_order(left: int, right: int) -> bool:
    """Whether values of two types compare as their keys do."""
    return left == right or (left in _FAMILIES and _FAMILIES[left] == _FAMILIES.get(right))


def comparison(predicate: Expr, entry: int) -> Comparison | None:
    """What a predicate says about a column of `entry`, if it is of use to an index."""
    if isinstance(predicate, tree.ScalarArrayOp):
        if not predicate.use_any or predicate.operator != "=":
            return None
        element = registry.element_of(predicate.array.type)
        return _comparison(predicate.left, "any", predicate.array, element, predicate, entry)
    if not isinstance(predicate, tree.Call) or len(predicate.args) != 2:
        return None
    operator = predicate.operator
    if operator not in _FLIPPED:
        return None
    left, right = predicate.args
    found = _comparison(left, operator, right, right.type, predicate, entry)
    return found or _comparison(right, _FLIPPED[operator], left, left.type, predicate, entry)


def _comparison(
    column: Expr, operator: str, value: Expr, value_type: int, source: Expr, entry: int
) -> Comparison | None:
    var = strip_relabel(column)
    if not isinstance(var, tree.Var) or var.entry != entry or var.levels_up or var.column < 0:
        return None
    plain = strip_relabel(value)
    if operator != "any":
        value_type = plain.type
    if not same_order(var.type, value_type):
        return None
    if entry in entries_of(value) or has_sublink(value) or is_volatile(value):
        return None
    return Comparison(var.column, operator, plain, source)


def choose(table: Table, entry: int, predicates: Sequence[Expr]) -> Access:
    """The best path for these predicates (which read nothing but `entry` and outer values)."""
    usable = [c for c in (comparison(p, entry) for p in predicates) if c is not None]
    best: KeyRange | None = None
    for index in table.indexes if usable else ():
        candidate = key_range(table, index, usable)
        if candidate is not None and (best is None or _score(candidate) > _score(best)):
            best = candidate
    if best is None:
        return Access(None, tuple(predicates))
    used = {id(condition) for condition in best.conditions}
    return Access(best, tuple(p for p in predicates if id(p) not in used))


def _score(candidate: KeyRange) -> tuple[bool, int, int, bool]:
    bounds = (candidate.lower is not None) + (candidate.upper is not None)
    equal = 2 * len(candidate.equals) + (candidate.any_of is not None)
    return candidate.is_point, equal, bounds, candidate.index.primary


def key_range(table: Table, index: Index, usable: Sequence[Comparison]) -> KeyRange | None:
    """The part of an index that comparisons confine a scan to, None if they do not."""
    place = {column.number: position for position, column in enumerate(table.live)}
    positions = [place[column.number] for column in index.columns]
    equals: list[Expr] = []
    conditions: list[Expr] = []
    rest = iter(positions)
    for position in rest:
        match = _find(usable, position, "=")
        if match is None:
            break
        equals.append(match.value)
        conditions.append(match.source)
    else:
        return KeyRange(index, tuple(equals), conditions=tuple(conditions)) if equals else None
    listed = _find(usable, position, "any")
    if listed is not None:
        conditions.append(listed.source)
        return KeyRange(index, tuple(equals), listed.value, conditions=tuple(conditions))
    lower = _find(usable, position, ">", ">=")
    upper = _find(usable, position, "<", "<=")
    conditions += [bound.source for bound in (lower, upper) if bound is not None]
    if not conditions:
        return None
    return KeyRange(
        index,
        tuple(equals),
        lower=None if lower is None else Bound(lower.value, lower.operator == ">="),
        upper=None if upper is None else Bound(upper.value, upper.operator == "<="),
        conditions=tuple(conditions),
    )


def _find(usable: Sequence[Comparison], position: int, *operators: str) -> Comparison | None:
    return next((c for c in usable if c.column == position and c.operator in operators), None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column of ORDER BY: position in the table, direction, place of NULLs."""

    column: int
    descending: bool
    nulls_first: bool


def delivers(table: Table, path: KeyRange | None, wanted: Sequence[Wanted]) -> bool | None:
    """Whether a scan gives rows in this order: False read forwards, True backwards, None not."""
    index = path.index if path is not None else table.primary
    if index is None or (path is not None and path.any_of is not None):
        return None
    if path is not None and path.is_point:
        return False
    place = {column.number: position for position, column in enumerate(table.live)}
    columns = list(index.columns)[len(path.equals) if path is not None else 0 :]
    fixed = {place[c.number] for c in index.columns[: len(index.columns) - len(columns)]}
    wanted = [column for column in wanted if column.column not in fixed]
    if len(wanted) > len(columns):
        # Among unique keys nothing is left to order, but NULLs are never equal to each other.
        not_null = all(table.live[place[c.number]].not_null for c in index.columns)
        if not (index.unique or index.primary) or not not_null:
            return None
        wanted = wanted[: len(columns)]
    backwards: bool | None = None
    for want, have in zip(wanted, columns, strict=False):
        if place[have.number] != want.column:
            return None
        turned = want.descending != have.descending
        may_be_null = not table.live[want.column].not_null
        if may_be_null and (want.nulls_first != have.nulls_first) != turned:
            return None
        if backwards is not None and backwards != turned:
            return None
        backwards = turned
    return bool(backwards)
