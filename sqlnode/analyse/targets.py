"""Target lists: output columns with their names, `*` expanded."""

from sqlnode import tree
from sqlnode.analyse import coerce, colnames, namespace
from sqlnode.analyse.dispatch import expression
from sqlnode.analyse.locations import position
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.analyse.typenames import name_parts
from sqlnode.errors import SqlError, unsupported

TARGETS_MAX = 1664


def target_list(state: State, nodes: Node, kind: ExprKind) -> list[tree.Target]:
    """The targets of ResTargets, unknown literals not yet resolved."""
    previous = state.kind
    state.kind = kind
    found: list[tree.Target] = []
    for node in nodes:
        target = node.res_target
        if target.indirection:
            raise unsupported("indirection in a select list", position=target.location)
        star = expand_star(state, target.val)
        if star is not None:
            found.extend(star)
            continue
        expr = expression(state, target.val)
        name = target.name or colnames.figure(target.val)
        found.append(tree.Target(expr, name, origin=origin_of(state, expr)))
    state.kind = previous
    if len(found) > TARGETS_MAX:
        raise SqlError("54011", f"target lists can have at most {TARGETS_MAX} entries")
    return found


def expand_list(state: State, nodes: Node, *, keep_unknown: bool = False) -> list[tree.Target]:
    """Like `target_list` for plain expressions, as in ROW(…) and VALUES."""
    found: list[tree.Target] = []
    for node in nodes:
        star = expand_star(state, node)
        if star is not None:
            found.extend(star)
            continue
        expr = expression(state, node)
        found.append(tree.Target(expr if keep_unknown else coerce.literal_to_text(state, expr), ""))
    return found


def expand_star(state: State, node: Node) -> list[tree.Target] | None:
    """The columns of `*` or `t.*`; None if the node is something else."""
    kind = node.WhichOneof("node")
    if kind == "a_indirection":
        last = node.a_indirection.indirection[-1]
        if last.WhichOneof("node") == "a_star":
            return _expand_row(state, node.a_indirection)
    if kind != "column_ref" or node.column_ref.fields[-1].WhichOneof("node") != "a_star":
        return None
    location = node.column_ref.location
    names = name_parts(node.column_ref.fields[:-1])
    if not names:
        return _everything(state, location)
    schema = names[-2] if len(names) > 1 else None
    if len(names) > 2:
        raise unsupported("cross-database references", position=location)
    item, levels = namespace.require_item(state, schema, names[-1], location)
    return _columns(state, item, levels, location)


def _everything(state: State, location: int) -> list[tree.Target]:
    found: list[tree.Target] = []
    seen = False
    for item in state.namespace:
        seen = seen or item.columns_visible
        if item.columns_visible and not item.lateral_only:
            found.extend(_columns(state, item, 0, location))
    if not seen:
        message = "SELECT * with no tables specified is not valid"
        raise SqlError("42601", message, position=position(location))
    return found


def _columns(
    state: State, item: namespace.NamespaceItem, levels: int, location: int
) -> list[tree.Target]:
    found = []
    for name, column in zip(item.names, item.exprs, strict=True):
        expr = namespace.placed(column, levels, location)
        found.append(tree.Target(expr, name, origin=origin_of(state, expr)))
    return found


def _expand_row(state: State, node: Node) -> list[tree.Target]:
    """(row).*, where the row is a table's or ROW(…)."""
    if len(node.indirection) > 1:
        raise unsupported("expansion of a nested composite value")
    expr = expression(state, node.arg)
    if isinstance(expr, tree.Var) and expr.column == tree.WHOLE_ROW and not expr.levels_up:
        item = namespace.item_of(state.entries[expr.entry], expr.entry)
        return _columns(state, item, 0, expr.location)
    if isinstance(expr, tree.RowExpr):
        pairs = zip(expr.names, expr.fields, strict=True)
        return [tree.Target(field, name) for name, field in pairs]
    raise unsupported("expansion of a composite value")


def origin_of(state: State, expr: tree.Expr) -> tuple[int, int]:
    """(table OID, attnum) where the expression is a plain column of a table, else (0, 0)."""
    if not isinstance(expr, tree.Var) or expr.column < 0:
        return (0, 0)
    level = state
    for _ in range(expr.levels_up):
        if level.parent is None:
            return (0, 0)
        level = level.parent
    source = level.entries[expr.entry].source
    if isinstance(source, tree.RelationSource):
        return (source.table.oid, source.table.live[expr.column].number)
    if isinstance(source, tree.SubquerySource):
        visible = [target for target in source.query.targets if not target.junk]
        return visible[expr.column].origin
    return (0, 0)


def resolve_unknowns(state: State, targets: list[tree.Target]) -> None:
    """Output columns that are still untyped literals become text."""
    for index, target in enumerate(targets):
        expr = coerce.literal_to_text(state, target.expr)
        if expr is not target.expr:
            targets[index] = tree.Target(expr, target.name, target.junk, target.origin)


def output_columns(query: tree.Query) -> tuple[tree.OutputColumn, ...]:
    """What a query gives as a source of rows."""
    given = query.targets if query.command is tree.Command.SELECT else query.returning
    return tuple(
        tree.OutputColumn(target.name, target.expr.type, target.expr.typmod)
        for target in given
        if not target.junk
    )
