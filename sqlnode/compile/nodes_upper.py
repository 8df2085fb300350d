"""Joins, grouping, sorting and what else stands above scans, to operators."""

from typing import Any

from sqlnode import tree
from sqlnode.compile.nodes_scan import table_columns, table_layout
from sqlnode.compile.plans import Compiled, PlanCompiler, compiles
from sqlnode.compile.rowset import Layout
from sqlnode.errors import unsupported
from sqlnode.execute.aggregate import (
    AggregateInput,
    HashAggregate,
    HashDistinct,
    PlainAggregate,
    SortedDistinct,
)
from sqlnode.execute.codecs import codecs
from sqlnode.execute.fetch import RowFetcher
from sqlnode.execute.joins import HashJoin, IndexJoin, Matcher, NestedLoop
from sqlnode.execute.runtime import Operator
from sqlnode.execute.scans import Piped
from sqlnode.execute.sets import Append, RecursiveUnion, SetOperation
from sqlnode.execute.sort import Limit, Sort
from sqlnode.plan import nodes
from sqlnode.plan.expressions import Expr, Slot

_PLACE = Layout((Slot(-1, 0), Slot(-2, 0)), (False, False))
"""Two columns that a join's candidate rows carry behind the others (see Matcher)."""


def piped(
    compiler: PlanCompiler, child: Operator, layout: Layout, condition: Any, output: Any
) -> Compiled:
    """An operator's rows filtered and projected."""
    pipeline, result = compiler.rowset.pipeline(layout, condition, output)
    return (child if pipeline.is_identity else Piped(child, pipeline)), result


def _matcher(
    compiler: PlanCompiler, node: Any, left: Layout, right: Layout, on: Expr | None
) -> tuple[Matcher, Layout]:
    pairs = left + right + _PLACE
    on_pipeline, _ = compiler.rowset.pipeline(pairs, on, pairs.exprs)
    given = left
    if node.kind in (nodes.JoinType.INNER, nodes.JoinType.LEFT):
        given = left + (right if node.kind is nodes.JoinType.INNER else right.optional())
    elif node.kind is nodes.JoinType.FULL:
        given = left.optional() + right.optional()
    output, result = compiler.rowset.pipeline(given, node.filter, node.output)
    matcher = Matcher(
        node.kind,
        right_width=len(right.exprs),
        left_width=len(left.exprs),
        on=on_pipeline,
        output=output,
    )
    return matcher, result


@compiles(nodes.HashJoin)
def _hash_join(compiler: PlanCompiler, node: nodes.HashJoin) -> Compiled:
    left, left_layout = compiler.node(node.left)
    right, right_layout = compiler.node(node.right)
    matcher, result = _matcher(compiler, node, left_layout, right_layout, node.residual)
    join = HashJoin(
        left,
        right,
        left_keys=_key_function(compiler, left_layout, [key for key, _ in node.keys]),
        right_keys=_key_function(compiler, right_layout, [key for _, key in node.keys]),
        matcher=matcher,
    )
    return join, result


def _key_function(compiler: PlanCompiler, layout: Layout, exprs: list[Expr]) -> Any:
    values = compiler.rowset.values(layout, exprs)
    types = [expr.type for expr in exprs]
    positions = range(len(exprs))
    shape = compiler.keys(positions, types, nulls=False)
    return lambda rows, runtime: shape(values(rows, runtime))


@compiles(nodes.NestedLoop)
def _nested_loop(compiler: PlanCompiler, node: nodes.NestedLoop) -> Compiled:
    left, left_layout = compiler.node(node.left)
    right, right_layout = compiler.node(node.right)
    matcher, result = _matcher(compiler, node, left_layout, right_layout, node.on)
    inputs = None
    if node.inputs:
        inputs = compiler.rowset.values(left_layout, [expr for _, expr in node.inputs])
    slots = [slot for slot, _ in node.inputs]
    return NestedLoop(left, right, slots=slots, inputs=inputs, matcher=matcher), result


@compiles(nodes.IndexJoin)
def _index_join(compiler: PlanCompiler, node: nodes.IndexJoin) -> Compiled:
    left, left_layout = compiler.node(node.left)
    scan = node.right
    if scan.range is None:
        raise LookupError("an index join without an index")
    read = (*scan.output, *(() if scan.filter is None else (scan.filter,)))
    positions, with_key = table_columns(scan, read)
    decoded = table_layout(scan.table, scan.entry, positions, key=with_key)
    inner, right_layout = compiler.rowset.pipeline(decoded, scan.filter, scan.output)
    matcher, result = _matcher(compiler, node, left_layout, right_layout, node.on)
    known = codecs(scan.table)
    keys = known.keys(scan.range.index)
    decoder = known.decoder(positions)
    join = IndexJoin(
        left,
        keys=compiler.rowset.values(left_layout, scan.range.equals),
        fetch=RowFetcher(known.rows, keys, decoder, with_keys=with_key).fetch,
        encode=keys.encode,
        inner=inner,
        matcher=matcher,
    )
    return join, result


@compiles(nodes.Aggregate)
def _aggregate(compiler: PlanCompiler, node: nodes.Aggregate) -> Compiled:
    child, layout = compiler.node(node.child)
    places = {expr: at for at, expr in reversed(list(enumerate(layout.exprs)))}
    inputs = [_aggregate_input(compiler, call, places) for call in node.calls]
    width = len(node.groups)
    nullable = [layout.nullable[places[group]] for group in node.groups]
    nullable += [call.function.name != "count" for call in node.calls]
    given = Layout((*node.groups, *node.calls), tuple(nullable))
    pipeline, result = compiler.rowset.pipeline(given, node.filter, node.output)
    if node.plain:
        return PlainAggregate(child, inputs, pipeline), result
    types = [group.type for group in node.groups]
    keys = compiler.keys(range(width), types, nulls=True)
    grouped = HashAggregate(child, width=width, keys=keys, inputs=inputs, pipeline=pipeline)
    return grouped, result


def _aggregate_input(
    compiler: PlanCompiler, call: tree.AggregateCall, places: dict[Expr, int]
) -> AggregateInput:
    machine = call.function.aggregate
    if machine is None:
        raise unsupported(f"aggregate {call.function.name}")
    columns = tuple(places[arg] for arg in call.args)
    distinct = None
    if call.distinct:
        types = [arg.type for arg in call.args]
        keys = compiler.keys(columns, types, nulls=True)
        distinct = _one_key(keys)
    order = None
    if call.order_by or call.distinct:
        items = call.order_by or tuple(
            tree.SortItem(arg, descending=False, nulls_first=False) for arg in call.args
        )
        order = compiler.order(
            [
                nodes.SortColumn(
                    places[item.expr], item.expr.type, item.descending, item.nulls_first
                )
                for item in items
            ]
        )
    return AggregateInput(
        machine,
        columns,
        None if call.filter is None else places[call.filter],
        distinct,
        order,
    )


def _one_key(keys: Any) -> Any:
    return lambda row: keys([row])[0]


@compiles(nodes.Project)
def _project(compiler: PlanCompiler, node: nodes.Project) -> Compiled:
    child, layout = compiler.node(node.child)
    return piped(compiler, child, layout, None, node.output)


@compiles(nodes.Filter)
def _filter(compiler: PlanCompiler, node: nodes.Filter) -> Compiled:
    child, layout = compiler.node(node.child)
    return piped(compiler, child, layout, node.condition, node.output)


@compiles(nodes.Sort)
def _sort(compiler: PlanCompiler, node: nodes.Sort) -> Compiled:
    child, layout = compiler.node(node.child)
    top = None if node.limit is None else compiler.scalar(node.limit)[0]
    return Sort(child, compiler.order(node.keys), top), layout


@compiles(nodes.Limit)
def _limit(compiler: PlanCompiler, node: nodes.Limit) -> Compiled:
    child, layout = compiler.node(node.child)
    counts, preparation = compiler.scalar(node.limit, node.offset)
    ties = compiler.order(node.ties) if node.ties else None
    return Limit(child, counts, preparation, ties), layout


@compiles(nodes.Distinct)
def _distinct(compiler: PlanCompiler, node: nodes.Distinct) -> Compiled:
    child, layout = compiler.node(node.child)
    places = range(len(node.types)) if node.positions is None else node.positions
    keys = compiler.keys(places, node.types, nulls=True)
    if isinstance(node.child, nodes.Sort):  # DISTINCT ON with an ORDER BY that begins with it
        return SortedDistinct(child, keys), layout
    return HashDistinct(child, keys), layout


def _renamed(left: Layout, right: Layout, output: tuple[Expr, ...]) -> Layout:
    nullable = [a or b for a, b in zip(left.nullable, right.nullable, strict=True)]
    return Layout(output, tuple(nullable))


@compiles(nodes.Append)
def _append(compiler: PlanCompiler, node: nodes.Append) -> Compiled:
    left, left_layout = compiler.node(node.left)
    right, right_layout = compiler.node(node.right)
    return Append(left, right), _renamed(left_layout, right_layout, node.output)


@compiles(nodes.SetOperation)
def _set_operation(compiler: PlanCompiler, node: nodes.SetOperation) -> Compiled:
    left, left_layout = compiler.node(node.left)
    right, right_layout = compiler.node(node.right)
    keys = compiler.keys(range(len(node.types)), node.types, nulls=True)
    intersect = node.op is tree.SetOp.INTERSECT
    operator = SetOperation(left, right, keys=keys, intersect=intersect, all_=node.all)
    return operator, _renamed(left_layout, right_layout, node.output)


@compiles(nodes.RecursiveUnion)
def _recursive(compiler: PlanCompiler, node: nodes.RecursiveUnion) -> Compiled:
    left, left_layout = compiler.node(node.left)
    right, _ = compiler.node(node.right)
    keys = None
    if not node.all:
        keys = compiler.keys(range(len(node.types)), node.types, nulls=True)
    operator = RecursiveUnion(node.cte, left, right, keys)
    return operator, Layout(node.output, (True,) * len(left_layout.exprs))
