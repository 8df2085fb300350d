"""FROM: range table entries and the join tree, and what each part of it may refer to.

While an item is analysed, the items before it are in the namespace "lateral only": visible to
functions and LATERAL sub-selects, refused where the join's kind forbids it.
"""

from collections.abc import Sequence

from sqlnode import tree
from sqlnode.analyse import coerce, joins, namespace, relations
from sqlnode.analyse.dispatch import expression_in, present, query
from sqlnode.analyse.namespace import NamespaceItem
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.errors import SqlError, unsupported

_INNER, _LEFT, _FULL, _RIGHT = 1, 2, 3, 4
_KINDS = {
    _INNER: tree.JoinKind.INNER,
    _LEFT: tree.JoinKind.LEFT,
    _FULL: tree.JoinKind.FULL,
    _RIGHT: tree.JoinKind.RIGHT,
}
Found = tuple[tree.FromItem, NamespaceItem, list[NamespaceItem]]
"""(join tree, the item as a whole, all names it brings)."""


def from_clause(state: State, nodes: Sequence[Node]) -> tuple[tree.FromItem, ...]:
    """Analyse FROM's items and leave the state's namespace filled."""
    items = []
    for node in nodes:
        item, _, names = _from_item(state, node)
        _set_lateral(names, lateral_only=True, lateral_ok=True)
        state.namespace = namespace.add(state.namespace, names)
        items.append(item)
    _set_lateral(state.namespace, lateral_only=False, lateral_ok=True)
    return tuple(items)


def _set_lateral(names: list[NamespaceItem], *, lateral_only: bool, lateral_ok: bool) -> None:
    for item in names:
        item.lateral_only = lateral_only
        item.lateral_ok = lateral_ok


def _from_item(state: State, node: Node) -> Found:
    state.enter()
    kind = node.WhichOneof("node")
    match kind:
        case "range_var":
            found = _leaf(relations.table(state, node.range_var))
        case "range_subselect":
            found = _leaf(_subselect(state, node.range_subselect))
        case "range_function":
            found = _leaf(relations.function(state, node.range_function))
        case "join_expr":
            found = _join(state, node.join_expr)
        case "range_table_sample":
            raise unsupported("TABLESAMPLE", position=node.range_table_sample.location)
        case _:
            raise unsupported(f"{getattr(node, kind).DESCRIPTOR.name} in FROM")
    state.leave()
    return found


def _leaf(item: NamespaceItem) -> Found:
    return tree.Leaf(item.entry), item, [item]


def _subselect(state: State, node: Node) -> NamespaceItem:
    if not node.HasField("alias"):
        raise _unnamed(node)
    inner = state.child()
    previous_kind, previous_lateral = state.kind, state.lateral_active
    state.kind, state.lateral_active = ExprKind.FROM_SUBSELECT, node.lateral
    found = query(inner, node.subquery)
    state.kind, state.lateral_active = previous_kind, previous_lateral
    return relations.subquery(state, node, found)


def _unnamed(node: Node) -> SqlError:
    """The grammar is a later version's, which lets the alias out."""
    select = node.subquery.select_stmt
    found, example = ("VALUES", "VALUES") if select.values_lists else ("subquery", "SELECT")
    return SqlError(
        "42601",
        f"{found} in FROM must have an alias",
        hint=f"For example, FROM ({example} ...) [AS] foo.",
    )


def _join(state: State, node: Node) -> Found:
    kind = _KINDS[node.jointype]
    left, left_item, left_names = _from_item(state, node.larg)
    outside = state.namespace
    _set_lateral(left_names, lateral_only=True, lateral_ok=node.jointype in (_INNER, _LEFT))
    state.namespace = outside + left_names
    right, right_item, right_names = _from_item(state, node.rarg)
    state.namespace = outside
    names = namespace.add(left_names, right_names)
    _set_lateral(names, lateral_only=False, lateral_ok=True)
    using = joins.using_columns(node, left_item, right_item)
    on: tree.Expr | None = None
    merged: list[tree.Expr] = []
    if using:
        on, merged = joins.using_clause(state, using, kind, left_item, right_item)
    elif present(node.quals):
        state.namespace = names
        found = expression_in(state, node.quals, ExprKind.JOIN_ON)
        on = coerce.to_boolean(state, found, "JOIN/ON")
        state.namespace = outside
    item = joins.joined_item(node, using, merged, left_item, right_item)
    names = joins.visible_names(node, item, names, using, merged)
    return tree.Join(kind, left, right, on), item, names
