"""Walking and rewriting expressions and whole queries, with the query level in hand.

A Var, an AggregateCall or a CTE reference says how many queries out it looks (`levels_up`). Every
function here that enters a nested query counts the depth, so that a visitor can tell "belongs to
the query we started from" (`levels_up == depth`) from "belongs further out" (`>`).

    query              depth 0
     ├ expressions     0        (lateral functions and VALUES too)
     ├ sub-selects in FROM, CTEs, both sides of UNION, the source of INSERT:   1
     └ sub-selects in expressions:                                              1
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, get_args

from sqlnode import tree
from sqlnode.functions.base import Volatility
from sqlnode.plan.expressions import EXTRA, Expr, SubPlan

Visit = Callable[[Any, int], Any]
"""(node, depth) → its replacement, or None to go on with its parts."""

_NODES: tuple[Any, ...] = (*get_args(tree.Expr), tree.SortItem, *EXTRA)
_SCALARS = frozenset({"type", "typmod", "location", "function", "equals", "less", "form", "query"})


@cache
def _parts(kind: Any) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind) if f.name not in _SCALARS)


def _flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, _NODES):
        yield value
    elif type(value) is tuple:
        for item in value:
            yield from _flatten(item)


def children(expr: Expr) -> Iterator[Expr]:
    """The direct sub-expressions; of a sub-select only its test."""
    if isinstance(expr, tree.Const | tree.Var):
        return
    if isinstance(expr, SubPlan):
        yield from (argument for _, argument in expr.inputs)
        yield from (each for each in (expr.test, expr.hashed) if each is not None)
        return
    for name in _parts(expr.__class__):
        yield from _flatten(getattr(expr, name))


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything below it, without entering sub-selects' queries."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(children(node))


def rewrite(expr: Any, visit: Visit, depth: int = 0) -> Any:
    """The expression with `visit` applied top-down, sub-selects' queries included."""
    found = visit(expr, depth)
    if found is not None:
        return found
    if isinstance(expr, tree.Const | tree.Var | tree.Param):
        return expr
    changes = {}
    for name in _parts(expr.__class__):
        value = getattr(expr, name)
        if isinstance(value, _NODES) or type(value) is tuple:
            new = _rewrite_value(value, visit, depth)
            if new is not value:
                changes[name] = new
    if isinstance(expr, tree.SubLink):
        changes["query"] = rewrite_query(expr.query, visit, depth + 1)
    return replace(expr, **changes) if changes else expr


def _rewrite_value(value: Any, visit: Visit, depth: int) -> Any:
    if isinstance(value, _NODES):
        return rewrite(value, visit, depth)
    if type(value) is tuple:
        new = tuple(_rewrite_value(item, visit, depth) for item in value)
        return new if any(a is not b for a, b in zip(new, value, strict=True)) else value
    return value


def rewrite_query(query: tree.Query, visit: Visit, depth: int = 0) -> tree.Query:
    """The query with `visit` applied to every expression and CTE reference in it.

    `visit` is shown each query itself, too, before what is in it; its answer to that is not used.
    """
    visit(query, depth)

    def each(value: Any) -> Any:
        return None if value is None else rewrite(value, visit, depth)

    def targets(items: tuple[tree.Target, ...]) -> tuple[tree.Target, ...]:
        return tuple(replace(t, expr=each(t.expr)) for t in items)

    def pairs(items: tuple[tuple[int, Any], ...]) -> tuple[tuple[int, Any], ...]:
        return tuple((position, each(expr)) for position, expr in items)

    conflict = query.on_conflict
    if conflict is not None:
        assignments = None if conflict.assignments is None else pairs(conflict.assignments)
        conflict = replace(conflict, assignments=assignments, where=each(conflict.where))
    operation = query.set_operation
    if operation is not None:
        operation = replace(
            operation,
            left=rewrite_query(operation.left, visit, depth + 1),
            right=rewrite_query(operation.right, visit, depth + 1),
        )
    return replace(
        query,
        rtable=tuple(
            replace(entry, source=_rewrite_source(entry.source, visit, depth))
            for entry in query.rtable
        ),
        from_items=tuple(_rewrite_from(item, visit, depth) for item in query.from_items),
        where=each(query.where),
        targets=targets(query.targets),
        having=each(query.having),
        limit=each(query.limit),
        offset=each(query.offset),
        set_operation=operation,
        ctes=tuple(replace(c, query=rewrite_query(c.query, visit, depth + 1)) for c in query.ctes),
        source=None if query.source is None else rewrite_query(query.source, visit, depth + 1),
        defaults=pairs(query.defaults),
        assignments=pairs(query.assignments),
        on_conflict=conflict,
        returning=targets(query.returning),
    )


def _rewrite_source(source: tree.Source, visit: Visit, depth: int) -> tree.Source:
    if isinstance(source, tree.SubquerySource):
        return replace(source, query=rewrite_query(source.query, visit, depth + 1))
    if isinstance(source, tree.FunctionSource):
        return replace(source, call=rewrite(source.call, visit, depth))
    if isinstance(source, tree.ValuesSource):
        rows = tuple(tuple(rewrite(e, visit, depth) for e in row) for row in source.rows)
        return replace(source, rows=rows)
    if isinstance(source, tree.CteSource):
        found: tree.Source | None = visit(source, depth)
        return source if found is None else found
    return source


def _rewrite_from(item: tree.FromItem, visit: Visit, depth: int) -> tree.FromItem:
    if isinstance(item, tree.Leaf):
        return item
    return replace(
        item,
        left=_rewrite_from(item.left, visit, depth),
        right=_rewrite_from(item.right, visit, depth),
        on=None if item.on is None else rewrite(item.on, visit, depth),
    )


def shift_levels(value: Any, delta: int) -> Any:
    """An expression or query moved `delta` queries inwards (outwards, if negative): what it takes
    from around it is that much further out. Moving outwards leaves its own level alone."""

    def visit(node: Any, depth: int) -> Any:
        kinds = (tree.Var, tree.AggregateCall, tree.CteSource)
        if not isinstance(node, kinds) or node.levels_up < depth + (delta < 0):
            return None
        if isinstance(node, tree.AggregateCall):
            inner = tuple(rewrite(argument, visit, depth) for argument in node.args)
            return replace(node, args=inner, levels_up=node.levels_up + delta)
        return replace(node, levels_up=node.levels_up + delta)

    if delta == 0:
        return value
    if isinstance(value, tree.Query):
        return rewrite_query(value, visit)
    return rewrite(value, visit)


def entries_of(expr: Expr) -> frozenset[int]:
    """The range table entries of this query level an expression reads, from sub-selects too."""
    found: set[int] = set()

    def visit(node: Any, depth: int) -> Any:
        if isinstance(node, tree.Var) and node.levels_up == depth:
            found.add(node.entry)
        return None

    rewrite(expr, visit)
    return frozenset(found)


def outer_columns(query: tree.Query) -> frozenset[tree.Var]:
    """The columns of the query around `query` that it reads (lateral references), as seen there."""
    found: set[tree.Var] = set()

    def visit(node: Any, depth: int) -> Any:
        if isinstance(node, tree.Var) and node.levels_up == depth + 1:
            found.add(replace(node, levels_up=0))
        return None

    rewrite_query(query, visit)
    return frozenset(found)


def reads_outside(query: tree.Query) -> bool:
    """Whether the query reads anything of a query around it, CTEs aside."""
    found = False

    def visit(node: Any, depth: int) -> Any:
        nonlocal found
        kinds = (tree.Var, tree.AggregateCall)
        found = found or (isinstance(node, kinds) and node.levels_up > depth)
        return None

    rewrite_query(query, visit)
    return found


def is_volatile(value: Any) -> bool:
    """Whether an expression or query calls a volatile function anywhere."""
    return _calls(value, lambda function: function.volatility is Volatility.VOLATILE)


def returns_set(expr: Expr) -> bool:
    """Whether the expression contains a set-returning call (sub-selects do not count)."""
    return any(isinstance(n, tree.Call) and n.function.returns_set for n in walk(expr))


def has_sublink(expr: Expr) -> bool:
    """Whether the expression contains a sub-select."""
    return any(isinstance(node, tree.SubLink | SubPlan) for node in walk(expr))


def _calls(value: Any, wanted: Callable[[Any], bool]) -> bool:
    found = False

    def visit(node: Any, _: int) -> Any:
        nonlocal found
        found = found or (isinstance(node, tree.Call) and wanted(node.function))
        return None

    if isinstance(value, tree.Query):
        rewrite_query(value, visit)
    else:
        rewrite(value, visit)
    return found


def conjuncts(expr: Expr | None) -> tuple[Expr, ...]:
    """The parts of a top-level AND; none for None."""
    if expr is None:
        return ()
    if isinstance(expr, tree.BoolExpr) and expr.op is tree.BoolOp.AND:
        return tuple(part for arg in expr.args for part in conjuncts(arg))
    return (expr,)


def conjunction(parts: tuple[Expr, ...]) -> Expr | None:
    """The opposite of `conjuncts`."""
    if len(parts) < 2:
        return parts[0] if parts else None
    return tree.BoolExpr(tree.BoolOp.AND, parts)
