"""DEFAULT expressions: stored as text, analysed when a statement needs them, remembered."""

from collections import OrderedDict

from sqlnode import tree
from sqlnode.analyse import coerce
from sqlnode.analyse.dispatch import expression_in
from sqlnode.analyse.locations import expr_location, position
from sqlnode.analyse.params import ParamTypes
from sqlnode.analyse.state import ExprKind, State, Statement
from sqlnode.catalog.descriptors import Column
from sqlnode.errors import SqlError
from sqlnode.parse import parse
from sqlnode.types.registry import format_type

REMEMBERED_MAX = 1024

_remembered: OrderedDict[tuple[str, int, int], tree.Expr] = OrderedDict()
"""Defaults whose analysis read nothing of session and catalog, the least recently used first."""


def column_default(state: State, column: Column) -> tree.Expr:
    """The default of a column that has one, as an expression of the column's type."""
    text = column.filled
    if text is None:
        raise LookupError(f"column {column.name} has no default")
    key = (text, column.type, column.typmod)
    found = _remembered.get(key)
    if found is not None:
        _remembered.move_to_end(key)
        return found
    outer = state.statement
    inner = Statement(
        outer.catalog, outer.search_path, ParamTypes((), allowed=False), outer.context
    )
    found = of_text(inner, text, name=column.name, type_oid=column.type, typmod=column.typmod)
    if inner.session_dependent:
        outer.session_dependent = True
    if inner.session_dependent or inner.catalog_dependent:
        return found
    _remembered[key] = found
    if len(_remembered) > REMEMBERED_MAX:
        _remembered.popitem(last=False)
    return found


def of_text(statement: Statement, text: str, *, name: str, type_oid: int, typmod: int) -> tree.Expr:
    """A DEFAULT's text as an expression of its column's type."""
    raw = parse(f"SELECT {text}")
    if len(raw) != 1 or raw[0].kind != "select_stmt" or len(raw[0].node.target_list) != 1:
        raise SqlError("42601", f"default of column {name} is not an expression")
    node = raw[0].node.target_list[0].res_target.val
    expr = expression_in(State(statement), node, ExprKind.COLUMN_DEFAULT)
    found = coerce.to_target(State(statement), expr, type_oid, typmod)
    if found is None:
        raise SqlError(
            "42804",
            f'column "{name}" is of type {format_type(type_oid)} '
            f"but default expression is of type {format_type(expr.type)}",
            hint="You will need to rewrite or cast the expression.",
            position=position(expr_location(expr)),
        )
    return found
