"""CASE, COALESCE, NULLIF, GREATEST and LEAST: what evaluates only some of its parts."""

from sqlnode import tree
from sqlnode.compile.expression import Compiler, call_text, handles
from sqlnode.compile.source import Code


@handles(tree.Case)
def _case(compiler: Compiler, expr: tree.Case) -> Code:
    parts = []
    results = [compiler.value(expr.default)]
    for when, then in expr.whens:
        result = compiler.value(then)
        results.append(result)
        parts.append(f"{result.text} if {compiler.true(when)} else ")
    text = f"({''.join(parts)}{results[0].text})"
    return Code(text, any(result.nullable for result in results))


@handles(tree.CaseSubject)
def _case_subject(compiler: Compiler, expr: tree.CaseSubject) -> Code:
    return bind_case_value(compiler, compiler.value(expr.subject), expr.body)


def bind_case_value(compiler: Compiler, subject: Code, body: tree.Expr) -> Code:
    """`body` with CaseValue standing for `subject`, which is evaluated once."""
    name = compiler.temporary()
    compiler.case_values.append(Code(name, subject.nullable, simple=True))
    compiler.locals.append(name)
    result = compiler.value(body)
    compiler.locals.pop()
    compiler.case_values.pop()
    return Code(f"(({name} := {subject.text}), {result.text})[1]", result.nullable)


@handles(tree.Coalesce)
def _coalesce(compiler: Compiler, expr: tree.Coalesce) -> Code:
    args = [compiler.value(arg) for arg in expr.args]
    parts = []
    for arg in args:
        if not arg.nullable or arg is args[-1]:
            parts.append(arg.text)
            return Code(f"({''.join(parts)})", arg.nullable)
        name = arg.text if arg.simple else compiler.temporary()
        test = name if arg.simple else f"({name} := {arg.text})"
        parts.append(f"{name} if {test} is not None else ")
    raise ValueError("COALESCE without arguments")


@handles(tree.NullIf)
def _null_if(compiler: Compiler, expr: tree.NullIf) -> Code:
    left, right = compiler.value(expr.left), compiler.value(expr.right)
    a = left.text if left.simple else compiler.temporary()
    b = right.text if right.simple else compiler.temporary()
    bound = [f"({name} := {arg.text})" for name, arg in ((a, left), (b, right)) if not arg.simple]
    equal = call_text(compiler, expr.equals, [a, b], (expr.left.type, expr.right.type))
    checks = [f"({', '.join(bound)},)"] if bound else []
    checks += [f"{name} is not None" for name, arg in ((a, left), (b, right)) if arg.nullable]
    checks.append(f"({equal})")
    return Code(f"(None if {' and '.join(checks)} else {a})", nullable=True)


@handles(tree.MinMax)
def _min_max(compiler: Compiler, expr: tree.MinMax) -> Code:
    args = [compiler.value(arg) for arg in expr.args]
    less = call_text(compiler, expr.less, ["a", "b"], (expr.type, expr.type))
    name = compiler.module.define(["a", "b", "c"], less, "less")
    texts = ", ".join(arg.text for arg in args)
    text = f"_min_max(({texts},), lambda a, b: {name}(a, b, c), greatest={expr.greatest!r})"
    return Code(text, nullable=all(arg.nullable for arg in args))
