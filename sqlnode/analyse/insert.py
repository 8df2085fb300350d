"""INSERT: a source of rows, one column per target column, and the defaults of the others."""

from collections.abc import Sequence
from dataclasses import replace

from sqlnode import tree
from sqlnode.analyse import conflict, identity, modify, namespace, targets, values, with_clause
from sqlnode.analyse.assignment import assign, column_position, default_of
from sqlnode.analyse.dispatch import expression_in, handles_query, present, query_of
from sqlnode.analyse.locations import expr_location, position
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.analyse.walk import raise_levels
from sqlnode.catalog.descriptors import Column, Table
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import oids


@handles_query("insert_stmt")
def insert(state: State, node: Node) -> tree.Query:
    """INSERT with VALUES, SELECT or DEFAULT VALUES."""
    ctes = with_clause.analyse(state, node)
    table, item = modify.target(state, node.relation)
    columns, given = _columns(table, node)
    source: tree.Query | None = None
    defaults: set[int] = set()
    if present(node.select_stmt):
        select = node.select_stmt.select_stmt
        if select.values_lists and _is_bare_values(select):
            source, width, defaults = _values(state, table, columns, node, select)
        else:
            source, width = _select(state, table, columns, node, select)
        columns = columns[:width]
    elif given:
        raise SqlError("42601", "INSERT has more target columns than expressions")
    else:
        columns = ()
    ignored = identity.overridden(table, columns, node, defaults)
    left_out = tuple(
        (index, default_of(state, column))
        for index, column in enumerate(table.live)
        if index not in columns or index in ignored
    )
    state.namespace = [item]
    on_conflict = conflict.on_conflict(state, node, table, item)
    state.namespace = [item]
    returning = modify.returning(state, node)
    return tree.Query(
        tree.Command.INSERT,
        rtable=tuple(state.entries),
        ctes=ctes,
        result=item.entry,
        source=source,
        insert_columns=columns,
        defaults=left_out,
        on_conflict=on_conflict,
        returning=returning,
    )


def _columns(table: Table, node: Node) -> tuple[tuple[int, ...], bool]:
    """(positions of the target columns, whether they were named)."""
    if not node.cols:
        return tuple(range(len(table.live))), False
    found: list[int] = []
    for col in node.cols:
        named = col.res_target
        if named.indirection:
            raise unsupported("INSERT into part of a column", position=named.location)
        at = column_position(table, named.name, named.location)
        if at in found:
            message = f'column "{named.name}" specified more than once'
            raise SqlError("42701", message, position=position(named.location))
        found.append(at)
    return tuple(found), True


def _is_bare_values(select: Node) -> bool:
    """VALUES without clauses of its own, whose literals take the columns' types directly."""
    return not (
        select.sort_clause
        or present(select.limit_count)
        or present(select.limit_offset)
        or select.locking_clause
        or select.HasField("with_clause")
    )


def _check_width(columns: Sequence[int], row: Sequence[tree.Expr], node: Node) -> None:
    if len(row) > len(columns):
        message = "INSERT has more expressions than target columns"
        at = expr_location(row[len(columns)])
        raise SqlError("42601", message, position=position(at))
    if node.cols and len(row) < len(columns):
        message = "INSERT has more target columns than expressions"
        at = node.cols[len(row)].res_target.location
        hint = None
        if (
            len(row) == 1
            and isinstance(row[0], tree.RowExpr)
            and len(row[0].fields) == len(columns)
        ):
            hint = (
                "The insertion source is a row expression containing the same number of columns "
                "expected by the INSERT. Did you accidentally use extra parentheses?"
            )
        raise SqlError("42601", message, hint=hint, position=position(at))


def _values(
    state: State, table: Table, columns: Sequence[int], node: Node, select: Node
) -> tuple[tree.Query, int, set[int]]:
    """(the source, its width, the positions of columns that are DEFAULT in all its rows)."""
    inner = state.child()
    rows = [_row(inner, table, columns, item.list.items) for item in select.values_lists]
    values.check_lengths(select.values_lists, rows)
    _check_width(columns, rows[0], node)
    live = table.live
    used = columns[: len(rows[0])]
    defaults = {
        at
        for place, at in enumerate(used)
        if all(_is_default(item.list.items, place) for item in select.values_lists)
    }
    coerced = tuple(
        tuple(assign(inner, live[at], expr) for at, expr in zip(used, row, strict=True))
        for row in rows
    )
    if len(coerced) == 1:
        found = tuple(
            tree.Target(expr, live[at].name) for at, expr in zip(used, coerced[0], strict=True)
        )
        query = tree.Query(tree.Command.SELECT, rtable=tuple(inner.entries), targets=found)
        return query, len(used), defaults
    outputs = tuple(
        tree.OutputColumn(f"column{i}", live[at].type, live[at].typmod)
        for i, at in enumerate(used, start=1)
    )
    entry = tree.RangeEntry("*VALUES*", tree.ValuesSource(coerced), outputs)
    exprs = namespace.item_of(entry, inner.add_entry(entry)).exprs
    found = tuple(tree.Target(expr, live[at].name) for at, expr in zip(used, exprs, strict=True))
    query = tree.Query(
        tree.Command.SELECT,
        rtable=tuple(inner.entries),
        from_items=(tree.Leaf(len(inner.entries) - 1),),
        targets=found,
    )
    return query, len(used), defaults


def _is_default(items: Sequence[Node], place: int) -> bool:
    return place < len(items) and items[place].WhichOneof("node") == "set_to_default"


def _row(
    state: State, table: Table, columns: Sequence[int], items: Sequence[Node]
) -> list[tree.Expr]:
    row: list[tree.Expr] = []
    for item in items:
        if item.WhichOneof("node") == "set_to_default" and len(row) < len(columns):
            row.append(default_of(state, table.live[columns[len(row)]]))
            continue
        star = targets.expand_star(state, item)
        if star is not None:
            row.extend(target.expr for target in star)
        else:
            row.append(expression_in(state, item, ExprKind.VALUES))
    return row


def _select(
    state: State, table: Table, columns: Sequence[int], node: Node, select: Node
) -> tuple[tree.Query, int]:
    inner = state.child()
    inner.resolve_unknowns = False
    query = query_of(inner, "select_stmt", select)
    visible = [target for target in query.targets if not target.junk]
    _check_width(columns, [target.expr for target in visible], node)
    wanted = [table.live[at] for at in columns[: len(visible)]]
    return _fitted(state, query, visible, wanted), len(visible)


def _fitted(
    state: State, query: tree.Query, visible: list[tree.Target], wanted: list[Column]
) -> tree.Query:
    """The query giving what the columns store; through a sub-select where a cast could matter."""
    hidden = tuple(target for target in query.targets if target.junk)
    simple = not (
        query.group_by or query.order_by or query.set_operation or query.distinct_on is not None
    )
    new = []
    for target, column in zip(visible, wanted, strict=True):
        if simple or target.expr.type == oids.UNKNOWN:
            new.append(replace(target, expr=assign(state, column, target.expr)))
        else:
            new.append(target)
    query = replace(query, targets=(*new, *hidden))
    if all(
        t.expr.type == c.type
        and t.expr.typmod in (c.typmod, -1)
        and (c.typmod < 0 or t.expr.typmod == c.typmod)
        for t, c in zip(new, wanted, strict=True)
    ):
        return query
    outputs = targets.output_columns(query)
    entry = tree.RangeEntry("*SELECT*", tree.SubquerySource(raise_levels(query, 1)), outputs)
    cast = tuple(
        tree.Target(
            assign(
                state,
                column,
                tree.Var(
                    0, i, target.expr.type, target.expr.typmod, location=expr_location(target.expr)
                ),
            ),
            target.name,
        )
        for i, (target, column) in enumerate(zip(new, wanted, strict=True))
    )
    return tree.Query(
        tree.Command.SELECT, rtable=(entry,), from_items=(tree.Leaf(0),), targets=cast
    )
