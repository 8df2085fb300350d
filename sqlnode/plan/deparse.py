"""Expressions as EXPLAIN prints them (ruleutils.c): operators in parentheses, casts as `::type`."""

from collections.abc import Callable
from typing import Any

from sqlnode import tree
from sqlnode.plan.expressions import RowKey, Slot, SubPlan
from sqlnode.types import oids, registry
from sqlnode.types.base import FormatSettings

Name = Callable[[int, int], str]
"""(entry, column) → how the column is called."""


class IsoSettings:
    """How constants print, whatever the session's settings."""

    date_style = "ISO, MDY"
    interval_style = "postgres"
    time_zone = "UTC"
    extra_float_digits = 1
    bytea_output = "hex"

    def now_micros(self) -> int:
        """Constants hold no 'now'."""
        return 0


_SETTINGS: FormatSettings = IsoSettings()


def deparse(expr: Any, name: Name) -> str:
    """The expression as SQL."""
    handler = _HANDLERS.get(type(expr))
    return f"<{type(expr).__name__}>" if handler is None else handler(expr, name)


def _const(expr: tree.Const, _: Name) -> str:
    type_name = registry.format_type(expr.type, expr.typmod)
    if expr.value is None:
        return f"NULL::{type_name}"
    text = registry.by_oid(expr.type).text_out(expr.value, _SETTINGS)
    if expr.type == oids.BOOL:
        return "true" if expr.value else "false"
    if expr.type == oids.INT4 and text.isdigit():
        return text
    if expr.type == oids.NUMERIC and text[:1].isdigit() and "." in text:
        return text
    quoted = "'" + text.replace("'", "''") + "'"
    return f"{quoted}::{type_name}"


def _call(expr: tree.Call, name: Name) -> str:
    args = [deparse(arg, name) for arg in expr.args]
    if expr.operator is not None:
        if len(args) == 1:
            return f"({expr.operator} {args[0]})"
        return f"({args[0]} {expr.operator} {args[1]})"
    if expr.form in (tree.CallForm.EXPLICIT_CAST, tree.CallForm.IMPLICIT_CAST):
        if expr.form is tree.CallForm.IMPLICIT_CAST:
            return args[0]
        return f"({args[0]})::{registry.format_type(expr.type, expr.typmod)}"
    return f"{expr.function.name}({', '.join(args)})"


def _aggregate(expr: tree.AggregateCall, name: Name) -> str:
    inner = "*" if expr.star else ", ".join(deparse(arg, name) for arg in expr.args)
    inner = f"DISTINCT {inner}" if expr.distinct else inner
    text = f"{expr.function.name}({inner})"
    if expr.filter is not None:
        text += f" FILTER (WHERE {deparse(expr.filter, name)})"
    return text


def _bool(expr: tree.BoolExpr, name: Name) -> str:
    args = [deparse(arg, name) for arg in expr.args]
    if expr.op is tree.BoolOp.NOT:
        return f"(NOT {args[0]})"
    return f"({f' {expr.op.value.upper()} '.join(args)})"


def _null_test(expr: tree.NullTest, name: Name) -> str:
    return f"({deparse(expr.arg, name)} IS {'NOT ' if expr.negated else ''}NULL)"


def _boolean_test(expr: tree.BooleanTest, name: Name) -> str:
    word = {True: "TRUE", False: "FALSE", None: "UNKNOWN"}[expr.value]
    return f"({deparse(expr.arg, name)} IS {'NOT ' if expr.negated else ''}{word})"


def _distinct(expr: tree.DistinctFrom, name: Name) -> str:
    left, right = deparse(expr.left, name), deparse(expr.right, name)
    return f"({left} IS {'NOT ' if expr.negated else ''}DISTINCT FROM {right})"


def _scalar_array(expr: tree.ScalarArrayOp, name: Name) -> str:
    word = "ANY" if expr.use_any else "ALL"
    array = deparse(expr.array, name)
    if isinstance(expr.array, tree.ArrayExpr) and all(
        isinstance(e, tree.Const) for e in expr.array.elements
    ):
        texts = [
            "NULL" if e.value is None else registry.by_oid(e.type).text_out(e.value, _SETTINGS)
            for e in expr.array.elements
            if isinstance(e, tree.Const)
        ]
        array = f"'{{{','.join(texts)}}}'::{registry.format_type(expr.array.type)}"
    return f"({deparse(expr.left, name)} {expr.operator} {word} ({array}))"


def _case(expr: tree.Case, name: Name) -> str:
    whens = "".join(
        f" WHEN {deparse(when, name)} THEN {deparse(then, name)}" for when, then in expr.whens
    )
    return f"CASE{whens} ELSE {deparse(expr.default, name)} END"


def _cast(expr: Any, name: Name) -> str:
    inner = deparse(expr.arg, name)
    if getattr(expr, "form", None) is tree.CallForm.IMPLICIT_CAST and not isinstance(
        expr, tree.Relabel
    ):
        return inner
    return f"({inner})::{registry.format_type(expr.type, expr.typmod)}"


def _list(word: str) -> Callable[[Any, Name], str]:
    return lambda expr, name: f"{word}({', '.join(deparse(arg, name) for arg in expr.args)})"


def _min_max(expr: tree.MinMax, name: Name) -> str:
    return _list("GREATEST" if expr.greatest else "LEAST")(expr, name)


def _subplan(expr: SubPlan, _: Name) -> str:
    if expr.kind in (tree.SubLinkKind.ANY, tree.SubLinkKind.ALL):
        return f"({'hashed ' if expr.hashed is not None else ''}SubPlan {expr.number})"
    return f"(SubPlan {expr.number})" if expr.inputs else f"$SubPlan {expr.number}"


_HANDLERS: dict[type, Callable[[Any, Name], str]] = {
    tree.Const: _const,
    tree.Param: lambda expr, _: f"${expr.number}",
    Slot: lambda expr, _: f"$slot{expr.number}",
    RowKey: lambda _, __: "ctid",
    tree.Var: lambda expr, name: name(expr.entry, expr.column),
    tree.Call: _call,
    tree.AggregateCall: _aggregate,
    tree.BoolExpr: _bool,
    tree.NullTest: _null_test,
    tree.BooleanTest: _boolean_test,
    tree.DistinctFrom: _distinct,
    tree.ScalarArrayOp: _scalar_array,
    tree.Case: _case,
    tree.CaseSubject: lambda expr, name: deparse(expr.body, name),
    tree.CaseValue: lambda _, __: "CASE_TEST_EXPR",
    tree.Relabel: _cast,
    tree.CoerceViaIO: _cast,
    tree.ApplyTypmod: _cast,
    tree.CoerceArray: _cast,
    tree.Coalesce: _list("COALESCE"),
    tree.MinMax: _min_max,
    tree.NullIf: lambda e, n: f"NULLIF({deparse(e.left, n)}, {deparse(e.right, n)})",
    tree.ArrayExpr: lambda e, n: f"ARRAY[{', '.join(deparse(x, n) for x in e.elements)}]",
    tree.RowExpr: lambda e, n: f"ROW({', '.join(deparse(x, n) for x in e.fields)})",
    tree.SqlValue: lambda expr, _: expr.kind.upper(),
    tree.Default: lambda expr, _: f"NULL::{registry.format_type(expr.type, expr.typmod)}",
    SubPlan: _subplan,
}
