"""A_Expr: operators in all their written forms, row comparisons among them."""

from sqlnode import tree
from sqlnode.analyse import coerce, operators
from sqlnode.analyse.dispatch import expression, handles
from sqlnode.analyse.locations import position
from sqlnode.analyse.pathways import Context
from sqlnode.analyse.polymorphic import common_type
from sqlnode.analyse.state import Node, State
from sqlnode.analyse.typenames import name_parts
from sqlnode.analyse.walk import contains
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import oids
from sqlnode.types import registry as types

_OP, _ANY, _ALL, _DISTINCT, _NOT_DISTINCT, _NULLIF, _IN = range(1, 8)
_SCALAR_SUB_SELECT = 5
_BETWEEN, _NOT_BETWEEN, _BETWEEN_SYM, _NOT_BETWEEN_SYM = range(11, 15)


def both(*args: tree.Expr) -> tree.BoolExpr:
    """All of them."""
    return tree.BoolExpr(tree.BoolOp.AND, args)


def either(*args: tree.Expr) -> tree.BoolExpr:
    """Any of them."""
    return tree.BoolExpr(tree.BoolOp.OR, args)


def negate(arg: tree.Expr) -> tree.BoolExpr:
    """NOT."""
    return tree.BoolExpr(tree.BoolOp.NOT, (arg,))


@handles("a_expr")
def a_expr(state: State, node: Node) -> tree.Expr:
    """Dispatch on how the operator was written."""
    kind = node.kind
    if kind == _OP or kind in (8, 9, 10):
        return _operator(state, node)
    if kind in (_ANY, _ALL):
        name = operators.qualified(state, name_parts(node.name), node.location)
        left, right = expression(state, node.lexpr), expression(state, node.rexpr)
        return operators.make_array(
            state, name, left, right, use_any=kind == _ANY, location=node.location
        )
    if kind in (_DISTINCT, _NOT_DISTINCT):
        return _distinct(state, node)
    if kind == _NULLIF:
        return _null_if(state, node)
    if kind == _IN:
        return _in_list(state, node)
    if kind in (_BETWEEN, _NOT_BETWEEN, _BETWEEN_SYM, _NOT_BETWEEN_SYM):
        return _between(state, node)
    raise unsupported("this kind of operator", position=node.location)


def _operator(state: State, node: Node) -> tree.Expr:
    name = operators.qualified(state, name_parts(node.name), node.location)
    if node.lexpr.WhichOneof("node") is None:
        return operators.make(state, name, None, expression(state, node.rexpr), node.location)
    row = node.lexpr.WhichOneof("node") == "row_expr"
    if row and node.rexpr.sub_link.sub_link_type == _SCALAR_SUB_SELECT:
        raise unsupported("comparing a row with a sub-select", position=node.location)
    left, right = expression(state, node.lexpr), expression(state, node.rexpr)
    if isinstance(left, tree.RowExpr) and isinstance(right, tree.RowExpr):
        return compare_rows(state, name, left.fields, right.fields, node.location)
    return operators.make(state, name, left, right, node.location)


def compare_rows(
    state: State,
    name: str,
    left: tuple[tree.Expr, ...],
    right: tuple[tree.Expr, ...],
    location: int,
) -> tree.Expr:
    """`(a, b) op (c, d)`: equality field by field, an order by the first that differs."""
    if len(left) != len(right):
        message = "unequal number of entries in row expressions"
        raise SqlError("42601", message, position=position(location))
    if not left:
        message = "cannot compare rows of zero length"
        raise SqlError("0A000", message, position=position(location))
    pairs = list(zip(left, right, strict=True))
    calls = [operators.make(state, name, a, b, location) for a, b in pairs]
    if any(call.type != oids.BOOL for call in calls):
        message = f"row comparison operator must yield type boolean, not type {calls[0].type}"
        raise SqlError("42804", message, position=position(location))
    if len(calls) == 1:
        return calls[0]
    if name == "=":
        return both(*calls)
    if name == "<>":
        return either(*calls)
    if name not in ("<", "<=", ">", ">="):
        raise SqlError(
            "0A000",
            f"could not determine interpretation of row comparison operator {name}",
            hint="Row comparison operators must be associated with btree operator families.",
            position=position(location),
        )
    return _ordered_rows(state, name, calls, location)


def _ordered_rows(state: State, name: str, calls: list[tree.Call], location: int) -> tree.Expr:
    """(a, b) < (c, d)  ⟶  a < c OR (a = c AND b < d), with PostgreSQL's NULL where a field is."""
    strict = name[0]
    last = calls[-1].args
    result: tree.Expr = operators.make(state, name, last[0], last[1], location)
    for call in reversed(calls[:-1]):
        a, b = call.args
        before = operators.make(state, strict, a, b, location)
        same = operators.make(state, "=", a, b, location)
        whens = ((same, result),)
        result = tree.Case(whens, before, oids.BOOL)
    return result


def _distinct(state: State, node: Node) -> tree.Expr:
    left, right = expression(state, node.lexpr), expression(state, node.rexpr)
    negated = node.kind == _NOT_DISTINCT
    for one, other in ((left, right), (right, left)):
        if isinstance(one, tree.Const) and one.value is None and one.type == oids.UNKNOWN:
            known = coerce.literal_to_text(state, other)
            return tree.NullTest(known, negated=not negated)
    if isinstance(left, tree.RowExpr) and isinstance(right, tree.RowExpr):
        if len(left.fields) != len(right.fields):
            message = "unequal number of entries in row expressions"
            raise SqlError("42601", message, position=position(node.location))
        pairs = zip(left.fields, right.fields, strict=True)
        tests = [_distinct_pair(state, a, b, negated, node.location) for a, b in pairs]
        return tests[0] if len(tests) == 1 else (both if negated else either)(*tests)
    return _distinct_pair(state, left, right, negated, node.location)


def _distinct_pair(
    state: State, left: tree.Expr, right: tree.Expr, negated: bool, location: int
) -> tree.DistinctFrom:
    call = operators.make(state, "=", left, right, location)
    if call.type != oids.BOOL:
        message = "IS DISTINCT FROM requires = operator to yield boolean"
        raise SqlError("42804", message, position=position(location))
    return tree.DistinctFrom(call.function, call.args[0], call.args[1], negated)


def _null_if(state: State, node: Node) -> tree.Expr:
    left, right = expression(state, node.lexpr), expression(state, node.rexpr)
    call = operators.make(state, "=", left, right, node.location)
    if call.type != oids.BOOL:
        message = "NULLIF requires = operator to yield boolean"
        raise SqlError("42804", message, position=position(node.location))
    first = call.args[0]
    return tree.NullIf(call.function, first, call.args[1], first.type, first.typmod)


def _has_vars(expr: tree.Expr) -> bool:
    return contains(expr, lambda node: isinstance(node, tree.Var | tree.SubLink))


def _in_list(state: State, node: Node) -> tree.Expr:
    """`x IN (…)`: one array for the values without columns, if their types allow it."""
    name = name_parts(node.name)[-1]
    use_any = name == "="
    left = expression(state, node.lexpr)
    items = [expression(state, item) for item in node.rexpr.list.items]
    plain = [item for item in items if not _has_vars(item)]
    tests: list[tree.Expr] = []
    if len(plain) > 1 and not isinstance(left, tree.RowExpr):
        scalar = common_type([left.type, *(item.type for item in plain)])
        usable = scalar not in (0, oids.RECORD, oids.UNKNOWN) and all(
            coerce.can_coerce((item.type,), (scalar,), Context.IMPLICIT) for item in (left, *plain)
        )
        if usable and types.array_of(scalar):
            found = tuple(coerce.to_common(state, item, scalar, "IN") for item in plain)
            array = tree.ArrayExpr(found, scalar, False, types.array_of(scalar))
            tests.append(
                operators.make_array(
                    state, name, left, array, use_any=use_any, location=node.location
                )
            )
            items = [item for item in items if _has_vars(item)]
    for item in items:
        if isinstance(left, tree.RowExpr) and isinstance(item, tree.RowExpr):
            tests.append(compare_rows(state, name, left.fields, item.fields, node.location))
        else:
            call = operators.make(state, name, left, item, node.location)
            tests.append(coerce.to_boolean(state, call, "IN"))
    if len(tests) == 1:
        return tests[0]
    return either(*tests) if use_any else both(*tests)


def _between(state: State, node: Node) -> tree.Expr:
    """Two comparisons; each analyses its operands anew, which decides parameters' types."""
    low, high = node.rexpr.list.items

    def test(op: str, bound: Node) -> tree.Expr:
        subject, limit = expression(state, node.lexpr), expression(state, bound)
        call = operators.make(state, op, subject, limit, node.location)
        return coerce.to_boolean(state, call, "AND")

    if node.kind == _NOT_BETWEEN:
        return either(test("<", low), test(">", high))
    if node.kind == _NOT_BETWEEN_SYM:
        outside = either(test("<", low), test(">", high))
        return both(outside, either(test("<", high), test(">", low)))
    inside = both(test(">=", low), test("<=", high))
    if node.kind == _BETWEEN:
        return inside
    return either(inside, both(test(">=", high), test("<=", low)))


@handles("bool_expr")
def bool_expr(state: State, node: Node) -> tree.Expr:
    """AND, OR, NOT."""
    op = {1: tree.BoolOp.AND, 2: tree.BoolOp.OR, 3: tree.BoolOp.NOT}[node.boolop]
    word = op.value.upper()
    args = tuple(coerce.to_boolean(state, expression(state, arg), word) for arg in node.args)
    return tree.BoolExpr(op, args)


@handles("null_test")
def null_test(state: State, node: Node) -> tree.Expr:
    """IS [NOT] NULL."""
    arg = expression(state, node.arg)
    return tree.NullTest(arg, negated=node.nulltesttype == 2)


_BOOLEAN_TESTS: dict[int, tuple[bool | None, bool, str]] = {
    1: (True, False, "IS TRUE"),
    2: (True, True, "IS NOT TRUE"),
    3: (False, False, "IS FALSE"),
    4: (False, True, "IS NOT FALSE"),
    5: (None, False, "IS UNKNOWN"),
    6: (None, True, "IS NOT UNKNOWN"),
}


@handles("boolean_test")
def boolean_test(state: State, node: Node) -> tree.Expr:
    """IS [NOT] TRUE, FALSE, UNKNOWN."""
    value, negated, words = _BOOLEAN_TESTS[node.booltesttype]
    arg = coerce.to_boolean(state, expression(state, node.arg), words)
    return tree.BooleanTest(arg, value, negated)


@handles("row_expr")
def row_expr(state: State, node: Node) -> tree.Expr:
    """ROW(…); its fields are called f1, f2, …"""
    fields = tuple(_fields(state, node))
    names = tuple(f"f{i}" for i in range(1, len(fields) + 1))
    return tree.RowExpr(fields, names, location=node.location)


def _fields(state: State, node: Node) -> list[tree.Expr]:
    from sqlnode.analyse.targets import expand_list

    return [target.expr for target in expand_list(state, node.args, keep_unknown=True)]
