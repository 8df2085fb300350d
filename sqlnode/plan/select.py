"""One query above its join tree: grouping, DISTINCT, ORDER BY, LIMIT, locking clauses.

    join tree → Aggregate → ProjectSet → Distinct → Sort → LockRows → Limit → Project

The rows between these steps are the query's targets, junk ones included; the last Project drops the
junk. Scans, joins and aggregates compute the targets in their own pass.
"""

from dataclasses import replace
from typing import Any

from sqlnode import sqlstate, tree
from sqlnode.errors import SqlError
from sqlnode.plan import access, nodes
from sqlnode.plan.context import Scope, Statement
from sqlnode.plan.expressions import Expr, RowKey, SubPlan
from sqlnode.plan.joins import JoinPlanner, base_vars
from sqlnode.plan.logical import From, Join, Leaf, entries_left_out
from sqlnode.plan.nodes import Node
from sqlnode.plan.rewrite import rewritten
from sqlnode.plan.scans import Leaves
from sqlnode.plan.subplans import PlanQuery, plan_sublinks
from sqlnode.plan.walk import children, conjunction, has_sublink, is_volatile, returns_set

_PROJECTING = (
    nodes.Result,
    nodes.TableScan,
    nodes.FunctionScan,
    nodes.ValuesScan,
    nodes.SubqueryScan,
    nodes.CteScan,
    nodes.HashJoin,
    nodes.NestedLoop,
    nodes.IndexJoin,
    nodes.Aggregate,
)


class BlockPlanner:
    """Plans FROM and WHERE of one query and knows how to plan expressions in it."""

    def __init__(
        self, query: tree.Query, statement: Statement, scope: Scope, plan_query: PlanQuery
    ) -> None:
        self._statement = statement
        self._scope = scope
        self._plan_query = plan_query
        self._known: list[tuple[Any, Any]] = []
        block = rewritten(query, optimize=statement.optimize)
        self.query = block.query
        self.rtable = block.rtable
        self.root = None if block.root is None else self._from(block.root)
        self.where = tuple(self.expr(condition) for condition in block.where)
        leaves = Leaves(statement, scope, self.rtable, plan_query)
        self._joins = JoinPlanner(leaves)

    def expr(self, expr: Any) -> Any:
        """The expression with its sub-selects planned; equal ones share one plan, unless what they
        call answers otherwise each time."""
        if expr is None or not has_sublink(expr):
            return expr
        for known, planned in self._known:
            if known is expr or (known == expr and not is_volatile(expr)):
                return planned
        planned = plan_sublinks(expr, self._statement, self._scope, self._plan_query)
        self._known.append((expr, planned))
        return planned

    def _from(self, node: From) -> From:
        if isinstance(node, Leaf):
            return node
        on = tuple(self.expr(condition) for condition in node.on)
        return Join(node.kind, self._from(node.left), self._from(node.right), on)

    def rows(self, required: set[Expr]) -> Node:
        """The plan of FROM and WHERE, giving the required columns (in no promised order)."""
        if self.root is None:
            return nodes.Result((), conjunction(self.where))
        return self._joins.build(self.root, self.where, required).node


def with_output(node: Node, output: tuple[Expr, ...]) -> Node:
    """The node giving `output`, computed in its own pass where it can."""
    if isinstance(node, _PROJECTING):
        return replace(node, output=output)
    return nodes.Project(node, output)


def plan_select(
    query: tree.Query, statement: Statement, scope: Scope, plan_query: PlanQuery
) -> Node:
    """The plan of a SELECT that is no set operation; WITH is the caller's business."""
    planner = BlockPlanner(query, statement, scope, plan_query)
    query = planner.query
    targets = tuple(planner.expr(target.expr) for target in query.targets)
    locked = _locked_entries(planner.rtable)
    keys = sort_keys(query, targets)
    if locked:
        _refuse_optional(planner, locked)
        return _plan_locking(planner, query, targets, locked, keys)
    node, targets = _grouped(planner, query, targets)
    if node is None:
        required = set().union(*map(base_vars, targets)) if targets else set()
        node = planner.rows(required)
    node = _with_targets(node, targets)
    if query.distinct_on is not None:
        node, keys = _distinct(query, node, targets, keys)
    node = ordered(node, query, planner, keys)
    return _without_junk(node, query, targets)


def _with_targets(node: Node, targets: tuple[Expr, ...]) -> Node:
    if any(returns_set(target) for target in targets):
        parts: dict[Expr, None] = {}
        for target in targets:
            for each in [target] if not returns_set(target) else sorted_vars(target):
                parts.setdefault(each)
        return nodes.ProjectSet(with_output(node, tuple(parts)), targets)
    return with_output(node, targets)


def sorted_vars(expr: Expr) -> list[Expr]:
    """The columns an expression reads, aggregates and sub-selects counting as columns."""
    found: list[Expr] = []

    def collect(node: Any) -> None:
        if isinstance(node, tree.Var | tree.AggregateCall | RowKey | SubPlan):
            found.append(node)
            return
        for child in children(node):
            collect(child)

    collect(expr)
    return found


def _grouped(
    planner: BlockPlanner, query: tree.Query, targets: tuple[Expr, ...]
) -> tuple[Node | None, tuple[Expr, ...]]:
    if not (query.has_aggregates or query.group_by or query.having is not None):
        return None, targets
    having = planner.expr(query.having)
    groups = list(dict.fromkeys(targets[position] for position in query.group_by))
    calls: dict[tree.AggregateCall, None] = {}
    loose: dict[Expr, None] = {}
    for expr in (*targets, *(() if having is None else (having,))):
        _collect(expr, groups, calls, loose)
    # What is functionally dependent on the group (columns of a grouped primary key's table).
    groups += list(loose)
    inputs: dict[Expr, None] = dict.fromkeys(groups)
    for call in calls:
        for arg in _aggregate_inputs(call):
            inputs.setdefault(arg)
    required = set().union(*map(base_vars, inputs)) if inputs else set()
    child = with_output(planner.rows(required), tuple(inputs))
    plain = not groups and not query.group_by
    node = nodes.Aggregate(child, tuple(groups), tuple(calls), plain, having, (*groups, *calls))
    return node, targets


def _aggregate_inputs(call: tree.AggregateCall) -> tuple[Expr, ...]:
    more = () if call.filter is None else (call.filter,)
    return (*call.args, *(item.expr for item in call.order_by), *more)


def _collect(
    expr: Expr,
    groups: list[Expr],
    calls: dict[tree.AggregateCall, None],
    loose: dict[Expr, None],
) -> None:
    if expr in groups:
        return
    if isinstance(expr, tree.AggregateCall):
        calls.setdefault(expr)
        return
    if isinstance(expr, tree.Var) and expr.levels_up == 0:
        loose.setdefault(expr)
        return
    for child in children(expr):
        _collect(child, groups, calls, loose)


def sort_keys(query: tree.Query, targets: tuple[Expr, ...]) -> tuple[nodes.SortColumn, ...]:
    """ORDER BY in terms of the targets' positions; constants order nothing."""
    return tuple(
        nodes.SortColumn(key.target, targets[key.target].type, key.descending, key.nulls_first)
        for key in query.order_by
        if not isinstance(targets[key.target], tree.Const | tree.Param)
    )


def _distinct(
    query: tree.Query,
    node: Node,
    targets: tuple[Expr, ...],
    keys: tuple[nodes.SortColumn, ...],
) -> tuple[Node, tuple[nodes.SortColumn, ...]]:
    positions = query.distinct_on or None
    if positions is None:
        visible = tuple(i for i, target in enumerate(query.targets) if not target.junk)
        types = tuple(targets[i].type for i in visible)
        return nodes.Distinct(node, visible, types, node.output), keys
    types = tuple(targets[i].type for i in positions)
    # The first row of each group is the first in ORDER BY, whose keys start with the group's.
    if keys:
        node = nodes.Sort(node, keys, node.output)
    return nodes.Distinct(node, positions, types, node.output), ()


def ordered(
    node: Node, query: tree.Query, planner: BlockPlanner, keys: tuple[nodes.SortColumn, ...]
) -> Node:
    """The node under ORDER BY and LIMIT."""
    limit, offset = planner.expr(query.limit), planner.expr(query.offset)
    if keys:
        in_order = scan_in_order(node, keys, wanted=limit is not None)
        if in_order is not None:
            node = in_order
        else:
            top = None if query.with_ties else _top(limit, offset)
            node = nodes.Sort(node, keys, node.output, top)
    if limit is None and offset is None:
        return node
    ties = keys if query.with_ties else ()
    return nodes.Limit(with_hint(node, limit, offset), limit, offset, node.output, ties)


def _top(limit: Expr | None, offset: Expr | None) -> Expr | None:
    """An expression for how many sorted rows are wanted: only LIMIT without a computed OFFSET."""
    if limit is None or has_sublink(limit):
        return None
    if offset is None:
        return limit
    if isinstance(limit, tree.Const) and isinstance(offset, tree.Const):
        if limit.value is None or offset.value is None:
            return limit if limit.value is not None else None
        return tree.Const(limit.value + max(0, offset.value), limit.type)
    return None


def with_hint(node: Node, limit: Expr | None, offset: Expr | None) -> Node:
    """A bare scan told how many rows are likely to be wanted."""
    top = _top(limit, offset)
    if isinstance(node, nodes.TableScan) and isinstance(top, tree.Const) and top.value:
        return replace(node, rows_hint=int(top.value))
    return node


def scan_in_order(node: Node, keys: tuple[nodes.SortColumn, ...], *, wanted: bool) -> Node | None:
    """The scan turned so that it gives the rows in order, None if it cannot.

    `wanted`: a few rows will do, so that a secondary index is worth reading just for its order.
    """
    if not isinstance(node, nodes.TableScan) or node.table.virtual:
        return None
    order = []
    for key in keys:
        var = access.strip_relabel(node.output[key.position])
        if not isinstance(var, tree.Var) or var.entry != node.entry or var.column < 0:
            return None
        order.append(access.Wanted(var.column, key.descending, key.nulls_first))
    backwards = access.delivers(node.table, node.range, order)
    if backwards is not None:
        return replace(node, reverse=backwards)
    if node.range is not None or not wanted:
        return None
    for index in node.table.indexes:
        whole = nodes.KeyRange(index)
        backwards = access.delivers(node.table, whole, order)
        if backwards is not None:
            return replace(node, range=whole, reverse=backwards)
    return None


def _without_junk(node: Node, query: tree.Query, targets: tuple[Expr, ...]) -> Node:
    if not any(target.junk for target in query.targets):
        return node
    kept = tuple(
        expr for expr, target in zip(targets, query.targets, strict=True) if not target.junk
    )
    if isinstance(node, _PROJECTING):
        return with_output(node, kept)
    return nodes.Project(node, kept)


# --- locking clauses ---------------------------------------------------------------------------


def _locked_entries(
    rtable: tuple[tree.RangeEntry, ...],
) -> list[tuple[int, tree.RelationSource, tree.RowLock]]:
    return [
        (number, entry.source, entry.source.locked)
        for number, entry in enumerate(rtable)
        if isinstance(entry.source, tree.RelationSource) and entry.source.locked is not None
    ]


_LOCK_NAMES = {
    "update": "FOR UPDATE",
    "no_key_update": "FOR NO KEY UPDATE",
    "share": "FOR SHARE",
    "key_share": "FOR KEY SHARE",
}


def _refuse_optional(
    planner: BlockPlanner, locked: list[tuple[int, tree.RelationSource, tree.RowLock]]
) -> None:
    """Raises SqlError 0A000 where a row to be locked may be missing."""
    optional = entries_left_out(planner.root)
    for entry, _, lock in locked:
        if entry in optional:
            name = _LOCK_NAMES[lock.strength]
            message = f"{name} cannot be applied to the nullable side of an outer join"
            raise SqlError(sqlstate.FEATURE_NOT_SUPPORTED, message)


def _plan_locking(
    planner: BlockPlanner,
    query: tree.Query,
    targets: tuple[Expr, ...],
    locked: list[tuple[int, tree.RelationSource, tree.RowLock]],
    keys: tuple[nodes.SortColumn, ...],
) -> Node:
    """Rows are locked after the sort and before the limit, so that LIMIT 1 locks one row."""
    sorted_by = tuple(targets[key.position] for key in keys)
    recheck = conjunction(planner.where)
    needed: set[Expr] = {RowKey(entry) for entry, _, _ in locked}
    for expr in (*targets, *(() if recheck is None else (recheck,))):
        needed |= base_vars(expr)
    columns = tuple(sorted(needed, key=lambda e: (e.entry, getattr(e, "column", -2))))
    node = with_output(planner.rows(needed), (*sorted_by, *columns))
    if keys:
        place = tuple(replace(key, position=at) for at, key in enumerate(keys))
        in_order = scan_in_order(node, place, wanted=query.limit is not None)
        node = in_order or nodes.Sort(node, place, node.output)
    limit, offset = planner.expr(query.limit), planner.expr(query.offset)
    lock_targets = tuple(
        nodes.LockTarget(entry, source.table, lock.strength, lock.wait)
        for entry, source, lock in locked
    )
    node = nodes.LockRows(with_hint(node, limit, offset), lock_targets, recheck, targets, limit)
    if limit is not None or offset is not None:
        node = nodes.Limit(node, limit, offset, node.output)
    return _without_junk(node, query, targets)
