"""Aggregates: to which query level a call belongs, and what may stand outside of them.

An aggregate belongs to the innermost level that one of its variables comes from, so that in

    SELECT (SELECT max(o.x) FROM i) FROM o

the maximum is computed over `o`, by the outer query (SQL:1999, 6.16).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlnode import tree
from sqlnode.analyse import coerce, sets
from sqlnode.analyse.dispatch import expression, expression_in, present
from sqlnode.analyse.locations import expr_location, position
from sqlnode.analyse.sorting import sort_direction
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.analyse.walk import children, references
from sqlnode.errors import SqlError
from sqlnode.functions import registry as functions
from sqlnode.functions.base import Function

_ALLOWED = frozenset(
    {ExprKind.NONE, ExprKind.HAVING, ExprKind.SELECT_TARGET, ExprKind.ORDER_BY}
    | {ExprKind.DISTINCT_ON}
)


def call(
    state: State, node: Node, function: Function, args: tuple[tree.Expr, ...], result: int
) -> tree.AggregateCall:
    """An aggregate call; raises SqlError 42803 where none may stand."""
    name = function.name
    where = position(node.location)
    if not args and not node.agg_star:
        message = f"{name}(*) must be used to call a parameterless aggregate function"
        raise SqlError("42809", message, position=where)
    returning_sets = sets.standing_in(state, args)
    if returning_sets is not None:
        message = "aggregate function calls cannot contain set-returning function calls"
        raise sets.refused(returning_sets, message)
    order_by = _order_by(state, node)
    if node.agg_distinct:
        _check_distinct(args, order_by, node)
    condition: tree.Expr | None = None
    if present(node.agg_filter):
        found = expression_in(state, node.agg_filter, ExprKind.FILTER)
        condition = coerce.to_boolean(state, found, "FILTER")
    parts: list[tree.Expr] = [*args, *(item.expr for item in order_by)]
    if condition is not None:
        parts.append(condition)
    levels = _level_of(parts, where)
    owner = state
    for _ in range(levels):
        if owner.parent is None:
            raise LookupError("a Var points past the outermost query")
        owner = owner.parent
    if owner.kind not in _ALLOWED:
        raise SqlError("42803", _not_allowed(owner.kind), position=where)
    owner.has_aggregates = True
    return tree.AggregateCall(
        function,
        args,
        result,
        star=node.agg_star,
        distinct=node.agg_distinct,
        order_by=order_by,
        filter=condition,
        levels_up=levels,
        location=node.location,
    )


def _not_allowed(kind: ExprKind) -> str:
    return f"aggregate functions are not allowed in {kind.value}"


def _order_by(state: State, node: Node) -> tuple[tree.SortItem, ...]:
    items = []
    for item in node.agg_order:
        sort = item.sort_by
        expr = coerce.literal_to_text(state, expression(state, sort.node))
        descending, nulls_first = sort_direction(state, sort, expr.type)
        items.append(tree.SortItem(expr, descending, nulls_first))
    return tuple(items)


def _check_distinct(
    args: Sequence[tree.Expr], order_by: Sequence[tree.SortItem], node: Node
) -> None:
    where = position(node.location)
    if not args:
        raise SqlError("42601", "DISTINCT is not allowed for count(*)", position=where)
    for item in order_by:
        if item.expr in args:
            continue
        message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list"
        raise SqlError("42P10", message, position=position(expr_location(item.expr)))
    for arg in args:
        try:
            functions.equality(arg.type)
        except SqlError as error:
            error.position = where
            raise


def _level_of(parts: Sequence[tree.Expr], where: int | None) -> int:
    """The level the aggregate belongs to: the innermost its arguments refer to, 0 if to none."""
    levels = []
    nested = []
    for part in parts:
        for node, level in references(part):
            if level >= 0:
                levels.append(level)
                if isinstance(node, tree.AggregateCall):
                    nested.append((level, node.location))
    level = min(levels, default=0)
    for inner, location in nested:
        if inner == level:
            message = "aggregate function calls cannot be nested"
            raise SqlError("42803", message, position=position(location))
    return level


def check_grouping(state: State, query: tree.Query) -> None:
    """Every column outside aggregates is grouped by; raises SqlError 42803.

    Grouping by a table's whole primary key covers all its columns.
    """
    if not (query.group_by or query.having is not None or state.has_aggregates):
        return
    keys = [query.targets[i].expr for i in query.group_by]
    checker = _GroupingChecker(state, keys)
    for i in query.group_by:
        if any(
            isinstance(n, tree.AggregateCall) and lvl == 0
            for n, lvl in references(query.targets[i].expr)
        ):
            raise SqlError(
                "42803",
                _not_allowed(ExprKind.GROUP_BY),
                position=_aggregate_location(query.targets[i].expr),
            )
    for target in query.targets:
        checker.check(target.expr, 0)
    if query.having is not None:
        checker.check(query.having, 0)


def _aggregate_location(expr: tree.Expr) -> int | None:
    for node, level in references(expr):
        if isinstance(node, tree.AggregateCall) and level == 0:
            return position(node.location)
    return None


class _GroupingChecker:
    def __init__(self, state: State, keys: Sequence[tree.Expr]) -> None:
        self._state = state
        self._keys = keys
        self._covered = {
            index for index, entry in enumerate(state.entries) if self._has_key(index, entry)
        }

    def _has_key(self, index: int, entry: tree.RangeEntry) -> bool:
        if not isinstance(entry.source, tree.RelationSource):
            return False
        table = entry.source.table
        if table.primary is None:
            return False
        numbers = {
            table.live[key.column].number
            for key in self._keys
            if isinstance(key, tree.Var)
            and key.entry == index
            and key.levels_up == 0
            and key.column >= 0
        }
        return all(column.number in numbers for column in table.primary.columns)

    def check(self, node: Any, depth: int) -> None:
        """Raise for the first ungrouped column; `depth` counts sub-selects entered."""
        if isinstance(node, tree.AggregateCall) and node.levels_up >= depth:
            return
        if isinstance(node, tree.Const | tree.Param):
            return
        if depth == 0 and node in self._keys:
            return
        if isinstance(node, tree.Var):
            self._check_var(node, depth)
            return
        inner = depth + 1 if isinstance(node, tree.Query) else depth
        for child in children(node):
            self.check(child, inner)

    def _check_var(self, var: tree.Var, depth: int) -> None:
        if var.levels_up != depth or var.entry in self._covered:
            return
        if replace(var, levels_up=0) in self._keys:
            return
        entry = self._state.entries[var.entry]
        name = entry.columns[var.column].name if var.column >= 0 else "*"
        column = f'"{entry.alias}.{name}"'
        if depth:
            message = f"subquery uses ungrouped column {column} from outer query"
        else:
            message = (
                f"column {column} must appear in the GROUP BY clause "
                "or be used in an aggregate function"
            )
        raise SqlError("42803", message, position=position(var.location))
