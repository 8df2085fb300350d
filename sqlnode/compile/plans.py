"""Plan nodes to operators.

Every node compiles to an operator and the layout of its rows; the node above compiles its
expressions against that layout. One function per kind of node, in `sqlnode.compile.nodes_*`,
registered here.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlnode.compile.rowset import Layout, RowsetCompiler, subplans_of
from sqlnode.compile.source import Module
from sqlnode.errors import unsupported
from sqlnode.execute.runtime import Operator
from sqlnode.execute.sort import RowOrder, SortKey
from sqlnode.execute.spill import KeyFunction
from sqlnode.execute.subplans import SubPlanRunner
from sqlnode.plan import nodes
from sqlnode.plan.expressions import Expr, SubPlan
from sqlnode.plan.nodes import Node, Plan, SortColumn
from sqlnode.plan.walk import is_volatile
from sqlnode.types.registry import by_oid

Compiled = tuple[Operator, Layout]
_STREAMING = (
    *(nodes.Result, nodes.TableScan, nodes.FunctionScan, nodes.ValuesScan, nodes.SubqueryScan),
    *(nodes.Project, nodes.Filter, nodes.Append, nodes.Sort),
)
"""Nodes that look at every row below them where all of theirs are wanted."""
NodeHandler = Callable[["PlanCompiler", Any], Compiled]
NODES: dict[type, NodeHandler] = {}


def compiles(kind: type) -> Callable[[NodeHandler], NodeHandler]:
    """Register the function that compiles nodes of a kind."""

    def register(handler: NodeHandler) -> NodeHandler:
        NODES[kind] = handler
        return handler

    return register


class PlanCompiler:
    """Compiles one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.module = Module()
        self.rowset = RowsetCompiler(self.module, self.runner)
        self._operators: dict[int, Compiled] = {}
        self._ctes: dict[int, Compiled] = {}

    def node(self, node: Node) -> Compiled:
        """The operator of a node and what its rows are."""
        handler = NODES.get(type(node))
        if handler is None:
            raise unsupported(f"plan node {type(node).__name__}")
        drained = self.rowset.drained
        self.rowset.drained = drained and isinstance(node, _STREAMING)
        made = handler(self, node)
        self.rowset.drained = drained
        return made

    def drained(self, node: Node) -> Compiled:
        """Likewise, of a node that is always read to its end."""
        self.rowset.drained = True
        made = self.node(node)
        self.rowset.drained = False
        return made

    def cte(self, number: int) -> Compiled:
        """The operator of a WITH query."""
        if number not in self._ctes:
            self._ctes[number] = self.node(self.plan.ctes[number].node)
        return self._ctes[number]

    def cte_width(self, number: int) -> int:
        """How many columns a WITH query has, while it may still be being compiled."""
        return len(self.plan.ctes[number].node.output)

    def runner(self, subplan: SubPlan, layout: Layout) -> SubPlanRunner:
        """What runs a sub-select for rows of `layout`."""
        known = self._operators.get(subplan.result)
        if known is None:
            drained, self.rowset.drained = self.rowset.drained, False
            known = self._operators[subplan.result] = self.node(subplan.plan)
            self.rowset.drained = drained
        operator, result = known
        inputs = None
        if subplan.inputs:
            inputs = self.rowset.values(layout, [expr for _, expr in subplan.inputs])
        key = None
        if subplan.hashed is not None:
            key = by_oid(subplan.hashed.type).key
        return SubPlanRunner(
            subplan.kind,
            operator,
            result=subplan.result,
            slots=[slot for slot, _ in subplan.inputs],
            inputs=inputs,
            hash_key=key,
            hashed=subplan.hashed is not None,
            memo=not any(is_volatile(expr) for expr in result.exprs),
        )

    def keys(self, positions: Sequence[int], types: Sequence[int], *, nulls: bool) -> KeyFunction:
        """A function from a batch to a hashable key per row.

        `nulls`: NULLs are a value like any other (grouping). Otherwise a key with one is None.
        """
        parts = []
        for position, type_ in zip(positions, types, strict=True):
            key = by_oid(type_).key
            text = f"r[{position:d}]"
            if key is not None:
                text = f"(None if {text} is None else {self.module.bind(key)}({text}))"
            parts.append(text)
        if len(parts) == 1:
            text = parts[0]
        else:
            text = f"({', '.join(parts)})"
            if not nulls and parts:
                test = " or ".join(f"r[{position:d}] is None" for position in positions)
                text = f"(None if {test} else {text})"
        made = self.module.function(["rows"], f"[{text} for r in rows]")
        return lambda rows: made(rows, None)

    def order(self, keys: Sequence[SortColumn]) -> RowOrder:
        """An ORDER BY over columns."""
        return RowOrder(
            [
                SortKey(key.position, key.descending, key.nulls_first, by_oid(key.type).key)
                for key in keys
            ]
        )

    def scalar(self, *exprs: Expr | None) -> tuple[Any, Any]:
        """(a function of the Runtime for values without a row, sub-selects to run before)."""
        given = [expr for expr in exprs if expr is not None]
        preparation = None
        if subplans_of(given):
            preparation, _ = self.rowset.prepared(Layout((), ()), given)
        wanted = self.rowset.scalars(given)
        places = [None if expr is None else given.index(expr) for expr in exprs]
        if None not in places and len(exprs) == len(given):
            return wanted, preparation

        def spread(runtime: Any) -> tuple[Any, ...]:
            values = wanted(runtime)
            return tuple(None if place is None else values[place] for place in places)

        return spread, preparation
