"""CASE, COALESCE, GREATEST and LEAST."""

from sqlnode import tree
from sqlnode.analyse import coerce, operators, sets
from sqlnode.analyse.dispatch import expression, handles, present
from sqlnode.analyse.locations import position
from sqlnode.analyse.state import Node, State
from sqlnode.errors import SqlError
from sqlnode.functions import registry as functions
from sqlnode.types import oids


@handles("case_expr")
def case(state: State, node: Node) -> tree.Expr:
    """Searched and simple CASE. The ELSE branch counts first for the result's type."""
    subject: tree.Expr | None = None
    placeholder: tree.Expr | None = None
    if present(node.arg):
        subject = coerce.literal_to_text(state, expression(state, node.arg))
        placeholder = tree.CaseValue(subject.type, subject.typmod)
    conditions, results = [], []
    for item in node.args:
        when = item.case_when
        condition = expression(state, when.expr)
        if placeholder is not None:
            condition = operators.make(state, "=", placeholder, condition, when.location)
        conditions.append(coerce.to_boolean(state, condition, "CASE/WHEN"))
        results.append(expression(state, when.result))
    default: tree.Expr = tree.Const(None, oids.UNKNOWN)
    if present(node.defresult):
        default = expression(state, node.defresult)
    common = coerce.select_common_type([default, *results], "CASE")
    default = coerce.to_common(state, default, common, "CASE/ELSE")
    results = [coerce.to_common(state, result, common, "CASE/WHEN") for result in results]
    typmod = coerce.select_common_typmod([default, *results], common)
    whens = tuple(zip(conditions, results, strict=True))
    body = tree.Case(whens, default, common, typmod, node.location)
    sets.refuse_inside(state, [*conditions, *results, default], "CASE")
    if subject is None:
        return body
    return tree.CaseSubject(subject, body, common, typmod)


@handles("coalesce_expr")
def coalesce(state: State, node: Node) -> tree.Expr:
    """COALESCE."""
    args = [expression(state, arg) for arg in node.args]
    common = coerce.select_common_type(args, "COALESCE")
    coerced = tuple(coerce.to_common(state, arg, common, "COALESCE") for arg in args)
    typmod = coerce.select_common_typmod(coerced, common)
    sets.refuse_inside(state, coerced, "COALESCE")
    return tree.Coalesce(coerced, common, typmod, node.location)


@handles("min_max_expr")
def min_max(state: State, node: Node) -> tree.Expr:
    """GREATEST and LEAST."""
    construct = "GREATEST" if node.op == 1 else "LEAST"
    args = [expression(state, arg) for arg in node.args]
    common = coerce.select_common_type(args, construct)
    coerced = tuple(coerce.to_common(state, arg, common, construct) for arg in args)
    try:
        less = functions.less(common)
    except SqlError as error:
        message = error.message.replace("an ordering operator", "a comparison function")
        raise SqlError("42883", message, position=position(node.location)) from error
    typmod = coerce.select_common_typmod(coerced, common)
    return tree.MinMax(coerced, node.op == 1, less, common, typmod, node.location)
