"""Calls of immutable functions on constants become constants; AND, OR and CASE shrink with them.

A call that fails is left as it is: it has to fail when, and only if, it is reached.
"""

from dataclasses import replace
from typing import Any

from sqlnode import tree
from sqlnode.errors import SqlError
from sqlnode.functions.base import Volatility
from sqlnode.plan.walk import rewrite, rewrite_query

_TRUE = tree.Const(True, 16)
_FALSE = tree.Const(False, 16)


def fold_constants(query: tree.Query) -> tree.Query:
    """The query with constant expressions computed."""
    return rewrite_query(query, _visit)


def fold(expr: Any) -> Any:
    """One expression with its constant parts computed."""
    return rewrite(expr, _visit)


def _visit(node: Any, depth: int) -> Any:
    if isinstance(node, tree.Call):
        args = tuple(rewrite(arg, _visit, depth) for arg in node.args)
        return _folded_call(replace(node, args=args))
    if isinstance(node, tree.BoolExpr):
        return _folded_bool(node, tuple(rewrite(arg, _visit, depth) for arg in node.args))
    if isinstance(node, tree.Relabel):
        arg = rewrite(node.arg, _visit, depth)
        if isinstance(arg, tree.Const):
            return tree.Const(arg.value, node.type, node.typmod)
        return replace(node, arg=arg)
    return None


def _folded_call(call: tree.Call) -> Any:
    function = call.function
    if (
        function.volatility is not Volatility.IMMUTABLE
        or function.returns_set
        or function.needs_context
        or function.call is None
        or not all(isinstance(arg, tree.Const) for arg in call.args)
    ):
        return call
    values = [arg.value for arg in call.args if isinstance(arg, tree.Const)]
    if function.strict and None in values:
        return tree.Const(None, call.type, call.typmod)
    types = (tuple(arg.type for arg in call.args),) if function.needs_types else ()
    try:
        return tree.Const(function.call(*types, *values), call.type, call.typmod)
    except SqlError:
        return call


def _folded_bool(expr: tree.BoolExpr, args: tuple[Any, ...]) -> Any:
    if expr.op is tree.BoolOp.NOT:
        (arg,) = args
        if isinstance(arg, tree.Const):
            return tree.Const(None if arg.value is None else not arg.value, 16)
        return replace(expr, args=args)
    conjunction = expr.op is tree.BoolOp.AND
    neutral, deciding = (_TRUE, _FALSE) if conjunction else (_FALSE, _TRUE)
    kept = [a for a in args if not _is(a, neutral)]
    if any(_is(a, deciding) for a in kept):
        return deciding
    if not kept:
        return neutral
    return kept[0] if len(kept) == 1 else replace(expr, args=tuple(kept))


def _is(expr: Any, constant: tree.Const) -> bool:
    return isinstance(expr, tree.Const) and expr.value is constant.value
