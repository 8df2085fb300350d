"""The planner's entry: a typed query in, a physical plan out.

    Query ─whole rows, EXISTS, constants→ ─per query: rules (plan/rewrite.py)→ Block ─→ joins, then
    what is above

Nested queries are planned where they are met, each with the scope of WITH queries around it.
"""

from typing import TYPE_CHECKING

from sqlnode import sqlstate, tree
from sqlnode.errors import SqlError
from sqlnode.kv.tables import ACCESS_SHARE, ROW_EXCLUSIVE, ROW_SHARE
from sqlnode.plan import nodes
from sqlnode.plan.context import CteInfo, Scope, Statement
from sqlnode.plan.expressions import Slot
from sqlnode.plan.modify import plan_delete, plan_insert, plan_update
from sqlnode.plan.nodes import Node, Plan
from sqlnode.plan.rewrite import fold_query
from sqlnode.plan.rules.expand_rows import expand_rows
from sqlnode.plan.rules.simplify_exists import simplify_exists
from sqlnode.plan.select import BlockPlanner, ordered, plan_select, sort_keys
from sqlnode.plan.walk import rewrite_query

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog

_DEPTH_HINT = (
    'Increase the configuration parameter "max_stack_depth" (currently 2048kB), after ensuring '
    "the platform's stack depth limit is adequate."
)


def too_deep() -> SqlError:
    """What PostgreSQL answers to an expression nested too deep."""
    return SqlError(sqlstate.STATEMENT_TOO_COMPLEX, "stack depth limit exceeded", hint=_DEPTH_HINT)


def plan(query: tree.Query, *, catalog: "Catalog", optimize: bool = True) -> Plan:
    """Plan a query. Raises SqlError 0A000 for what is not supported, 54001 for too deep a query.

    `optimize` False leaves out every rewrite and every choice of path: the tests' reference.
    """
    del catalog  # statistics will be asked of it
    statement = Statement(optimize=optimize)
    planner = _Planner(statement)
    try:
        query = simplify_exists(expand_rows(query))
        root = planner.plan_query(fold_query(query) if optimize else query, Scope())
    except RecursionError:
        raise too_deep() from None
    returns = query.command is tree.Command.SELECT or bool(query.returning)
    targets = query.targets if query.command is tree.Command.SELECT else query.returning
    return Plan(
        query.command,
        root,
        tuple(statement.ctes),
        statement.slots,
        tuple(target for target in targets if not target.junk) if returns else None,
        planner.writes,
        planner.tables(),
    )


class _Planner:
    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self.writes = False
        self._tables: set[tuple[int, int]] = set()

    def tables(self) -> tuple[tuple[int, int], ...]:
        """See `Plan.tables`; always in the same order, so that two statements do not meet in
        opposite ones."""
        return tuple(sorted(self._tables))

    def _note_tables(self, query: tree.Query) -> None:
        """PostgreSQL's choice of modes (manual, 13.3.1)."""
        for number, entry in enumerate(query.rtable):
            source = entry.source
            if isinstance(source, tree.RelationSource) and not source.table.virtual:
                mode = ACCESS_SHARE
                if number == query.result:
                    mode = ROW_EXCLUSIVE
                elif source.locked is not None:
                    mode = ROW_SHARE
                self._tables.add((source.table.oid, mode))

    def plan_query(self, query: tree.Query, scope: Scope) -> Node:
        """Plan a query whose own WITH queries are not yet in `scope`."""
        self._note_tables(query)
        for cte in query.ctes:
            self._plan_cte(cte, scope)
        if query.command is tree.Command.SELECT:
            if any(_locks(entry) for entry in query.rtable):
                self.writes = True
            if query.set_operation is not None:
                return self._plan_set_operation(query, scope)
            return plan_select(query, self._statement, scope, self.plan_query)
        self.writes = True
        plan_command = {
            tree.Command.INSERT: plan_insert,
            tree.Command.UPDATE: plan_update,
            tree.Command.DELETE: plan_delete,
        }[query.command]
        return plan_command(query, self._statement, scope, self.plan_query)

    def _plan_cte(self, cte: tree.Cte, scope: Scope) -> None:
        number = len(self._statement.ctes)
        self._statement.ctes.append(None)
        inner = Scope(outer=scope)
        if cte.recursive and cte.query.set_operation is not None:
            scope.own.append(CteInfo(number, cte.name, working=True))
            node = self._plan_recursive(cte.query, inner, number)
            scope.own[-1] = CteInfo(number, cte.name)
        else:
            node = self.plan_query(cte.query, inner)
            scope.own.append(CteInfo(number, cte.name))
        self._statement.ctes[number] = nodes.CtePlan(cte.name, node, _slots_read(cte.query))

    def _plan_recursive(self, query: tree.Query, scope: Scope, number: int) -> Node:
        operation = query.set_operation
        if operation is None or operation.op is not tree.SetOp.UNION:
            raise LookupError("a recursive query is a UNION")
        left = self.plan_query(operation.left, Scope(outer=scope))
        right = self.plan_query(operation.right, Scope(outer=scope))
        types = tuple(target.expr.type for target in query.targets)
        output = tuple(target.expr for target in query.targets)
        return nodes.RecursiveUnion(number, operation.all, left, right, types, output)

    def _plan_set_operation(self, query: tree.Query, scope: Scope) -> Node:
        operation = query.set_operation
        if operation is None:
            raise LookupError("no set operation")
        left = self.plan_query(operation.left, Scope(outer=scope))
        right = self.plan_query(operation.right, Scope(outer=scope))
        visible = [target for target in query.targets if not target.junk]
        rows = tuple(
            tree.Var(0, position, target.expr.type, target.expr.typmod)
            for position, target in enumerate(visible)
        )
        types = tuple(target.expr.type for target in visible)
        node: Node
        if operation.op is tree.SetOp.UNION:
            node = nodes.Append(left, right, rows)
            if not operation.all:
                node = nodes.Distinct(node, None, types, rows)
        else:
            node = nodes.SetOperation(operation.op, operation.all, left, right, types, rows)
        planner = BlockPlanner(
            tree.Query(tree.Command.SELECT), self._statement, scope, self.plan_query
        )
        targets = tuple(planner.expr(target.expr) for target in query.targets)
        if targets != rows:
            node = nodes.Project(node, targets)
        node = ordered(node, query, planner, sort_keys(query, targets))
        if len(visible) == len(query.targets):
            return node
        kept = tuple(
            expr for expr, target in zip(targets, query.targets, strict=True) if not target.junk
        )
        return nodes.Project(node, kept)


def _locks(entry: tree.RangeEntry) -> bool:
    return isinstance(entry.source, tree.RelationSource) and entry.source.locked is not None


def _slots_read(query: tree.Query) -> tuple[int, ...]:
    found: set[int] = set()

    def visit(node: object, _: int) -> None:
        if isinstance(node, Slot):
            found.add(node.number)

    rewrite_query(query, visit)
    return tuple(sorted(found))
