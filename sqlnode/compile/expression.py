"""Expressions to Python source, each in two views: its value, and whether it is true or false.

    a < 5 AND NOT (b = c OR d IS NULL)      as a filter, a and c may be NULL, b and d not:

    r[0] is not None and r[0] < 5 and (r[2] is not None and not r[1] == r[2]) and r[3] is not None

A filter only asks "is it true", so three-valued logic never shows in one: `true(NOT x)` is
`false(x)`, `false(x AND y)` is `false(x) or false(y)`, and a strict call that is true has no NULL
argument. Where the value itself is wanted (`SELECT a < 5 AND b`), NULLs are tested where they can
occur; columns that are NOT NULL, constants and what strict functions make of them need no test.

Names in generated code: `r` the row, `p` the parameters, `s` the slots (values from outer rows and
results of sub-selects), `c` the function context. Generated code never awaits: what needs I/O is a
SubPlan, and its result is a column of the row or a slot before the code runs (see
`sqlnode.execute.subplans`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlnode import sqlstate, tree
from sqlnode.compile.source import NESTING_MAX, Code, Module
from sqlnode.errors import SqlError, unsupported
from sqlnode.functions.base import Function
from sqlnode.plan.expressions import Expr, Slot

Handler = Callable[["Compiler", Any], Code]
Test = Callable[["Compiler", Any, bool], str | None]
"""(compiler, expression, wanted) → a condition for "the value is `wanted`"; None: no short one."""

VALUES: dict[type, Handler] = {}
TESTS: dict[type, Test] = {}


def handles(kind: type) -> Callable[[Handler], Handler]:
    """Register the function that compiles expressions of a kind."""

    def register(handler: Handler) -> Handler:
        VALUES[kind] = handler
        return handler

    return register


def tests(kind: type) -> Callable[[Test], Test]:
    """Register the function that compiles conditions of a kind."""

    def register(test: Test) -> Test:
        TESTS[kind] = test
        return test

    return register


class Compiler:
    """Compiles expressions over one kind of row.

    `columns` says where an expression's value stands already, and is consulted before anything
    else, so that `sum(x)` above an aggregate is a column.
    """

    def __init__(
        self, module: Module, columns: Mapping[Expr, Code], locals_: Sequence[str] = ("r",)
    ) -> None:
        self.module = module
        self.columns = columns
        self.locals = [*locals_, "p", "s", "c"]
        self.case_values: list[Code] = []
        self.sublink_row = ""

    def value(self, expr: Expr) -> Code:
        """Source for the value."""
        found = self.columns.get(expr)
        if found is not None:
            return found
        handler = VALUES.get(type(expr))
        if handler is None:
            raise unsupported(f"{type(expr).__name__} in this place")
        return self._hoisted(handler(self, expr))

    def true(self, expr: Expr) -> str:
        """Source for "the value is true", as a Python condition."""
        return self._test(expr, wanted=True)

    def false(self, expr: Expr) -> str:
        """Source for "the value is false"."""
        return self._test(expr, wanted=False)

    def _test(self, expr: Expr, *, wanted: bool) -> str:
        text = None
        if expr not in self.columns:
            test = TESTS.get(type(expr))
            text = None if test is None else test(self, expr, wanted)
        if text is None:
            code = self.value(expr)
            if wanted:
                text = code.text
            else:
                text = f"({code.text} is False)" if code.nullable else f"(not {code.text})"
        return self._hoisted(Code(text, nullable=False)).text

    def _hoisted(self, code: Code) -> Code:
        if code.text.count("(") + code.text.count("[") <= NESTING_MAX:
            return code
        name = self.module.define(self.locals, code.text, "h")
        return Code(f"{name}({', '.join(self.locals)})", code.nullable)

    def bound(self, value: Any) -> str:
        """A name for a value."""
        return self.module.bind(value)

    def temporary(self) -> str:
        """A name for a local of the generated code."""
        return self.module.fresh("t")

    def strict(
        self, args: Sequence[Code], build: Callable[[list[str]], str], *, nullable: bool
    ) -> Code:
        """Source that is NULL where an argument is, and `build(arguments)` otherwise."""
        checks, names = self._checked(args, "is None", repeat=False)
        text = build(names)
        if checks:
            return Code(f"(None if {' or '.join(checks)} else {text})", nullable=True)
        return Code(f"({text})", nullable)

    def _checked(
        self, args: Sequence[Code], test: str, *, repeat: bool
    ) -> tuple[list[str], list[str]]:
        checks, names = [], []
        for arg in args:
            name = arg.text
            if not arg.simple and (arg.nullable or repeat):
                name = self.temporary()
                checks.append(f"({name} := {arg.text}) {test}")
            elif arg.nullable:
                checks.append(f"{name} {test}")
            names.append(name)
        return checks, names


def call_text(compiler: Compiler, function: Function, names: Sequence[str], types: Any) -> str:
    """A call of a function on arguments that need no NULL test."""
    if function.inline is not None:
        return function.inline.format(*names)
    if function.call is None:
        raise unsupported(f"function {function.name}")
    args = list(names)
    if function.needs_types:
        args.insert(0, compiler.bound(tuple(types)))
    if function.needs_context:
        args.insert(0, "c")
    compiler.module.waits |= function.waits
    return f"{compiler.bound(function.call)}({', '.join(args)})"


def never_null(function: Function) -> bool:
    """Whether the function is known to give a value for every argument that is not NULL."""
    return function.strict and function.inline is not None and "None" not in function.inline


@handles(tree.Call)
def _call(compiler: Compiler, expr: tree.Call) -> Code:
    function = expr.function
    args = [compiler.value(arg) for arg in expr.args]
    types = [arg.type for arg in expr.args]
    if function.returns_set:
        raise SqlError(
            sqlstate.FEATURE_NOT_SUPPORTED,
            "set-valued function called in context that cannot accept a set",
        )
    if not function.strict:
        names = [arg.text for arg in args]
        return Code(f"({call_text(compiler, function, names, types)})", nullable=True)
    if function.inline is not None:
        args = [
            _bound_once(compiler, arg)
            if function.inline.count(f"{{{position}}}") > 1 and not arg.simple
            else arg
            for position, arg in enumerate(args)
        ]
    return compiler.strict(
        args,
        lambda names: call_text(compiler, function, names, types),
        nullable=not never_null(function),
    )


def _bound_once(compiler: Compiler, arg: Code) -> Code:
    # Marked nullable, so that `strict` binds it to a name in its test.
    return Code(arg.text, nullable=True)


@tests(tree.Call)
def _call_test(compiler: Compiler, expr: tree.Call, wanted: bool) -> str | None:
    function = expr.function
    if not function.strict or function.returns_set or not never_null(function):
        return None
    args = [compiler.value(arg) for arg in expr.args]
    inline = function.inline or ""
    checks, names = [], []
    for position, arg in enumerate(args):
        name = arg.text
        if not arg.simple and (arg.nullable or inline.count(f"{{{position}}}") > 1):
            name = compiler.temporary()
            checks.append(f"({name} := {arg.text}) is not None")
        elif arg.nullable:
            checks.append(f"{name} is not None")
        names.append(name)
    types = [arg.type for arg in expr.args]
    text = call_text(compiler, function, names, types)
    checks.append(text if wanted else f"not ({text})")
    return f"({' and '.join(checks)})"


@handles(tree.Const)
def _const(compiler: Compiler, expr: tree.Const) -> Code:
    if expr.value is None or expr.value is True or expr.value is False:
        return Code(repr(expr.value), nullable=expr.value is None, simple=True)
    return Code(compiler.bound(expr.value), nullable=False, simple=True)


@handles(tree.Param)
def _param(compiler: Compiler, expr: tree.Param) -> Code:
    return Code(f"p[{expr.number - 1:d}]", nullable=True, simple=True)


@handles(Slot)
def _slot(compiler: Compiler, expr: Slot) -> Code:
    return Code(f"s[{expr.number:d}]", nullable=True, simple=True)


@handles(tree.Default)
def _default(compiler: Compiler, expr: tree.Default) -> Code:
    return Code("None", nullable=True, simple=True)


@handles(tree.Relabel)
def _relabel(compiler: Compiler, expr: tree.Relabel) -> Code:
    return compiler.value(expr.arg)


@handles(tree.CaseValue)
def _case_value(compiler: Compiler, expr: tree.CaseValue) -> Code:
    return compiler.case_values[-1]


@handles(tree.SubLinkColumn)
def _sublink_column(compiler: Compiler, expr: tree.SubLinkColumn) -> Code:
    return Code(f"{compiler.sublink_row}[{expr.column:d}]", nullable=True, simple=True)


@handles(tree.RowExpr)
def _row(compiler: Compiler, expr: tree.RowExpr) -> Code:
    fields = [compiler.value(field) for field in expr.fields]
    types = compiler.bound(tuple(field.type for field in expr.fields))
    names = compiler.bound(expr.names)
    values = f"({''.join(f'{field.text}, ' for field in fields)})"
    if expr.optional and all(field.nullable for field in fields):
        return Code(f"_optional_row({values}, types={types}, names={names})", nullable=True)
    return Code(f"_make_row({values}, types={types}, names={names})", nullable=False)


@handles(tree.Var)
def _var(compiler: Compiler, expr: tree.Var) -> Code:
    raise LookupError(f"column {expr} is not among {list(compiler.columns)}")
