"""An outer join whose missing rows WHERE rejects anyway is a plainer join.

    a LEFT JOIN b ON … WHERE b.x > 3     →   a JOIN b ON … WHERE b.x > 3

A conjunct rejects them if it cannot be true when every column of b is NULL: a strict operator on a
column of b, or `b.x IS NOT NULL`.
"""

from dataclasses import replace
from typing import Any

from sqlnode import tree
from sqlnode.plan.logical import Block, From, Join, Kind, Leaf, entries_under
from sqlnode.plan.walk import entries_of


def reduce_outer_joins(block: Block) -> Block:
    """Turn outer joins into inner ones (FULL into LEFT) where WHERE allows it."""
    if block.root is None:
        return block
    rejected: frozenset[int] = frozenset().union(*map(rejects_null, block.where))
    return replace(block, root=_reduce(block.root, rejected))


def rejects_null(condition: Any) -> frozenset[int]:
    """Entries that have a row wherever the condition is true."""
    if isinstance(condition, tree.NullTest) and condition.negated:
        return _needed(condition.arg)
    if isinstance(condition, tree.BoolExpr):
        parts = [rejects_null(arg) for arg in condition.args]
        if condition.op is tree.BoolOp.AND:
            return frozenset().union(*parts)
        if condition.op is tree.BoolOp.OR:
            return frozenset.intersection(*parts)
        return _needed(condition.args[0])
    return _needed(condition)


def _needed(expr: Any) -> frozenset[int]:
    """Entries without whose row the expression is NULL."""
    if isinstance(expr, tree.Var):
        return entries_of(expr)
    if isinstance(expr, tree.Call) and expr.function.strict and not expr.function.returns_set:
        return frozenset().union(*map(_needed, expr.args))
    if isinstance(expr, tree.Relabel | tree.CoerceViaIO | tree.ApplyTypmod):
        return _needed(expr.arg)
    if isinstance(expr, tree.ScalarArrayOp) and expr.use_any:
        return _needed(expr.left)
    return frozenset()


def _reduce(node: From, rejected: frozenset[int]) -> From:
    if isinstance(node, Leaf):
        return node
    kind, left, right = node.kind, node.left, node.right
    if kind is Kind.FULL:
        has_left = bool(entries_under(left) & rejected)
        has_right = bool(entries_under(right) & rejected)
        if has_left and has_right:
            kind = Kind.INNER
        elif has_left:
            kind = Kind.LEFT
        elif has_right:
            kind, left, right = Kind.LEFT, right, left
    if kind is Kind.LEFT and entries_under(right) & rejected:
        kind = Kind.INNER
    if kind in (Kind.INNER, Kind.SEMI):
        rejected = rejected.union(*map(rejects_null, node.on))
        return Join(kind, _reduce(left, rejected), _reduce(right, rejected), node.on)
    if kind in (Kind.LEFT, Kind.ANTI):
        inside: frozenset[int] = frozenset().union(*map(rejects_null, node.on))
        return Join(kind, _reduce(left, rejected), _reduce(right, inside), node.on)
    return Join(kind, _reduce(left, frozenset()), _reduce(right, frozenset()), node.on)
