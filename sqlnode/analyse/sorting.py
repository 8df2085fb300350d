"""ORDER BY, GROUP BY and DISTINCT: list items found among the targets, or added as junk ones.

SQL-92 lets an item be an output column's name or number; SQL-99 any expression. A bare name means
an output column first in ORDER BY, an input column first in GROUP BY.
"""

from sqlnode import tree
from sqlnode.analyse import coerce, namespace
from sqlnode.analyse.dispatch import expression_in
from sqlnode.analyse.locations import expr_location, node_location, position
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.analyse.typenames import name_parts
from sqlnode.errors import SqlError, unsupported
from sqlnode.functions import registry as functions
from sqlnode.types import oids
from sqlnode.types.registry import format_type

_ASC, _DESC, _USING = 2, 3, 4
_NULLS_FIRST, _NULLS_LAST = 2, 3


def sort_direction(state: State, sort: Node, type_oid: int) -> tuple[bool, bool]:
    """(descending, nulls first) of a SortBy; 42883 where the type has no order."""
    where = position(node_location(sort.node))
    try:
        less = functions.less_operator(type_oid)
    except SqlError as error:
        raise SqlError(
            "42883",
            f"could not identify an ordering operator for type {format_type(type_oid)}",
            hint="Use an explicit ordering operator or modify the query.",
            position=where,
        ) from error
    descending = sort.sortby_dir == _DESC
    if sort.sortby_dir == _USING:
        name = name_parts(sort.use_op)[-1]
        if name not in (less.name, functions.operator(less.commutator).name):
            raise SqlError(
                "42809",
                f"operator {name} is not a valid ordering operator",
                hint='Ordering operators must be "<" or ">" members of btree operator families.',
                position=position(sort.location),
            )
        descending = name != less.name
    if sort.sortby_nulls in (_NULLS_FIRST, _NULLS_LAST):
        return descending, sort.sortby_nulls == _NULLS_FIRST
    return descending, descending


def order_by(state: State, nodes: Node, targets: list[tree.Target]) -> tuple[tree.SortKey, ...]:
    """ORDER BY's keys; may add junk targets."""
    keys: list[tree.SortKey] = []
    for node in nodes:
        sort = node.sort_by
        index = find_target(state, sort.node, targets, ExprKind.ORDER_BY)
        _known_type(state, targets, index)
        descending, nulls_first = sort_direction(state, sort, targets[index].expr.type)
        if all(key.target != index for key in keys):
            keys.append(tree.SortKey(index, descending, nulls_first))
    return tuple(keys)


def group_by(state: State, nodes: Node, targets: list[tree.Target]) -> tuple[int, ...]:
    """GROUP BY's targets; may add junk ones."""
    found: list[int] = []
    for node in nodes:
        if node.WhichOneof("node") == "grouping_set":
            raise unsupported("GROUPING SETS", position=position(node.grouping_set.location))
        items = [node]
        if node.WhichOneof("node") == "row_expr" and node.row_expr.row_format == 3:
            items = list(node.row_expr.args)
        for item in items:
            index = find_target(state, item, targets, ExprKind.GROUP_BY)
            _known_type(state, targets, index)
            check_equality(targets[index].expr, position(node_location(item)))
            if index not in found:
                found.append(index)
    return tuple(found)


def distinct_all(targets: list[tree.Target], keys: tuple[tree.SortKey, ...]) -> tuple[int, ...]:
    """SELECT DISTINCT: (), after checking that ORDER BY uses output columns only."""
    for key in keys:
        if targets[key.target].junk:
            message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list"
            raise SqlError(
                "42P10", message, position=position(expr_location(targets[key.target].expr))
            )
    for target in targets:
        if not target.junk:
            check_equality(target.expr, position(expr_location(target.expr)))
    return ()


def distinct_on(
    state: State, nodes: Node, targets: list[tree.Target], keys: tuple[tree.SortKey, ...]
) -> tuple[int, ...]:
    """DISTINCT ON's targets; they have to be ORDER BY's first ones."""
    found: dict[int, int] = {}
    for node in nodes:
        index = find_target(state, node, targets, ExprKind.DISTINCT_ON)
        _known_type(state, targets, index)
        check_equality(targets[index].expr, position(node_location(node)))
        found.setdefault(index, node_location(node))
    outside = False
    matched = 0
    for key in keys:
        if key.target in found:
            matched += 1
            if outside:
                raise _distinct_on_order(found[key.target])
        else:
            outside = True
    if keys and outside and matched < len(found):
        first = next(i for i in found if all(key.target != i for key in keys))
        raise _distinct_on_order(found[first])
    return tuple(found)


def _distinct_on_order(location: int) -> SqlError:
    message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions"
    return SqlError("42P10", message, position=position(location))


def check_equality(expr: tree.Expr, where: int | None) -> None:
    """42883 where values of the type can't be told apart."""
    if expr.type == oids.RECORD:
        return
    try:
        functions.equality_operator(expr.type)
    except SqlError as error:
        shown = format_type(expr.type)
        message = f"could not identify an equality operator for type {shown}"
        raise SqlError("42883", message, position=where) from error


def _known_type(state: State, targets: list[tree.Target], index: int) -> None:
    target = targets[index]
    if target.expr.type == oids.UNKNOWN:
        expr = coerce.literal_to_text(state, target.expr)
        targets[index] = tree.Target(expr, target.name, target.junk, target.origin)


def find_target(state: State, node: Node, targets: list[tree.Target], kind: ExprKind) -> int:
    """Index of the target an item means, appending a junk one where there is none yet."""
    at = node_location(node)
    which = node.WhichOneof("node")
    if which == "column_ref" and len(node.column_ref.fields) == 1:
        name = node.column_ref.fields[0].string.sval
        grouped = kind == ExprKind.GROUP_BY and name
        if name and not (grouped and namespace.find_column(state, name, at) is not None):
            index = _by_name(name, targets, kind, at)
            if index is not None:
                return index
    if which == "a_const":
        return _by_number(node.a_const, targets, kind)
    expr = expression_in(state, node, kind)
    for index, target in enumerate(targets):
        if target.expr == expr:
            return index
    targets.append(tree.Target(expr, "", junk=True))
    return len(targets) - 1


def _by_name(name: str, targets: list[tree.Target], kind: ExprKind, at: int) -> int | None:
    found: int | None = None
    for index, target in enumerate(targets):
        if target.junk or target.name != name:
            continue
        if found is None:
            found = index
        elif targets[found].expr != target.expr:
            message = f'{kind.value} "{name}" is ambiguous'
            raise SqlError("42702", message, position=position(at))
    return found


def _by_number(node: Node, targets: list[tree.Target], kind: ExprKind) -> int:
    where = position(node.location)
    if node.WhichOneof("val") != "ival":
        raise SqlError("42601", f"non-integer constant in {kind.value}", position=where)
    number: int = node.ival.ival
    visible = [index for index, target in enumerate(targets) if not target.junk]
    if not 0 < number <= len(visible):
        message = f"{kind.value} position {number} is not in select list"
        raise SqlError("42P10", message, position=where)
    return visible[number - 1]
