"""Casts that need a type's codecs: through text, by type modifier, element by element."""

from sqlnode import tree
from sqlnode.compile.conditional import bind_case_value
from sqlnode.compile.expression import Compiler, handles
from sqlnode.compile.source import Code
from sqlnode.types import registry


@handles(tree.CoerceViaIO)
def _via_text(compiler: Compiler, expr: tree.CoerceViaIO) -> Code:
    write = compiler.bound(registry.by_oid(expr.arg.type).text_out)
    read = compiler.bound(registry.by_oid(expr.type).text_in)
    return compiler.strict(
        [compiler.value(expr.arg)],
        lambda names: f"{read}({write}({names[0]}, c), {expr.typmod:d}, c)",
        nullable=False,
    )


@handles(tree.ApplyTypmod)
def _apply_typmod(compiler: Compiler, expr: tree.ApplyTypmod) -> Code:
    apply = registry.by_oid(expr.type).apply_typmod
    arg = compiler.value(expr.arg)
    if apply is None or expr.typmod < 0:
        return arg
    name = compiler.bound(apply)
    return compiler.strict(
        [arg],
        lambda names: f"{name}({names[0]}, {expr.typmod:d}, {expr.explicit!r})",
        nullable=False,
    )


@handles(tree.CoerceArray)
def _coerce_array(compiler: Compiler, expr: tree.CoerceArray) -> Code:
    element = compiler.temporary()
    compiler.locals.append(element)
    body = bind_case_value(compiler, Code(element, nullable=True, simple=True), expr.element)
    compiler.locals.pop()
    # A lambda, for a walrus inside a nested comprehension could not use its iteration variable.
    each = compiler.module.define([element, "p", "s", "c"], body.text, "cast")
    return compiler.strict(
        [compiler.value(expr.arg)],
        lambda names: f"_map_array({names[0]}, lambda x: {each}(x, p, s, c))",
        nullable=False,
    )
