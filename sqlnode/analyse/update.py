"""UPDATE and DELETE."""

from collections.abc import Sequence

from sqlnode import tree
from sqlnode.analyse import clauses, from_clause, modify, namespace, with_clause
from sqlnode.analyse.assignment import assign, column_position, default_of
from sqlnode.analyse.dispatch import expression_in, handles_query, query
from sqlnode.analyse.identity import check_update
from sqlnode.analyse.locations import node_location, position
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.catalog.descriptors import Column, Table
from sqlnode.errors import SqlError, unsupported


@handles_query("update_stmt")
def update(state: State, node: Node) -> tree.Query:
    """UPDATE … SET … [FROM …] [WHERE …] [RETURNING …]."""
    ctes = with_clause.analyse(state, node)
    table, item = modify.target(state, node.relation)
    items = _from(state, item, node.from_clause)
    where = clauses.condition(state, node.where_clause, ExprKind.WHERE)
    returning = modify.returning(state, node)
    assigned = assignments(state, table, node.target_list)
    return tree.Query(
        tree.Command.UPDATE,
        rtable=tuple(state.entries),
        from_items=(tree.Leaf(item.entry), *items),
        where=where,
        ctes=ctes,
        result=item.entry,
        assignments=assigned,
        returning=returning,
    )


@handles_query("delete_stmt")
def delete(state: State, node: Node) -> tree.Query:
    """DELETE FROM … [USING …] [WHERE …] [RETURNING …]."""
    ctes = with_clause.analyse(state, node)
    _, item = modify.target(state, node.relation)
    items = _from(state, item, node.using_clause)
    where = clauses.condition(state, node.where_clause, ExprKind.WHERE)
    return tree.Query(
        tree.Command.DELETE,
        rtable=tuple(state.entries),
        from_items=(tree.Leaf(item.entry), *items),
        where=where,
        ctes=ctes,
        result=item.entry,
        returning=modify.returning(state, node),
    )


def _from(
    state: State, item: namespace.NamespaceItem, nodes: Sequence[Node]
) -> tuple[tree.FromItem, ...]:
    """The other tables; sub-selects among them can't refer to the target table."""
    item.lateral_only, item.lateral_ok = True, False
    state.namespace = [item]
    items = from_clause.from_clause(state, nodes)
    item.lateral_only, item.lateral_ok = False, True
    return items


def assignments(
    state: State, table: Table, nodes: Sequence[Node]
) -> tuple[tuple[int, tree.Expr], ...]:
    """SET's (column position, value) pairs, the values as the columns store them."""
    found: list[tuple[int, tree.Expr]] = []
    for node in nodes:
        target = node.res_target
        if target.indirection:
            raise unsupported("UPDATE of part of a column", position=target.location)
        at = column_position(table, target.name, target.location)
        if any(at == other for other, _ in found):
            message = f'multiple assignments to same column "{target.name}"'
            raise SqlError("42601", message)
        found.append((at, _value(state, table.live[at], target.val)))
    return tuple(found)


def _value(state: State, column: Column, node: Node) -> tree.Expr:
    kind = node.WhichOneof("node")
    if kind == "multi_assign_ref":
        return _one_of_many(state, column, node.multi_assign_ref)
    if kind == "set_to_default":
        return default_of(state, column)
    check_update(column)
    return assign(state, column, expression_in(state, node, ExprKind.UPDATE_SOURCE))


def _one_of_many(state: State, column: Column, node: Node) -> tree.Expr:
    """One value of `(a, b) = (…)`; of a sub-select, its own sub-select for that one column."""
    source = node.source
    kind = source.WhichOneof("node")
    where = position(node_location(source))
    if kind == "row_expr":
        if len(source.row_expr.args) != node.ncolumns:
            message = "number of columns does not match number of values"
            raise SqlError("42601", message, position=where)
        return _value(state, column, source.row_expr.args[node.colno - 1])
    if kind != "sub_link" or source.sub_link.sub_link_type != 5:
        message = (
            "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression"
        )
        raise SqlError("0A000", message, position=where)
    check_update(column)
    outer = state.child()
    previous, state.kind = state.kind, ExprKind.UPDATE_SOURCE
    inner = query(outer.child(), source.sub_link.subselect)
    state.kind = previous
    visible = [target for target in inner.targets if not target.junk]
    if len(visible) != node.ncolumns:
        message = "number of columns does not match number of values"
        raise SqlError("42601", message, position=where)
    columns = tuple(tree.OutputColumn(t.name, t.expr.type, t.expr.typmod) for t in visible)
    entry = tree.RangeEntry("unnamed_subquery", tree.SubquerySource(inner), columns)
    chosen = columns[node.colno - 1]
    var = tree.Var(0, node.colno - 1, chosen.type, chosen.typmod)
    single = tree.Query(
        tree.Command.SELECT,
        rtable=(entry,),
        from_items=(tree.Leaf(0),),
        targets=(tree.Target(var, chosen.name),),
    )
    link = tree.SubLink(
        tree.SubLinkKind.SCALAR,
        single,
        chosen.type,
        chosen.typmod,
        location=source.sub_link.location,
    )
    return assign(state, column, link)
