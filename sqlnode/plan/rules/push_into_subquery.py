"""Conditions on a sub-select's columns move into its WHERE, or into both sides of a UNION.

Into a grouped one only where the columns are group keys, into DISTINCT always (but not DISTINCT
ON), and never past LIMIT, volatile or set-returning targets, or a condition that has a sub-select.
"""

from dataclasses import replace
from typing import Any

from sqlnode import tree
from sqlnode.plan.walk import (
    conjunction,
    conjuncts,
    has_sublink,
    is_volatile,
    returns_set,
    rewrite,
    shift_levels,
    walk,
)


def push_into_subquery(
    query: tree.Query, entry: int, conditions: tuple[Any, ...]
) -> tuple[tree.Query, tuple[Any, ...]]:
    """(the query with conditions inside, the conditions that have to stay outside)."""
    if (
        query.command is not tree.Command.SELECT
        or query.limit is not None
        or query.offset is not None
        or query.distinct_on
    ):
        return query, conditions
    kept = []
    for condition in conditions:
        pushed = None if _unfit(condition) else _pushed(query, entry, condition)
        if pushed is None:
            kept.append(condition)
        else:
            query = pushed
    return query, tuple(kept)


def _unfit(condition: Any) -> bool:
    return has_sublink(condition) or is_volatile(condition)


def _pushed(query: tree.Query, entry: int, condition: Any) -> tree.Query | None:
    if query.set_operation is not None:
        return _pushed_into_sides(query, entry, condition)
    outputs = [target for target in query.targets if not target.junk]
    columns = {n.column for n in walk(condition) if _is_column(n, entry)}
    for column in columns:
        expr = outputs[column].expr
        if returns_set(expr) or is_volatile(expr) or has_sublink(expr):
            return None
        grouped = query.has_aggregates or query.group_by or query.having is not None
        if grouped and query.targets.index(outputs[column]) not in query.group_by:
            return None
    if any(returns_set(target.expr) for target in query.targets):
        return None
    if not columns or (query.has_aggregates and not query.group_by):
        return None
    inner = _substituted(condition, entry, [target.expr for target in outputs])
    return replace(query, where=conjunction((*conjuncts(query.where), inner)))


def _pushed_into_sides(query: tree.Query, entry: int, condition: Any) -> tree.Query | None:
    operation = query.set_operation
    if operation is None or query.ctes:
        return None
    outputs = [target.expr for target in query.targets if not target.junk]
    if not all(isinstance(output, tree.Var) for output in outputs):
        return None
    inner = _substituted(condition, entry, outputs)
    # Inside, the operation's rows are entry 0 of the query; each side sees them as its own output.
    left, kept_left = push_into_subquery(operation.left, 0, (inner,))
    right, kept_right = push_into_subquery(operation.right, 0, (inner,))
    if kept_left or kept_right:
        return None
    return replace(query, set_operation=replace(operation, left=left, right=right))


def _is_column(node: Any, entry: int) -> bool:
    return isinstance(node, tree.Var) and node.entry == entry and node.levels_up == 0


def _substituted(condition: Any, entry: int, outputs: list[Any]) -> Any:
    def visit(node: Any, depth: int) -> Any:
        if _is_column(node, entry):
            return outputs[node.column]
        if isinstance(node, tree.Var):
            return shift_levels(node, 1)
        return None

    return rewrite(condition, visit)
