"""SELECT: the clauses in the order SQL evaluates their names."""

from sqlnode import tree
from sqlnode.analyse import (
    aggregates,
    clauses,
    from_clause,
    locking,
    set_operations,
    sets,
    sorting,
    targets,
    values,
    with_clause,
)
from sqlnode.analyse.dispatch import handles_query, present
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.errors import unsupported

_SETOP_NONE = 1


@handles_query("select_stmt")
def select(state: State, node: Node) -> tree.Query:
    """Any SELECT: plain, VALUES or a set operation."""
    if node.HasField("into_clause"):
        raise unsupported("SELECT INTO")
    ctes = with_clause.analyse(state, node)
    if node.op != _SETOP_NONE:
        return set_operations.analyse(state, node, ctes)
    if node.values_lists:
        return values.analyse(state, node, ctes)
    return _plain(state, node, ctes)


def _plain(state: State, node: Node, ctes: tuple[tree.Cte, ...]) -> tree.Query:
    if node.window_clause:
        raise unsupported("WINDOW")
    from_items = from_clause.from_clause(state, node.from_clause)
    found = targets.target_list(state, node.target_list, ExprKind.SELECT_TARGET)
    where = clauses.condition(state, node.where_clause, ExprKind.WHERE)
    having = clauses.condition(state, node.having_clause, ExprKind.HAVING)
    order_by = sorting.order_by(state, node.sort_clause, found)
    group_by = sorting.group_by(state, node.group_clause, found)
    distinct_on: tuple[int, ...] | None = None
    if node.distinct_clause:
        if present(node.distinct_clause[0]):
            distinct_on = sorting.distinct_on(state, node.distinct_clause, found, order_by)
        else:
            distinct_on = sorting.distinct_all(found, order_by)
    offset = clauses.limit(state, node.limit_offset, ExprKind.OFFSET)
    count = clauses.limit(state, node.limit_count, ExprKind.LIMIT)
    if state.resolve_unknowns:
        targets.resolve_unknowns(state, found)
    query = tree.Query(
        tree.Command.SELECT,
        rtable=tuple(state.entries),
        from_items=from_items,
        where=where,
        targets=tuple(found),
        group_by=group_by,
        having=having,
        distinct_on=distinct_on,
        order_by=order_by,
        limit=count,
        offset=offset,
        with_ties=clauses.with_ties(node),
        ctes=ctes,
        has_aggregates=state.has_aggregates,
    )
    query = sets.placed(query, state.set_returning)
    aggregates.check_grouping(state, query)
    return locking.apply(query, node.locking_clause)
