"""Arrays: constructors, subscripts, and `op ANY (array)`, which IN lists become."""

from typing import Any

from sqlnode import tree
from sqlnode.compile.expression import Compiler, call_text, handles, tests
from sqlnode.compile.source import Code
from sqlnode.functions import registry as functions
from sqlnode.types import registry as types


@handles(tree.ArrayExpr)
def _array(compiler: Compiler, expr: tree.ArrayExpr) -> Code:
    elements = ", ".join(compiler.value(element).text for element in expr.elements)
    helper = "_nest_arrays" if expr.multidimensional else "_make_array"
    return Code(f"{helper}([{elements}])", nullable=False)


@handles(tree.Subscript)
def _subscript(compiler: Compiler, expr: tree.Subscript) -> Code:
    array = compiler.value(expr.array)
    if expr.slices:
        bounds = []
        for low, high in expr.slices:
            texts = ["_OPEN" if end is None else compiler.value(end).text for end in (low, high)]
            bounds.append(f"({texts[0]}, {texts[1]})")
        return Code(f"_slice_array({array.text}, [{', '.join(bounds)}])", nullable=True)
    indexes = ", ".join(compiler.value(index).text for index in expr.indexes)
    return Code(f"_array_item({array.text}, ({indexes},))", nullable=True)


def is_plain_equality(expr: tree.ScalarArrayOp) -> bool:
    """Whether the operator is the type's own equality, so that values may be looked up in a set."""
    return (
        expr.use_any
        and expr.left.type == types.element_of(expr.array.type)
        and expr.operator == "="
        and expr.function is functions.equality(expr.left.type)
        and types.by_oid(expr.left.type).key is None
    )


def constant_elements(array: tree.Expr) -> list[Any] | None:
    """The elements of an array that is constant and has no NULL, None otherwise."""
    if isinstance(array, tree.Const) and array.value is not None:
        values = list(array.value.elements)
    elif isinstance(array, tree.ArrayExpr) and not array.multidimensional:
        if not all(isinstance(element, tree.Const) for element in array.elements):
            return None
        values = [element.value for element in array.elements if isinstance(element, tree.Const)]
    else:
        return None
    return None if None in values else values


@handles(tree.ScalarArrayOp)
def _scalar_array(compiler: Compiler, expr: tree.ScalarArrayOp) -> Code:
    left = compiler.value(expr.left)
    if is_plain_equality(expr):
        values = constant_elements(expr.array)
        if values is not None:
            name = compiler.bound(frozenset(values))
            return compiler.strict([left], lambda n: f"{n[0]} in {name}", nullable=False)
    element_type = types.element_of(expr.array.type)
    call = call_text(compiler, expr.function, ["a", "b"], (expr.left.type, element_type))
    name = compiler.module.define(["a", "b", "c"], call, "op")
    array = compiler.value(expr.array)
    helper = "_array_any" if expr.use_any else "_array_all"
    text = f"{helper}({left.text}, {array.text}, lambda a, b: {name}(a, b, c))"
    return Code(text, nullable=True)


@tests(tree.ScalarArrayOp)
def _scalar_array_test(compiler: Compiler, expr: tree.ScalarArrayOp, wanted: bool) -> str | None:
    if not is_plain_equality(expr):
        return None
    values = constant_elements(expr.array)
    if values is None:
        return None
    left = compiler.value(expr.left)
    name = compiler.bound(frozenset(values))
    if wanted:  # None is in no set of values
        return f"({left.text} in {name})"
    if not left.nullable:
        return f"({left.text} not in {name})"
    if left.simple:
        return f"({left.text} is not None and {left.text} not in {name})"
    temporary = compiler.temporary()
    return f"(({temporary} := {left.text}) is not None and {temporary} not in {name})"
