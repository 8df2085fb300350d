"""Constants, parameters, column references, casts and SQL's value keywords."""

from sqlnode import tree
from sqlnode.analyse import arrays, coerce, missing, namespace, typenames
from sqlnode.analyse.dispatch import expression, handles
from sqlnode.analyse.locations import position
from sqlnode.analyse.pathways import Context
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import oids
from sqlnode.types import registry as types
from sqlnode.types.registry import format_type

_INT4_MAX = (1 << 31) - 1
_INT8_MAX = (1 << 63) - 1


@handles("a_const")
def constant(state: State, node: Node) -> tree.Const:
    """A literal: integers by size, other numbers numeric, strings unknown until coerced."""
    location = node.location
    if node.isnull:
        return tree.Const(None, oids.UNKNOWN, location=location)
    match node.WhichOneof("val"):
        case "ival":
            return tree.Const(node.ival.ival, oids.INT4, location=location)
        case "sval":
            return tree.Const(node.sval.sval, oids.UNKNOWN, location=location)
        case "boolval":
            return tree.Const(node.boolval.boolval, oids.BOOL, location=location)
        case "fval":
            return _number(state, node.fval.fval, location)
        case _:
            raise unsupported("a bit string literal", position=location)


def _number(state: State, digits: str, location: int) -> tree.Const:
    if digits.lstrip("-").isdigit() and -_INT8_MAX - 1 <= int(digits) <= _INT8_MAX:
        number = int(digits)  # the grammar folds a minus sign in: -2147483648 is an int4
        fits = -_INT4_MAX - 1 <= number <= _INT4_MAX
        return tree.Const(number, oids.INT4 if fits else oids.INT8, location=location)
    value = types.by_oid(oids.NUMERIC).text_in(digits, -1, state.statement.context)
    return tree.Const(value, oids.NUMERIC, location=location)


@handles("param_ref")
def parameter(state: State, node: Node) -> tree.Param:
    """`$n`."""
    return state.statement.params.reference(node.number, node.location)


@handles("column_ref")
def column(state: State, node: Node) -> tree.Expr:
    """`col`, `table.col`, `schema.table.col`, or a table's whole row."""
    fields = node.fields
    location = node.location
    if state.kind == ExprKind.COLUMN_DEFAULT:
        message = "cannot use column reference in DEFAULT expression"
        raise SqlError("0A000", message, position=location)
    if fields[-1].WhichOneof("node") == "a_star":
        message = 'row expansion via "*" is not supported here'
        raise SqlError("0A000", message, position=location)
    names = typenames.name_parts(fields)
    if len(names) == 1:
        return _unqualified(state, names[0], location)
    if len(names) > 3:
        if len(names) > 4:
            shown = ".".join(names)
            message = f"improper qualified name (too many dotted names): {shown}"
            raise SqlError("42601", message, position=location)
        raise unsupported("cross-database references", position=location)
    schema = names[0] if len(names) == 3 else None
    return _qualified(state, schema, names[-2], names[-1], location)


def _unqualified(state: State, name: str, location: int) -> tree.Expr:
    found = namespace.find_column(state, name, location)
    if found is not None:
        return found
    item = namespace.find_item(state, None, name, location)
    if item is None:
        raise missing.column(state, None, name, location)
    return namespace.whole_row(*item, location)


def _qualified(state: State, schema: str | None, table: str, name: str, location: int) -> tree.Expr:
    item, levels = namespace.require_item(state, schema, table, location)
    found = namespace.column_of(item, name, location)
    if found is None:
        raise missing.column(state, table, name, location)
    return namespace.placed(found, levels, location)


@handles("type_cast")
def cast(state: State, node: Node) -> tree.Expr:
    """CAST and `::`. ARRAY[…]::type[] gives its element type to the elements."""
    target, typmod = typenames.resolve(node.type_name)
    expr = _cast_argument(state, node.arg, target, typmod)
    location = node.location if node.location >= 0 else node.type_name.location
    coerced = coerce.to_target(state, expr, target, typmod, context=Context.EXPLICIT)
    if coerced is None:
        raise SqlError(
            "42846",
            f"cannot cast type {format_type(expr.type)} to {format_type(target)}",
            position=position(location),
        )
    return coerced


def _cast_argument(state: State, arg: Node, target: int, typmod: int) -> tree.Expr:
    if arg.WhichOneof("node") == "a_array_expr" and types.element_of(target):
        return arrays.array(state, arg.a_array_expr, target=target, typmod=typmod)
    return expression(state, arg)


@handles("collate_clause")
def collate(state: State, node: Node) -> tree.Expr:
    """COLLATE: every collation known here is the one order there is, so it changes nothing."""
    expr = expression(state, node.arg)
    names = typenames.name_parts(node.collname)
    if names[-1] not in ("default", "C", "POSIX", "C.UTF-8", "ucs_basic") or (
        len(names) > 1 and names[-2] != "pg_catalog"
    ):
        message = f'collation "{".".join(names)}" for encoding "UTF8" does not exist'
        raise SqlError("42704", message, position=position(node.location))
    expr = coerce.literal_to_text(state, expr)
    if not types.by_oid(expr.type).collatable:
        message = f"collations are not supported by type {format_type(expr.type)}"
        raise SqlError("42804", message, position=position(node.location))
    return expr


_SQL_VALUES = {
    1: ("current_date", oids.DATE),
    2: ("current_time", oids.TIMETZ),
    3: ("current_time", oids.TIMETZ),
    4: ("current_timestamp", oids.TIMESTAMPTZ),
    5: ("current_timestamp", oids.TIMESTAMPTZ),
    6: ("localtime", oids.TIME),
    7: ("localtime", oids.TIME),
    8: ("localtimestamp", oids.TIMESTAMP),
    9: ("localtimestamp", oids.TIMESTAMP),
    10: ("current_role", oids.NAME),
    11: ("current_user", oids.NAME),
    12: ("user", oids.NAME),
    13: ("session_user", oids.NAME),
    14: ("current_catalog", oids.NAME),
    15: ("current_schema", oids.NAME),
}


@handles("sqlvalue_function")
def sql_value(state: State, node: Node) -> tree.SqlValue:
    """CURRENT_TIMESTAMP(n), CURRENT_USER, …"""
    kind, type_oid = _SQL_VALUES[node.op]
    has_precision = node.op in (3, 5, 7, 9)
    return tree.SqlValue(kind, type_oid, node.typmod if has_precision else -1, node.location)


@handles("set_to_default")
def default(state: State, node: Node) -> tree.Expr:
    """DEFAULT outside the lists of INSERT and UPDATE."""
    message = "DEFAULT is not allowed in this context"
    raise SqlError("42601", message, position=node.location)
