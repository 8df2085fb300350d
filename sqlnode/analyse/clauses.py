"""Clauses that several statements share: WHERE, LIMIT, OFFSET, WITH TIES."""

from sqlnode import tree
from sqlnode.analyse import coerce
from sqlnode.analyse.dispatch import expression_in, present
from sqlnode.analyse.locations import node_location, position
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.analyse.walk import references
from sqlnode.errors import SqlError
from sqlnode.types import oids

_WITH_TIES = 3


def condition(state: State, node: Node, kind: ExprKind) -> tree.Expr | None:
    """An optional WHERE or HAVING."""
    if not present(node):
        return None
    return coerce.to_boolean(state, expression_in(state, node, kind), kind.value)


def limit(state: State, node: Node, kind: ExprKind) -> tree.Expr | None:
    """An optional LIMIT or OFFSET; None also for LIMIT ALL."""
    if not present(node) or (node.WhichOneof("node") == "a_const" and node.a_const.isnull):
        return None
    expr = expression_in(state, node, kind)
    found = coerce.to_specific(state, expr, oids.INT8, kind.value)
    for var, level in references(found):
        if level == 0 and isinstance(var, tree.Var):
            message = f"argument of {kind.value} must not contain variables"
            raise SqlError("42P10", message, position=position(var.location))
    return found


def with_ties(node: Node) -> bool:
    """Whether FETCH FIRST … WITH TIES was said; it needs ORDER BY."""
    if node.limit_option != _WITH_TIES:
        return False
    if not node.sort_clause:
        message = "WITH TIES cannot be specified without ORDER BY clause"
        raise SqlError("42601", message, position=position(node_location(node.limit_count)))
    return True
