"""UNION, INTERSECT, EXCEPT: both sides as queries, their columns brought to common types."""

from dataclasses import replace

from sqlnode import tree
from sqlnode.analyse import clauses, coerce, missing, sorting, targets
from sqlnode.analyse.dispatch import query_of
from sqlnode.analyse.locations import expr_location, node_location, position
from sqlnode.analyse.pathways import Context
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.analyse.walk import raise_levels
from sqlnode.errors import SqlError
from sqlnode.types import oids

_OPS = {2: tree.SetOp.UNION, 3: tree.SetOp.INTERSECT, 4: tree.SetOp.EXCEPT}


def analyse(state: State, node: Node, ctes: tuple[tree.Cte, ...]) -> tree.Query:
    """A set operation with the ORDER BY and LIMIT of the whole."""
    if node.locking_clause:
        message = "FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT"
        raise SqlError("0A000", message)
    op = _OPS[node.op]
    left = _side(state, node.larg)
    right = _side(state, node.rarg)
    operation, found = combine(state, op, all_rows=node.all, left=left, right=right)
    order_by = _order_by(state, node, found)
    return tree.Query(
        tree.Command.SELECT,
        targets=tuple(found),
        order_by=order_by,
        limit=clauses.limit(state, node.limit_count, ExprKind.LIMIT),
        offset=clauses.limit(state, node.limit_offset, ExprKind.OFFSET),
        with_ties=clauses.with_ties(node),
        set_operation=operation,
        ctes=ctes,
    )


def _side(state: State, node: Node) -> tree.Query:
    inner = state.child()
    inner.resolve_unknowns = False
    return query_of(inner, "select_stmt", node)


def combine(
    state: State, op: tree.SetOp, *, all_rows: bool, left: tree.Query, right: tree.Query
) -> tuple[tree.SetOperation, list[tree.Target]]:
    """Both sides coerced to their common columns, and the targets over them."""
    ones, others = _visible(left), _visible(right)
    word = op.value.upper()
    if len(ones) != len(others):
        at = expr_location(others[0].expr) if others else -1
        message = f"each {word} query must have the same number of columns"
        raise SqlError("42601", message, position=position(at))
    commons: list[tuple[int, int]] = []
    found: list[tree.Target] = []
    for i, (one, other) in enumerate(zip(ones, others, strict=True)):
        pair = [one.expr, other.expr]
        common = coerce.select_common_type(pair, word)
        typmod = coerce.select_common_typmod(pair, common)
        if op is not tree.SetOp.UNION or not all_rows:
            sorting.check_equality(tree.CaseValue(common), position(expr_location(one.expr)))
        commons.append((common, typmod))
        found.append(tree.Target(tree.Var(0, i, common, typmod), one.name))
    wanted = [common for common, _ in commons]
    operation = tree.SetOperation(
        op, all_rows, _coerced(state, left, wanted, word), _coerced(state, right, wanted, word)
    )
    return operation, found


def _visible(query: tree.Query) -> list[tree.Target]:
    return [target for target in query.targets if not target.junk]


def _coerced(state: State, query: tree.Query, wanted: list[int], word: str) -> tree.Query:
    """The query giving the wanted types: literals in place, the rest through a sub-select."""
    new = []
    for target, common in zip(_visible(query), wanted, strict=True):
        literal = target.expr.type == oids.UNKNOWN
        expr = target.expr
        if literal:
            expr = coerce.to_type(state, expr, common, context=Context.IMPLICIT)
        new.append(replace(target, expr=expr) if expr is not target.expr else target)
    hidden = tuple(target for target in query.targets if target.junk)
    if any(a is not b for a, b in zip(new, _visible(query), strict=True)):
        query = replace(query, targets=(*new, *hidden))
    if all(target.expr.type == common for target, common in zip(new, wanted, strict=True)):
        return query
    if _is_simple(query):
        cast = [
            replace(target, expr=coerce.to_common(state, target.expr, common, word))
            for target, common in zip(new, wanted, strict=True)
        ]
        return replace(query, targets=tuple(cast))
    return _wrapped(state, query, wanted, word)


def _is_simple(query: tree.Query) -> bool:
    """Whether the targets may change without changing which rows there are."""
    return not (
        query.group_by
        or query.order_by
        or query.set_operation is not None
        or query.distinct_on is not None
    )


def _wrapped(state: State, query: tree.Query, wanted: list[int], word: str) -> tree.Query:
    columns = targets.output_columns(query)
    entry = tree.RangeEntry(
        "unnamed_subquery", tree.SubquerySource(raise_levels(query, 1)), columns
    )
    cast = tuple(
        tree.Target(
            coerce.to_common(state, tree.Var(0, i, column.type, column.typmod), common, word),
            column.name,
        )
        for i, (column, common) in enumerate(zip(columns, wanted, strict=True))
    )
    return tree.Query(
        tree.Command.SELECT, rtable=(entry,), from_items=(tree.Leaf(0),), targets=cast
    )


def _order_by(state: State, node: Node, found: list[tree.Target]) -> tuple[tree.SortKey, ...]:
    """ORDER BY's keys, which can only be output columns."""
    for item in node.sort_clause:
        inner = item.sort_by.node
        kind = inner.WhichOneof("node")
        named = kind == "column_ref" and len(inner.column_ref.fields) == 1
        if named:
            name = inner.column_ref.fields[0].string.sval
            if name not in {target.name for target in found}:
                raise missing.column(state, None, name, inner.column_ref.location)
        if kind != "a_const" and not named:
            raise SqlError(
                "0A000",
                "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                detail="Only result column names can be used, not expressions or functions.",
                hint="Add the expression/function to every SELECT, "
                "or move the UNION into a FROM clause.",
                position=position(node_location(inner)),
            )
    return sorting.order_by(state, node.sort_clause, found)
