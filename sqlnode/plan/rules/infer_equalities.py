"""`a.x = b.y AND b.y = 5` also says `a.x = 5`: every table of an equality class gets the constant.

Only among conditions that hold for the same rows (WHERE with the inner joins below it), only for
equality of one type, and only constants and parameters are spread: that is what opens an index.
"""

from dataclasses import replace
from typing import Any

from sqlnode import tree
from sqlnode.functions import registry as functions
from sqlnode.plan.access import strip_relabel
from sqlnode.plan.expressions import Slot
from sqlnode.plan.logical import Block, From, Join, Kind

CLASSES_MAX = 64
"""Equalities looked at in one query; more are left as they are."""


def infer_equalities(block: Block) -> Block:
    """Add the equalities with constants that WHERE and the inner joins imply."""
    if block.root is None:
        return block
    conditions = (*block.where, *_inner_conditions(block.root))
    pairs = [pair for pair in map(_equality, conditions) if pair is not None]
    known = {(left, right) for left, right in pairs}
    added: list[Any] = []
    if len(pairs) > CLASSES_MAX:
        return block
    for column, value in list(pairs):
        if not isinstance(value, tree.Const | tree.Param | Slot):
            continue
        for other in sorted(_class_of(column, pairs), key=lambda v: (v.entry, v.column)):
            if (other, value) not in known and other != column:
                known.add((other, value))
                added.append(_equal(other, value))
    return replace(block, where=(*block.where, *added))


def _inner_conditions(node: From) -> tuple[Any, ...]:
    if not isinstance(node, Join) or node.kind is not Kind.INNER:
        return ()
    return (*node.on, *_inner_conditions(node.left), *_inner_conditions(node.right))


def _equality(condition: Any) -> tuple[Any, Any] | None:
    """(column, column or constant) of a conjunct that is a plain equality of one type."""
    if not isinstance(condition, tree.Call) or condition.operator != "=":
        return None
    left, right = (strip_relabel(arg) for arg in condition.args)
    if not isinstance(left, tree.Var):
        left, right = right, left
    if not isinstance(left, tree.Var) or left.levels_up or left.column < 0:
        return None
    if left.type != right.type or condition.function is not functions.equality(left.type):
        return None
    if isinstance(right, tree.Var) and (right.levels_up or right.column < 0):
        return None
    return left, right


def _class_of(column: Any, pairs: list[tuple[Any, Any]]) -> set[Any]:
    found = {column}
    grew = True
    while grew:
        grew = False
        for left, right in pairs:
            if isinstance(right, tree.Var) and (left in found) != (right in found):
                found |= {left, right}
                grew = True
    return found


def _equal(column: Any, value: Any) -> tree.Call:
    return tree.Call(
        functions.equality(column.type),
        (column, value),
        16,
        form=tree.CallForm.OPERATOR,
        operator="=",
    )
