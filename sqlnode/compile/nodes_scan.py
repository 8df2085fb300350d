"""Scans to operators."""

from typing import Any

from sqlnode import tree
from sqlnode.catalog.descriptors import Table
from sqlnode.catalog.virtual import waits
from sqlnode.compile.plans import Compiled, PlanCompiler, compiles
from sqlnode.compile.rowset import Layout
from sqlnode.execute.api import Row
from sqlnode.execute.codecs import codecs
from sqlnode.execute.ranges import KeyValues, RangeReader
from sqlnode.execute.scans import (
    FunctionRows,
    Piped,
    SingleRow,
    TableRows,
    ValuesRows,
    VirtualRows,
)
from sqlnode.execute.sets import CteRows, WorkingRows
from sqlnode.execute.stages import Pipeline
from sqlnode.plan import nodes
from sqlnode.plan.expressions import Expr, RowKey
from sqlnode.plan.walk import walk


def table_columns(node: nodes.TableScan, exprs: tuple[Expr, ...]) -> tuple[tuple[int, ...], bool]:
    """(positions of the columns that expressions read, whether they read the row's key)."""
    found: dict[int, None] = {}
    with_key = False
    for expr in exprs:
        for part in walk(expr):
            if isinstance(part, RowKey):
                with_key = True
            elif isinstance(part, tree.Var) and part.entry == node.entry:
                found.setdefault(part.column)
    return tuple(found), with_key


def table_layout(table: Table, entry: int, positions: tuple[int, ...], *, key: bool) -> Layout:
    """The layout of decoded rows of a table."""
    columns = [table.live[position] for position in positions]
    exprs: list[Expr] = [RowKey(entry)] if key else []
    exprs += [
        tree.Var(entry, position, column.type, column.typmod)
        for position, column in zip(positions, columns, strict=True)
    ]
    nullable = [False] * key + [not column.not_null for column in columns]
    return Layout(tuple(exprs), tuple(nullable))


def key_values(compiler: PlanCompiler, path: nodes.KeyRange) -> KeyValues:
    """What works out the keys of an access path."""
    exprs = list(path.equals)
    if path.any_of is not None:
        exprs.append(path.any_of)
    bounds = [bound.value for bound in (path.lower, path.upper) if bound is not None]
    values, preparation = compiler.scalar(*exprs, *bounds)
    return KeyValues(
        values,
        equals=len(path.equals),
        listed=path.any_of is not None,
        lower=None if path.lower is None else path.lower.inclusive,
        upper=None if path.upper is None else path.upper.inclusive,
        preparation=preparation,
    )


@compiles(nodes.Result)
def _result(compiler: PlanCompiler, node: nodes.Result) -> Compiled:
    pipeline, layout = compiler.rowset.pipeline(Layout((), ()), node.condition, node.output)
    return SingleRow(pipeline), layout


@compiles(nodes.TableScan)
def _table(compiler: PlanCompiler, node: nodes.TableScan) -> Compiled:
    read = (*node.output, *(() if node.filter is None else (node.filter,)))
    positions, with_key = table_columns(node, read)
    layout = table_layout(node.table, node.entry, positions, key=with_key)
    pipeline, result = compiler.rowset.pipeline(layout, node.filter, node.output)
    if node.table.virtual:
        compiler.module.waits |= waits(node.table)
        return VirtualRows(node.table, positions, pipeline), result
    path = node.range
    values = None
    if path is not None and path.conditions:
        values = key_values(compiler, path)
    known = codecs(node.table)
    reader = RangeReader(
        known.rows,
        known.keys(None if path is None else path.index),
        values,
        point=path is not None and path.is_point,
        reverse=node.reverse,
        rows_hint=node.rows_hint if node.filter is None else 0,
    )
    decoder = known.decoder(positions)
    return TableRows(reader, decoder, pipeline, with_keys=with_key), result


@compiles(nodes.ValuesScan)
def _values(compiler: PlanCompiler, node: nodes.ValuesScan) -> Compiled:
    rows: list[Pipeline | Row] = []
    nullable = [False] * len(node.rows[0])
    for row in node.rows:
        constants = tuple(expr.value for expr in row if isinstance(expr, tree.Const))
        if len(constants) == len(row):
            rows.append(constants)
            nullable = [a or b is None for a, b in zip(nullable, constants, strict=True)]
            continue
        pipeline, layout = compiler.rowset.pipeline(Layout((), ()), None, row)
        rows.append(pipeline)
        nullable = [a or b for a, b in zip(nullable, layout.nullable, strict=True)]
    layout = by_position(node.entry, nullable, node)
    output, result = compiler.rowset.pipeline(layout, node.filter, node.output)
    return ValuesRows(rows, output), result


def by_position(entry: int, nullable: list[bool], node: Any) -> Layout:
    """The layout of an entry's rows, as the expressions of `node` call its columns."""
    names: dict[int, Expr] = {}
    for expr in (*node.output, *(() if node.filter is None else (node.filter,))):
        for part in walk(expr):
            if isinstance(part, tree.Var) and part.entry == entry and not part.levels_up:
                names.setdefault(part.column, part)
    exprs = tuple(
        names.get(position) or tree.Var(entry, position, 0) for position in range(len(nullable))
    )
    return Layout(exprs, tuple(nullable))


@compiles(nodes.SubqueryScan)
def _subquery(compiler: PlanCompiler, node: nodes.SubqueryScan) -> Compiled:
    child, inner = compiler.node(node.child)
    layout = by_position(node.entry, list(inner.nullable), node)
    pipeline, result = compiler.rowset.pipeline(layout, node.filter, node.output)
    return (child if pipeline.is_identity else Piped(child, pipeline)), result


@compiles(nodes.CteScan)
def _cte(compiler: PlanCompiler, node: nodes.CteScan) -> Compiled:
    if node.working:
        width = compiler.cte_width(node.cte)
        layout = by_position(node.entry, [True] * width, node)
        pipeline, result = compiler.rowset.pipeline(layout, node.filter, node.output)
        return WorkingRows(node.cte, pipeline), result
    operator, inner = compiler.cte(node.cte)
    layout = by_position(node.entry, list(inner.nullable), node)
    pipeline, result = compiler.rowset.pipeline(layout, node.filter, node.output)
    slots = compiler.plan.ctes[node.cte].slots
    return CteRows(node.cte, operator, slots, pipeline), result


@compiles(nodes.FunctionScan)
def _function(compiler: PlanCompiler, node: nodes.FunctionScan) -> Compiled:
    call = node.call
    returns_set = isinstance(call, tree.Call) and call.function.returns_set
    width = node.columns + node.ordinality
    layout = by_position(node.entry, [True] * width, node)
    pipeline, result = compiler.rowset.pipeline(layout, node.filter, node.output)
    value, preparation = set_call(compiler, call) if returns_set else compiler.scalar(call)
    rows = FunctionRows(
        (lambda runtime: value(runtime)[0]),
        returns_set=returns_set,
        columns=node.columns,
        ordinality=node.ordinality,
        pipeline=pipeline,
        preparation=preparation,
    )
    return rows, result


def set_call(compiler: PlanCompiler, call: Any) -> tuple[Any, Any]:
    """A set-returning call over no row: (function of the Runtime → (list,), preparation)."""
    values, preparation = compiler.scalar(*call.args)
    function = call.function
    types = tuple(arg.type for arg in call.args)
    return (lambda runtime: (call_set(function, types, values(runtime), runtime),)), preparation


def call_set(function: Any, types: tuple[int, ...], values: tuple[Any, ...], runtime: Any) -> Any:
    """Call a set-returning function; a strict one gives nothing for a NULL."""
    if function.strict and None in values:
        return ()
    args: list[Any] = [runtime.context] if function.needs_context else []
    if function.needs_types:
        args.append(types)
    return function.call(*args, *values)
