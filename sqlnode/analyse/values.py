"""VALUES as a query: rows of expressions brought to common column types."""

from collections.abc import Sequence

from sqlnode import tree
from sqlnode.analyse import clauses, coerce, namespace, sorting, targets
from sqlnode.analyse.dispatch import expression_in
from sqlnode.analyse.locations import node_location, position
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.errors import SqlError


def analyse(state: State, node: Node, ctes: tuple[tree.Cte, ...]) -> tree.Query:
    """`VALUES (…), (…)` with its ORDER BY and LIMIT."""
    rows = [_row(state, item.list.items) for item in node.values_lists]
    check_lengths(node.values_lists, rows)
    columns = [_column(state, [row[i] for row in rows]) for i in range(len(rows[0]))]
    source = tree.ValuesSource(
        tuple(zip(*columns, strict=True)) if columns else tuple(() for _ in rows),
        lateral=False,
    )
    outputs = tuple(
        tree.OutputColumn(
            f"column{i}", column[0].type, coerce.select_common_typmod(column, column[0].type)
        )
        for i, column in enumerate(columns, start=1)
    )
    entry = tree.RangeEntry("*VALUES*", source, outputs)
    index = state.add_entry(entry)
    state.namespace.append(namespace.item_of(entry, index, aliased=True))
    found = [
        tree.Target(tree.Var(index, i, column.type, column.typmod), column.name)
        for i, column in enumerate(outputs)
    ]
    order_by = sorting.order_by(state, node.sort_clause, found)
    if node.locking_clause:
        raise SqlError("0A000", "SELECT FOR UPDATE/SHARE cannot be applied to VALUES")
    return tree.Query(
        tree.Command.SELECT,
        rtable=tuple(state.entries),
        from_items=(tree.Leaf(index),),
        targets=tuple(found),
        order_by=order_by,
        limit=clauses.limit(state, node.limit_count, ExprKind.LIMIT),
        offset=clauses.limit(state, node.limit_offset, ExprKind.OFFSET),
        with_ties=clauses.with_ties(node),
        ctes=ctes,
    )


def _row(state: State, items: Sequence[Node]) -> list[tree.Expr]:
    row: list[tree.Expr] = []
    for item in items:
        star = targets.expand_star(state, item)
        if star is not None:
            row.extend(target.expr for target in star)
        else:
            row.append(expression_in(state, item, ExprKind.VALUES))
    return row


def check_lengths(nodes: Sequence[Node], rows: Sequence[Sequence[object]]) -> None:
    """42601 where the lists differ in length."""
    for node, row in zip(nodes, rows, strict=True):
        if len(row) != len(rows[0]):
            message = "VALUES lists must all be the same length"
            raise SqlError("42601", message, position=position(node_location(node)))


def _column(state: State, exprs: list[tree.Expr]) -> list[tree.Expr]:
    common = coerce.select_common_type(exprs, "VALUES")
    return [coerce.to_common(state, expr, common, "VALUES") for expr in exprs]
