"""Sub-selects in expressions: EXISTS, scalar, ARRAY, ANY, ALL and IN."""

from sqlnode import tree
from sqlnode.analyse import comparisons, operators
from sqlnode.analyse.dispatch import expression, handles, present, query
from sqlnode.analyse.locations import position
from sqlnode.analyse.state import Node, State
from sqlnode.analyse.typenames import name_parts
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import oids
from sqlnode.types import registry as types
from sqlnode.types.registry import format_type

_EXISTS, _ALL, _ANY, _ROW_COMPARE, _SCALAR, _MULTI, _ARRAY = range(1, 8)


@handles("sub_link")
def sub_link(state: State, node: Node) -> tree.Expr:
    """A sub-select, by the way it stands in the expression."""
    kind = node.sub_link_type
    inner = state.child()
    inner.resolve_unknowns = kind not in (_ANY, _ALL)
    left = expression(state, node.testexpr) if present(node.testexpr) else None
    found = query(inner, node.subselect)
    if kind == _EXISTS:
        return tree.SubLink(tree.SubLinkKind.EXISTS, found, oids.BOOL, location=node.location)
    visible = [target for target in found.targets if not target.junk]
    if kind in (_SCALAR, _ARRAY):
        return _single_column(kind, found, visible, node.location)
    if kind not in (_ANY, _ALL) or left is None:
        raise unsupported("this kind of sub-select", position=position(node.location))
    names = name_parts(node.oper_name)
    name = operators.qualified(state, names, node.location) if names else "="
    fields = left.fields if isinstance(left, tree.RowExpr) else (left,)
    _check_width(len(fields), len(visible), node.location)
    columns = tuple(
        tree.SubLinkColumn(i, target.expr.type, target.expr.typmod)
        for i, target in enumerate(visible)
    )
    test = comparisons.compare_rows(state, name, fields, columns, node.location)
    wanted = tree.SubLinkKind.ANY if kind == _ANY else tree.SubLinkKind.ALL
    return tree.SubLink(wanted, found, oids.BOOL, test=test, location=node.location)


def _check_width(wanted: int, given: int, location: int) -> None:
    if given > wanted:
        message = "subquery has too many columns"
    elif given < wanted:
        message = "subquery has too few columns"
    else:
        return
    raise SqlError("42601", message, position=position(location))


def _single_column(
    kind: int, found: tree.Query, visible: list[tree.Target], location: int
) -> tree.SubLink:
    if len(visible) != 1:
        message = "subquery must return only one column"
        raise SqlError("42601", message, position=position(location))
    expr = visible[0].expr
    if kind == _SCALAR:
        return tree.SubLink(
            tree.SubLinkKind.SCALAR, found, expr.type, expr.typmod, location=location
        )
    array = expr.type if types.element_of(expr.type) else types.array_of(expr.type)
    if not array:
        message = f"could not find array type for data type {format_type(expr.type)}"
        raise SqlError("42704", message, position=position(location))
    return tree.SubLink(tree.SubLinkKind.ARRAY, found, array, expr.typmod, location=location)
