"""INSERT, UPDATE, DELETE and locking clauses to operators."""

from typing import Any

from sqlnode import tree
from sqlnode.compile.nodes_scan import key_values, table_layout
from sqlnode.compile.plans import Compiled, PlanCompiler, compiles
from sqlnode.compile.rowset import Layout
from sqlnode.execute.codecs import codecs
from sqlnode.execute.insert import Insert, Upsert
from sqlnode.execute.locking import FoundRows, PointRow, Source
from sqlnode.execute.lockrows import LockedTable, LockRows
from sqlnode.execute.modify import Delete, Update
from sqlnode.execute.stages import Pipeline
from sqlnode.plan import nodes
from sqlnode.plan.expressions import RowKey

_NO_ROWS = Layout((), ())


def _returning(compiler: PlanCompiler, layout: Layout, node: Any) -> tuple[Pipeline | None, Layout]:
    if node.returning is None:
        return None, _NO_ROWS
    return compiler.rowset.pipeline(layout, None, node.returning)


@compiles(nodes.Insert)
def _insert(compiler: PlanCompiler, node: nodes.Insert) -> Compiled:
    child, _ = compiler.drained(node.child)
    known = codecs(node.table)
    whole = tuple(range(len(node.table.live)))
    layout = table_layout(node.table, node.entry, whole, key=False)
    returning, result = _returning(compiler, layout, node)
    arbiters = None
    upsert = None
    if node.conflict is not None:
        conflict = node.conflict
        arbiters = [(index, known.keys(index)) for index in conflict.arbiters]
        if conflict.row is not None:
            both = layout + table_layout(node.table, conflict.excluded, whole, key=False)
            condition, _ = compiler.rowset.pipeline(both, conflict.where, both.exprs)
            new, _ = compiler.rowset.pipeline(both, None, conflict.row)
            upsert = Upsert(condition, new, conflict.assigned)
    operator = Insert(
        child,
        known.writer,
        arbiters=arbiters,
        upsert=upsert,
        returning=returning,
        counts=compiler.plan.root is node,
    )
    return operator, result


def _places(layout: Layout, node: nodes.Update | nodes.Delete) -> tuple[int, list[int]]:
    """(place of the row's key, places of the table's columns) in rows of `layout`."""
    by_column = {
        expr.column: at
        for at, expr in enumerate(layout.exprs)
        if isinstance(expr, tree.Var) and expr.entry == node.entry
    }
    columns = [by_column[position] for position in range(len(node.table.live))]
    return layout.exprs.index(RowKey(node.entry)), columns


def _strength(node: nodes.Update | nodes.Delete) -> str:
    if isinstance(node, nodes.Delete):
        return "update"
    place = {column.number: at for at, column in enumerate(node.table.live)}
    unique = {
        place[column.number]
        for index in node.table.indexes
        if index.unique or index.primary
        for column in index.columns
    }
    return "update" if unique & node.assigned else "no_key_update"


def _source(
    compiler: PlanCompiler, node: nodes.Update | nodes.Delete
) -> tuple[Source, Layout, int, list[int]]:
    known = codecs(node.table)
    scan = node.child
    strength = _strength(node)
    if is_point(scan) and isinstance(scan, nodes.TableScan) and scan.range is not None:
        whole = tuple(range(len(node.table.live)))
        layout = table_layout(node.table, node.entry, whole, key=True)
        condition, _ = compiler.rowset.pipeline(layout, scan.filter, layout.exprs)
        keys = known.keys(scan.range.index)
        values = key_values(compiler, scan.range)
        point = PointRow(values, keys, known.layout.decode, condition, strength)
        return point, layout, 0, list(range(1, len(whole) + 1))
    child, layout = compiler.node(scan)
    key, columns = _places(layout, node)
    recheck, _ = compiler.rowset.pipeline(layout, node.recheck, layout.exprs)
    found = FoundRows(
        child,
        key=key,
        columns=columns,
        decode=known.layout.decode,
        recheck=recheck,
        strength=strength,
    )
    return found, layout, key, columns


def is_point(node: nodes.Node) -> bool:
    """Whether a plan reads one row by its whole primary key."""
    return (
        isinstance(node, nodes.TableScan)
        and node.range is not None
        and node.range.index.primary
        and node.range.is_point
        and node.range.any_of is None
        and not node.table.virtual
    )


@compiles(nodes.Update)
def _update(compiler: PlanCompiler, node: nodes.Update) -> Compiled:
    source, layout, key, columns = _source(compiler, node)
    new, _ = compiler.rowset.pipeline(layout, None, node.row)
    changed = Layout(layout.exprs, (True,) * len(layout.exprs))
    returning, result = _returning(compiler, changed, node)
    operator = Update(
        source,
        codecs(node.table).writer,
        key=key,
        columns=columns,
        new=new,
        assigned=node.assigned,
        returning=returning,
        counts=compiler.plan.root is node,
    )
    return operator, result


@compiles(nodes.Delete)
def _delete(compiler: PlanCompiler, node: nodes.Delete) -> Compiled:
    source, layout, key, columns = _source(compiler, node)
    returning, result = _returning(compiler, layout, node)
    operator = Delete(
        source,
        codecs(node.table).writer,
        key=key,
        columns=columns,
        returning=returning,
        counts=compiler.plan.root is node,
    )
    return operator, result


@compiles(nodes.LockRows)
def _lock_rows(compiler: PlanCompiler, node: nodes.LockRows) -> Compiled:
    child, layout = compiler.node(node.child)
    tables = []
    for target in node.targets:
        places = [
            (at, expr.column)
            for at, expr in enumerate(layout.exprs)
            if isinstance(expr, tree.Var) and expr.entry == target.entry
        ]
        decoder = codecs(target.table).decoder(tuple(column for _, column in places))
        key = layout.exprs.index(RowKey(target.entry))
        tables.append(
            LockedTable(
                target.table.name,
                key,
                [at for at, _ in places],
                decoder.decode,
                target.strength,
                target.wait,
            )
        )
    recheck, _ = compiler.rowset.pipeline(layout, node.recheck, layout.exprs)
    output, result = compiler.rowset.pipeline(layout, None, node.output)
    limit = None if node.limit is None else compiler.scalar(node.limit)[0]
    return LockRows(child, tables, recheck=recheck, output=output, limit=limit), result
