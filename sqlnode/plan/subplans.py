"""Sub-selects in expressions become SubPlans; what they read from outside arrives in slots.

When a nested query is planned, every reference from anywhere inside it to the query around it is
replaced by a slot. References further out were replaced when that query was planned in its turn, so
the only ones left to find are those of one level. A slot that the nested query uses without owning
it (it belongs to a query further out) is an input all the same: the result depends on it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlnode import tree
from sqlnode.functions import registry as functions
from sqlnode.plan.context import Scope, Statement
from sqlnode.plan.expressions import Expr, Slot, SubPlan
from sqlnode.plan.nodes import Node
from sqlnode.plan.walk import rewrite, rewrite_query, walk
from sqlnode.types import registry as types

Inputs = tuple[tuple[int, Expr], ...]
PlanQuery = Callable[[tree.Query, Scope], Node]


def bind_outer(
    query: tree.Query, statement: Statement, depth_out: int = 1
) -> tuple[tree.Query, Inputs]:
    """The query with what it reads of the query around it in slots, and how to fill those."""
    inputs: dict[Any, int] = {}
    foreign: dict[int, Slot] = {}

    def visit(node: Any, depth: int) -> Any:
        if isinstance(node, Slot):
            foreign.setdefault(node.number, node)
            return None
        kinds = (tree.Var, tree.AggregateCall)
        if not isinstance(node, kinds) or node.levels_up != depth + depth_out:
            return None
        outer = _at_level_zero(node)
        if outer not in inputs:
            inputs[outer] = statement.slot()
        return Slot(inputs[outer], node.type, node.typmod)

    bound = rewrite_query(query, visit)
    own = tuple((slot, expr) for expr, slot in inputs.items())
    return bound, (*own, *((number, slot) for number, slot in foreign.items()))


def _at_level_zero(node: Any) -> Any:
    return replace(node, levels_up=0)


def plan_sublinks(expr: Any, statement: Statement, scope: Scope, plan_query: PlanQuery) -> Any:
    """The expression with every sub-select in it planned."""

    def visit(node: Any, depth: int) -> Any:
        if not isinstance(node, tree.SubLink):
            return None
        if depth:
            raise LookupError("a nested query is planned by itself")
        test = None if node.test is None else rewrite(node.test, visit)
        query, inputs = bind_outer(node.query, statement)
        statement.subplans += 1
        number = statement.subplans
        plan = plan_query(query, Scope(outer=scope))
        hashed = None if inputs else _hashable(node.kind, test)
        return SubPlan(node.kind, plan, inputs, statement.slot(), node.type, number, test, hashed)

    return None if expr is None else rewrite(expr, visit)


def _hashable(kind: tree.SubLinkKind, test: Any) -> Any:
    """The left side of `x = ANY (…)` where it is its type's own equality."""
    if kind is not tree.SubLinkKind.ANY or not isinstance(test, tree.Call):
        return None
    if test.operator != "=" or len(test.args) != 2:
        return None
    left, right = test.args
    if not isinstance(right, tree.SubLinkColumn) or left.type != right.type:
        return None
    if any(isinstance(node, tree.SubLinkColumn) for node in walk(left)):
        return None
    if test.function is not functions.equality(left.type) or types.is_array(left.type):
        return None
    return left
