"""INSERT, UPDATE and DELETE.

The rows to change are found by an ordinary plan at the statement's snapshot, which gives each row's
key, its columns, and whatever else the new values need. `recheck` repeats the conditions: under
READ COMMITTED a row that somebody else changed meanwhile is locked, and then changed only if its
newest version still satisfies them (PostgreSQL's EvalPlanQual; what other tables of the statement
contributed stays as the snapshot had it).
"""

from sqlnode import tree
from sqlnode.catalog.descriptors import Index, Table
from sqlnode.errors import unsupported
from sqlnode.plan import nodes
from sqlnode.plan.context import Scope, Statement
from sqlnode.plan.expressions import Expr, RowKey
from sqlnode.plan.joins import base_vars
from sqlnode.plan.logical import From, Join, Kind
from sqlnode.plan.nodes import Node
from sqlnode.plan.select import BlockPlanner, with_output
from sqlnode.plan.subplans import PlanQuery, bind_outer
from sqlnode.plan.walk import conjunction


def target_table(query: tree.Query) -> Table:
    """The table a statement writes."""
    source = query.rtable[query.result].source
    if not isinstance(source, tree.RelationSource):
        raise LookupError("the result relation is no table")
    if source.table.virtual:
        raise unsupported(f'writing the system table "{source.table.name}"')
    return source.table


def plan_insert(
    query: tree.Query, statement: Statement, scope: Scope, plan_query: PlanQuery
) -> Node:
    """INSERT: the source's columns and the defaults, put in the table's order."""
    table = target_table(query)
    defaults = dict(query.defaults)
    planner = BlockPlanner(_without_from(query), statement, scope, plan_query)
    child: Node
    given: dict[int, Expr] = {}
    if query.source is None:
        child = nodes.Result(())
    else:
        source, _ = bind_outer(query.source, statement)
        child = plan_query(source, Scope(outer=scope))
        # The source's columns are named by an entry that the statement does not have.
        entry = len(query.rtable)
        given = {
            position: tree.Var(entry, at, table.live[position].type, table.live[position].typmod)
            for at, position in enumerate(query.insert_columns)
        }
        child = nodes.SubqueryScan(entry, "*SELECT*", child, ())
    row = tuple(
        planner.expr(defaults.get(position, tree.Default(column.type)))
        if position in defaults or position not in given
        else given[position]
        for position, column in enumerate(table.live)
    )
    child = with_output(child, row)
    returning = _returning(query, planner)
    return nodes.Insert(
        table,
        query.result,
        child,
        _conflict(query, table, planner),
        returning,
        returning or (),
    )


def _without_from(query: tree.Query) -> tree.Query:
    return tree.Query(query.command, rtable=query.rtable, result=query.result)


def _conflict(query: tree.Query, table: Table, planner: BlockPlanner) -> nodes.Conflict | None:
    conflict = query.on_conflict
    if conflict is None:
        return None
    unique = tuple(i for i in table.indexes if i.unique or i.primary)
    arbiters: tuple[Index, ...] = tuple(
        index for index in unique if conflict.index is None or index.oid == conflict.index
    )
    if conflict.assignments is None:
        return nodes.Conflict(arbiters, None, None, conflict.excluded)
    row = _new_row(table, query.result, conflict.assignments, planner)
    assigned = frozenset(position for position, _ in conflict.assignments)
    where = planner.expr(conflict.where)
    return nodes.Conflict(arbiters, row, where, conflict.excluded, assigned)


def _new_row(
    table: Table, entry: int, assignments: tuple[tuple[int, Expr], ...], planner: BlockPlanner
) -> tuple[Expr, ...]:
    assigned = dict(assignments)
    return tuple(
        planner.expr(assigned[position])
        if position in assigned
        else tree.Var(entry, position, column.type, column.typmod)
        for position, column in enumerate(table.live)
    )


def _returning(query: tree.Query, planner: BlockPlanner) -> tuple[Expr, ...] | None:
    if not query.returning:
        return None
    return tuple(planner.expr(target.expr) for target in query.returning)


def _full_row(table: Table, entry: int) -> set[Expr]:
    return {
        tree.Var(entry, position, column.type, column.typmod)
        for position, column in enumerate(table.live)
    }


def _found_rows(
    query: tree.Query, table: Table, planner: BlockPlanner, exprs: tuple[Expr, ...]
) -> tuple[Node, Expr | None]:
    """(the plan that finds the rows, what must still be true of a row that has changed)."""
    recheck = conjunction((*planner.where, *_inner_on(planner.root)))
    required = {RowKey(query.result), *_full_row(table, query.result)}
    for expr in (*exprs, *(() if recheck is None else (recheck,))):
        required |= base_vars(expr)
    output = tuple(sorted(required, key=lambda e: (e.entry, getattr(e, "column", -2))))
    return with_output(planner.rows(required), output), recheck


def _inner_on(node: From | None) -> tuple[Expr, ...]:
    if not isinstance(node, Join) or node.kind is not Kind.INNER:
        return ()
    return (*node.on, *_inner_on(node.left), *_inner_on(node.right))


def plan_update(
    query: tree.Query, statement: Statement, scope: Scope, plan_query: PlanQuery
) -> Node:
    """UPDATE."""
    table = target_table(query)
    planner = BlockPlanner(query, statement, scope, plan_query)
    query = planner.query
    row = _new_row(table, query.result, query.assignments, planner)
    returning = _returning(query, planner)
    child, recheck = _found_rows(query, table, planner, (*row, *(returning or ())))
    assigned = frozenset(position for position, _ in query.assignments)
    return nodes.Update(
        table, query.result, child, row, assigned, recheck, returning, returning or ()
    )


def plan_delete(
    query: tree.Query, statement: Statement, scope: Scope, plan_query: PlanQuery
) -> Node:
    """DELETE."""
    table = target_table(query)
    planner = BlockPlanner(query, statement, scope, plan_query)
    query = planner.query
    returning = _returning(query, planner)
    child, recheck = _found_rows(query, table, planner, returning or ())
    return nodes.Delete(table, query.result, child, recheck, returning, returning or ())
