"""The two recursions of analysis, expression and query, and who handles which message.

Modules register their handlers here at import, which lets expressions hold sub-selects and queries
hold expressions without modules importing each other in a ring.
"""

from collections.abc import Callable
from typing import Any

from sqlnode import tree
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.errors import unsupported

ExprHandler = Callable[[State, Node], tree.Expr]
QueryHandler = Callable[[State, Node], tree.Query]

_expressions: dict[str, ExprHandler] = {}
_queries: dict[str, QueryHandler] = {}


def handles(kind: str) -> Callable[[ExprHandler], ExprHandler]:
    """Register the handler of an expression message, by its name in the grammar's union."""

    def register(handler: ExprHandler) -> ExprHandler:
        _expressions[kind] = handler
        return handler

    return register


def handles_query(kind: str) -> Callable[[QueryHandler], QueryHandler]:
    """Register the handler of a statement that becomes a Query."""

    def register(handler: QueryHandler) -> QueryHandler:
        _queries[kind] = handler
        return handler

    return register


def expression(state: State, node: Node) -> tree.Expr:
    """Analyse one expression node in the place the state is in."""
    kind = node.WhichOneof("node")
    handler = _expressions.get(kind)
    if handler is None:
        inner = getattr(node, kind)
        location = getattr(inner, "location", -1)
        raise unsupported(
            f"{inner.DESCRIPTOR.name} in an expression",
            position=location if location >= 0 else None,
        )
    state.enter()
    found = handler(state, getattr(node, kind))
    state.leave()
    return found


def expression_in(state: State, node: Node, kind: ExprKind) -> tree.Expr:
    """Analyse an expression that stands at `kind`."""
    previous = state.kind
    state.kind = kind
    found = expression(state, node)
    state.kind = previous
    return found


def query(state: State, node: Node) -> tree.Query:
    """Analyse a statement (a Node) as the level `state`."""
    kind = node.WhichOneof("node")
    return query_of(state, kind, getattr(node, kind))


def query_of(state: State, kind: str, message: Any) -> tree.Query:
    """Analyse a statement given by its message."""
    handler = _queries.get(kind)
    if handler is None:
        raise unsupported(f"{message.DESCRIPTOR.name} as a query")
    state.enter()
    found = handler(state, message)
    state.leave()
    return found


def is_query(kind: str) -> bool:
    """Whether a statement of this kind becomes a Query."""
    return kind in _queries


def present(node: Node) -> bool:
    """Whether an optional Node of the grammar is there."""
    return node.WhichOneof("node") is not None
