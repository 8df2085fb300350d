"""Three-valued logic: AND, OR, NOT, IS NULL, IS TRUE, IS DISTINCT FROM."""

from sqlnode import tree
from sqlnode.compile.expression import Compiler, call_text, handles, tests
from sqlnode.compile.source import Code

_RECORD = 2249


@handles(tree.BoolExpr)
def _bool(compiler: Compiler, expr: tree.BoolExpr) -> Code:
    args = [compiler.value(arg) for arg in expr.args]
    if expr.op is tree.BoolOp.NOT:
        return compiler.strict(args, lambda names: f"not {names[0]}", nullable=False)
    conjunction = expr.op is tree.BoolOp.AND
    word = " and " if conjunction else " or "
    if not any(arg.nullable for arg in args):
        return Code(f"({word.join(arg.text for arg in args)})", nullable=False)
    # The deciding value (false for AND) ends it at once; otherwise one unknown makes it unknown.
    deciding = "False" if conjunction else "True"
    tests_, unknown = [], []
    for arg in args:
        name = arg.text
        if arg.nullable and not arg.simple:
            name = compiler.temporary()
            tests_.append(f"({name} := {arg.text}) is {deciding}")
        else:
            tests_.append(f"{name} is {deciding}")
        if arg.nullable:
            unknown.append(f"{name} is None")
    other = "True" if conjunction else "False"
    text = f"({deciding} if {' or '.join(tests_)} else None if {' or '.join(unknown)} else {other})"
    return Code(text, nullable=True)


@tests(tree.BoolExpr)
def _bool_test(compiler: Compiler, expr: tree.BoolExpr, wanted: bool) -> str:
    if expr.op is tree.BoolOp.NOT:
        return compiler.false(expr.args[0]) if wanted else compiler.true(expr.args[0])
    each = compiler.true if wanted else compiler.false
    word = " and " if (expr.op is tree.BoolOp.AND) is wanted else " or "
    return f"({word.join(each(arg) for arg in expr.args)})"


@handles(tree.NullTest)
def _null_test(compiler: Compiler, expr: tree.NullTest) -> Code:
    arg = compiler.value(expr.arg)
    if expr.arg.type == _RECORD:
        return Code(f"_row_null({arg.text}, negated={expr.negated!r})", nullable=False)
    if not arg.nullable and arg.simple:
        return Code(repr(expr.negated), nullable=False, simple=True)
    return Code(f"({arg.text} is {'not ' if expr.negated else ''}None)", nullable=False)


@handles(tree.BooleanTest)
def _boolean_test(compiler: Compiler, expr: tree.BooleanTest) -> Code:
    if expr.value is None:
        text = f"({compiler.value(expr.arg).text} is None)"
    else:
        text = compiler.true(expr.arg) if expr.value else compiler.false(expr.arg)
        text = text if expr.negated else f"(True if {text} else False)"
    return Code(f"(not {text})" if expr.negated else text, nullable=False)


@handles(tree.DistinctFrom)
def _distinct(compiler: Compiler, expr: tree.DistinctFrom) -> Code:
    left, right = compiler.value(expr.left), compiler.value(expr.right)
    names, checks = [], []
    for arg in (left, right):
        name = arg.text
        if not arg.simple:
            name = compiler.temporary()
            checks.append(f"({name} := {arg.text})")
        names.append(name)
    equal = call_text(compiler, expr.equals, names, (expr.left.type, expr.right.type))
    # The tuple binds both names before either is used.
    first = f"({', '.join(checks)},) and " if checks else ""
    a, b = names
    text = f"({first}({b} is not None if {a} is None else {b} is None or not ({equal})))"
    return Code(f"(not {text})" if expr.negated else text, nullable=False)
