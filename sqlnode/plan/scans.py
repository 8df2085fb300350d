"""Leaves of the join tree: a range table entry with the conditions that concern it alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlnode import tree
from sqlnode.plan import access, estimate
from sqlnode.plan.context import Scope, Statement
from sqlnode.plan.expressions import Expr, Slot
from sqlnode.plan.nodes import (
    CteScan,
    FunctionScan,
    Node,
    SubqueryScan,
    TableScan,
    ValuesScan,
)
from sqlnode.plan.rules.push_into_subquery import push_into_subquery
from sqlnode.plan.subplans import Inputs, PlanQuery, bind_outer, plan_sublinks
from sqlnode.plan.walk import conjunction, outer_columns, rewrite


@dataclass(slots=True)
class Leaves:
    """Plans the entries of one query's range table."""

    statement: Statement
    scope: Scope
    rtable: tuple[tree.RangeEntry, ...]
    plan_query: PlanQuery

    def reads(self, entry: int) -> frozenset[tree.Var]:
        """Columns of other entries of the same range table that a lateral entry reads."""
        source = self.rtable[entry].source
        if isinstance(source, tree.SubquerySource):
            return outer_columns(source.query)
        if isinstance(source, tree.FunctionSource | tree.ValuesSource):
            found: set[tree.Var] = set()
            _each_source_expr(source, _collector(found))
            return frozenset(found)
        return frozenset()

    def table(self, entry: int) -> Any:
        """The table behind an entry that is one in storage, None otherwise."""
        source = self.rtable[entry].source
        if isinstance(source, tree.RelationSource) and not source.table.virtual:
            return source.table
        return None

    def rows(self, entry: int, conditions: tuple[Expr, ...]) -> float:
        """The rows an entry is likely to give under these conditions."""
        source = self.rtable[entry].source
        if isinstance(source, tree.ValuesSource):
            return max(1.0, float(len(source.rows)))
        if isinstance(source, tree.FunctionSource):
            return estimate.FUNCTION_ROWS
        table = self.table(entry)
        if table is not None:
            path = access.choose(table, entry, conditions)
            return estimate.scan_rows(path.range, path.rest)
        return max(1.0, estimate.SUBQUERY_ROWS * estimate.selectivity(conditions))

    def scan(
        self, entry: int, conditions: tuple[Expr, ...], output: tuple[Expr, ...]
    ) -> tuple[Node, Inputs]:
        """(the entry's plan, what it needs from the left side of a lateral join)."""
        item = self.rtable[entry]
        source = item.source
        if isinstance(source, tree.RelationSource):
            return self._table_scan(entry, item, source, conditions, output), ()
        if isinstance(source, tree.CteSource):
            info = self.scope.find(source)
            condition = conjunction(conditions)
            return (
                CteScan(entry, item.alias, info.name, info.number, output, condition, info.working),
                (),
            )
        if isinstance(source, tree.SubquerySource):
            query, conditions = self._pushed(source.query, entry, conditions)
            query, inputs = bind_outer(query, self.statement)
            child = self.plan_query(query, Scope(outer=self.scope))
            scan = SubqueryScan(entry, item.alias, child, output, conjunction(conditions))
            return scan, _lateral(inputs)
        bound, inputs = self._bind_siblings(source)
        condition = conjunction(conditions)
        if isinstance(bound, tree.ValuesSource):
            rows = tuple(tuple(self._expr(e) for e in row) for row in bound.rows)
            return ValuesScan(entry, item.alias, rows, output, condition), inputs
        call = self._expr(bound.call)
        width = len(item.columns) - bound.ordinality
        scan_node = FunctionScan(
            entry, item.alias, call, width, bound.ordinality, output, condition
        )
        return scan_node, inputs

    def _expr(self, expr: Any) -> Any:
        return plan_sublinks(expr, self.statement, self.scope, self.plan_query)

    def _pushed(
        self, query: tree.Query, entry: int, conditions: tuple[Expr, ...]
    ) -> tuple[tree.Query, tuple[Expr, ...]]:
        if not self.statement.optimize:
            return query, conditions
        return push_into_subquery(query, entry, conditions)

    def _table_scan(
        self,
        entry: int,
        item: tree.RangeEntry,
        source: tree.RelationSource,
        conditions: tuple[Expr, ...],
        output: tuple[Expr, ...],
    ) -> TableScan:
        path = access.Access(None, conditions)
        if not source.table.virtual and self.statement.optimize:
            path = access.choose(source.table, entry, conditions)
        return TableScan(
            entry, item.alias, source.table, output, conjunction(path.rest), path.range
        )

    def _bind_siblings(self, source: Any) -> tuple[Any, Inputs]:
        inputs: dict[Any, int] = {}

        def visit(node: Any, depth: int) -> Any:
            if not isinstance(node, tree.Var) or node.levels_up != depth:
                return None
            outer = replace(node, levels_up=0)
            if outer not in inputs:
                inputs[outer] = self.statement.slot()
            return Slot(inputs[outer], node.type, node.typmod)

        bound = _each_source_expr(source, visit)
        return bound, tuple((slot, expr) for expr, slot in inputs.items())


def _each_source_expr(source: Any, visit: Callable[[Any, int], Any]) -> Any:
    if isinstance(source, tree.FunctionSource):
        return replace(source, call=rewrite(source.call, visit))
    return replace(source, rows=tuple(tuple(rewrite(e, visit) for e in r) for r in source.rows))


def _collector(found: set[tree.Var]) -> Callable[[Any, int], Any]:
    def visit(node: Any, depth: int) -> Any:
        if isinstance(node, tree.Var) and node.levels_up == depth:
            found.add(replace(node, levels_up=0))
        return None

    return visit


def _lateral(inputs: Inputs) -> Inputs:
    """Without the slots of queries further out, which are filled already."""
    return tuple((slot, expr) for slot, expr in inputs if not isinstance(expr, Slot))
