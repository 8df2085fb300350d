"""What a join's columns are: USING and NATURAL merge pairs, an alias hides what is inside."""

from sqlnode import tree
from sqlnode.analyse import coerce, comparisons, operators
from sqlnode.analyse.namespace import NamespaceItem
from sqlnode.analyse.state import Node, State
from sqlnode.analyse.typenames import name_parts
from sqlnode.errors import SqlError


def using_columns(node: Node, left: NamespaceItem, right: NamespaceItem) -> list[str]:
    """The columns to join by, of USING or NATURAL."""
    if node.is_natural:
        return [name for name in dict.fromkeys(left.names) if name in right.names]
    names = name_parts(node.using_clause)
    for i, name in enumerate(names):
        if name in names[:i]:
            message = f'column name "{name}" appears more than once in USING clause'
            raise SqlError("42701", message)
    return names


def using_clause(
    state: State,
    using: list[str],
    kind: tree.JoinKind,
    left: NamespaceItem,
    right: NamespaceItem,
) -> tuple[tree.Expr, list[tree.Expr]]:
    """The join condition and the merged columns."""
    tests: list[tree.Expr] = []
    merged: list[tree.Expr] = []
    for name in using:
        one = _side(left, name, "left")
        other = _side(right, name, "right")
        call = operators.make(state, "=", one, other, -1)
        tests.append(coerce.to_boolean(state, call, "JOIN/USING"))
        merged.append(_merge(state, kind, one, other))
    return (tests[0] if len(tests) == 1 else comparisons.both(*tests)), merged


def _side(item: NamespaceItem, name: str, side: str) -> tree.Expr:
    count = item.names.count(name)
    if count == 1:
        return item.exprs[item.names.index(name)]
    if count:
        message = f'common column name "{name}" appears more than once in {side} table'
        raise SqlError("42702", message)
    message = f'column "{name}" specified in USING clause does not exist in {side} table'
    raise SqlError("42703", message)


def _merge(state: State, kind: tree.JoinKind, left: tree.Expr, right: tree.Expr) -> tree.Expr:
    """The column that both sides' columns are afterwards (SQL-92: COALESCE(left, right))."""
    common = coerce.select_common_type([left, right], "JOIN/USING")
    typmod = coerce.select_common_typmod([left, right], common)
    one = _as(state, left, common, typmod)
    other = _as(state, right, common, typmod)
    if kind is tree.JoinKind.FULL:
        return tree.Coalesce((one, other), common, typmod)
    if kind is tree.JoinKind.RIGHT:
        return other
    if kind is tree.JoinKind.LEFT or isinstance(one, tree.Var):
        return one
    return other if isinstance(other, tree.Var) else one


def _as(state: State, expr: tree.Expr, common: int, typmod: int) -> tree.Expr:
    if expr.type != common:
        return coerce.to_common(state, expr, common, "JOIN/USING")
    if expr.typmod != typmod:
        return tree.Relabel(expr, common, typmod)
    return expr


def joined_item(
    node: Node,
    using: list[str],
    merged: list[tree.Expr],
    left: NamespaceItem,
    right: NamespaceItem,
) -> NamespaceItem:
    """The join as one item: merged columns, the rest of the left, the rest of the right."""
    names, exprs = list(using), list(merged)
    for side in (left, right):
        for name, expr in zip(side.names, side.exprs, strict=True):
            if name not in using:
                names.append(name)
                exprs.append(expr)
    alias = "unnamed_join"
    if node.HasField("alias"):
        alias = node.alias.aliasname
        given = name_parts(node.alias.colnames)
        if len(given) > len(names):
            raise SqlError(
                "42P10",
                f'join expression "{alias}" has {len(names)} columns available '
                f"but {len(given)} columns specified",
            )
        names[: len(given)] = given
    return NamespaceItem(alias, names, exprs, aliased=True, table_visible=node.HasField("alias"))


def visible_names(
    node: Node,
    item: NamespaceItem,
    inside: list[NamespaceItem],
    using: list[str],
    merged: list[tree.Expr],
) -> list[NamespaceItem]:
    """What the join brings into the namespace: behind an alias only itself."""
    names: list[NamespaceItem] = []
    if not node.HasField("alias"):
        names = inside
        for hidden in names:
            hidden.columns_visible = False
    if node.HasField("join_using_alias"):
        alias = node.join_using_alias.aliasname
        names = [
            *names,
            NamespaceItem(alias, list(using), list(merged), aliased=True, columns_visible=False),
        ]
    return [*names, item]
