"""Array constructors, subscripts and field selection."""

from sqlnode import tree
from sqlnode.analyse import coerce, missing, namespace
from sqlnode.analyse.dispatch import expression, handles, present
from sqlnode.analyse.locations import node_location, position
from sqlnode.analyse.pathways import Context
from sqlnode.analyse.state import Node, State
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import oids
from sqlnode.types import registry as types
from sqlnode.types.registry import format_type


@handles("a_array_expr")
def _array(state: State, node: Node) -> tree.Expr:
    return array(state, node)


def array(state: State, node: Node, *, target: int = 0, typmod: int = -1) -> tree.Expr:
    """ARRAY[…], of `target`'s element type where a cast says which."""
    elements = []
    nested = False
    for item in node.elements:
        if item.WhichOneof("node") == "a_array_expr":
            element = array(state, item.a_array_expr, target=target, typmod=typmod)
            nested = True
        else:
            element = expression(state, item)
            nested = nested or bool(types.element_of(element.type))
        elements.append(element)
    if not elements and not target:
        raise SqlError(
            "42P18",
            "cannot determine type of empty array",
            hint="Explicitly cast to the desired type, for example ARRAY[]::integer[].",
            position=position(node.location),
        )
    if target:
        common = target if nested else types.element_of(target)
    else:
        common = coerce.select_common_type(elements, "ARRAY")
    element_type = types.element_of(common) if nested else common
    array_type = common if nested else types.array_of(common)
    if not array_type or not element_type:
        message = f"could not find array type for data type {format_type(common)}"
        raise SqlError("42704", message, position=position(node.location))
    coerced = tuple(
        _element(state, element, common, typmod if target else -1, explicit=bool(target))
        for element in elements
    )
    return tree.ArrayExpr(coerced, element_type, nested, array_type, location=node.location)


def _element(
    state: State, element: tree.Expr, common: int, typmod: int, *, explicit: bool
) -> tree.Expr:
    if not explicit:
        return coerce.to_common(state, element, common, "ARRAY")
    found = coerce.to_target(state, element, common, typmod, context=Context.EXPLICIT)
    if found is None:
        shown = f"{format_type(element.type)} to {format_type(common)}"
        raise SqlError("42846", f"cannot cast type {shown}")
    return found


@handles("a_indirection")
def indirection(state: State, node: Node) -> tree.Expr:
    """Subscripts and fields behind an expression."""
    steps = list(node.indirection)
    expr = expression(state, node.arg)
    location = node_location(node.arg)
    while steps:
        kind = steps[0].WhichOneof("node")
        if kind == "a_indices":
            run = []
            while steps and steps[0].WhichOneof("node") == "a_indices":
                run.append(steps.pop(0).a_indices)
            expr = _subscript(state, expr, run, location)
        elif kind == "string":
            expr = field(state, expr, steps.pop(0).string.sval, location)
        else:
            raise unsupported("expansion of a composite value", position=position(location))
    return expr


def _subscript(state: State, base: tree.Expr, steps: list[Node], location: int) -> tree.Expr:
    element = types.element_of(base.type)
    if base.type == oids.JSONB:
        raise unsupported("subscripting jsonb", position=position(location))
    if not element:
        message = (
            f"cannot subscript type {format_type(base.type)} "
            "because it does not support subscripting"
        )
        raise SqlError("42804", message, position=position(location))
    if any(step.is_slice for step in steps):
        slices = tuple(_bounds(state, step) for step in steps)
        return tree.Subscript(base, (), slices, base.type, base.typmod)
    indexes = tuple(_index(state, step.uidx) for step in steps)
    return tree.Subscript(base, indexes, (), element, base.typmod)


def _bounds(state: State, step: Node) -> tuple[tree.Expr | None, tree.Expr | None]:
    lower = _index(state, step.lidx) if present(step.lidx) else None
    upper = _index(state, step.uidx) if present(step.uidx) else None
    if not step.is_slice:  # a plain subscript among slices means 1:n
        lower = tree.Const(1, oids.INT4)
    return lower, upper


def _index(state: State, node: Node) -> tree.Expr:
    expr = expression(state, node)
    found = coerce.to_target(state, expr, oids.INT4)
    if found is None:
        message = "array subscript must have type integer"
        raise SqlError("42804", message, position=position(node_location(node)))
    return found


def field(state: State, expr: tree.Expr, name: str, location: int) -> tree.Expr:
    """A field of a row that a table or ROW(…) stands for."""
    if isinstance(expr, tree.Var) and expr.column == tree.WHOLE_ROW:
        level = state
        for _ in range(expr.levels_up):
            if level.parent is None:
                raise LookupError("a Var points past the outermost query")
            level = level.parent
        entry = level.entries[expr.entry]
        for at, column in enumerate(entry.columns):
            if column.name == name:
                found = tree.Var(expr.entry, at, column.type, column.typmod)
                return namespace.placed(found, expr.levels_up, expr.location)
        raise missing.column(state, entry.alias, name, location)
    if isinstance(expr, tree.RowExpr) and name in expr.names:
        return expr.fields[expr.names.index(name)]
    if expr.type == oids.RECORD:
        message = f'could not identify column "{name}" in record data type'
        raise SqlError("42703", message, position=position(location))
    shown = format_type(expr.type)
    raise SqlError(
        "42809",
        f"column notation .{name} applied to type {shown}, which is not a composite type",
        position=position(location),
    )
