"""Results of sub-selects inside expressions.

The value is there when the code runs: of an uncorrelated sub-select in its slot, of a correlated
one in a column appended to the row (the compiler finds it among its columns). What it is:

    EXISTS → bool      SCALAR → the value      ARRAY → an Array      ANY, ALL → the list of rows,
    or with a hashed equality the pair (set of keys, whether there are NULLs)

Either may be `Raised`, an error that counts only if the value is used.
"""

from sqlnode import tree
from sqlnode.compile.expression import Compiler, handles
from sqlnode.compile.source import Code
from sqlnode.plan.expressions import SubPlan
from sqlnode.types import registry


@handles(SubPlan)
def _subplan(compiler: Compiler, expr: SubPlan) -> Code:
    if expr.inputs:
        raise LookupError(f"sub-select {expr.number} was not computed before it is used")
    return result_code(compiler, expr, f"s[{expr.result:d}]")


def result_code(compiler: Compiler, expr: SubPlan, place: str) -> Code:
    """Source that turns the result found at `place` into the sub-select's value."""
    result = f"_value({place})"
    if expr.kind in (tree.SubLinkKind.EXISTS, tree.SubLinkKind.ARRAY):
        return Code(result, nullable=False)
    if expr.kind is tree.SubLinkKind.SCALAR:
        return Code(result, nullable=True)
    if expr.hashed is not None:
        left = compiler.value(expr.hashed)
        key = registry.by_oid(expr.hashed.type).key
        text = left.text
        if key is not None:
            name = compiler.bound(key)
            text = compiler.strict([left], lambda names: f"{name}({names[0]})", nullable=False).text
        return Code(f"_hashed_any({text}, {result})", nullable=True)
    row = compiler.temporary()
    outer, compiler.sublink_row = compiler.sublink_row, row
    compiler.locals.append(row)
    # A function of its own: a comprehension's variable and a walrus inside it would collide.
    test = compiler.value(expr.test)
    name = compiler.module.define(compiler.locals, test.text, "any")
    arguments = ", ".join(compiler.locals)
    compiler.locals.pop()
    compiler.sublink_row = outer
    helper = "_any3" if expr.kind is tree.SubLinkKind.ANY else "_all3"
    return Code(f"{helper}({name}({arguments}) for {row} in {result})", nullable=True)
