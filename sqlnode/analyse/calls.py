"""Function calls: the chosen overload with its arguments coerced, completed and gathered."""

from sqlnode import tree
from sqlnode.analyse import aggregates, arrays, coerce, polymorphic, resolution, sets
from sqlnode.analyse.dispatch import expression, handles, present
from sqlnode.analyse.locations import expr_location, position
from sqlnode.analyse.pathways import Context
from sqlnode.analyse.resolution import Match
from sqlnode.analyse.state import Node, State
from sqlnode.analyse.typenames import name_parts
from sqlnode.errors import SqlError, unsupported
from sqlnode.functions.base import Function
from sqlnode.parse import parse
from sqlnode.types import oids
from sqlnode.types import registry as types
from sqlnode.types.registry import format_type

ARGUMENTS_MAX = 100
_CAST_HINT = "You might need to add explicit type casts."


@handles("func_call")
def function_call(state: State, node: Node) -> tree.Expr:
    """f(…), aggregates included."""
    names = name_parts(node.funcname)
    argument_names: list[str] = []
    args: list[tree.Expr] = []
    for arg in node.args:
        if arg.WhichOneof("node") == "named_arg_expr":
            argument_names.append(_new_name(arg.named_arg_expr, argument_names))
            args.append(expression(state, arg.named_arg_expr.arg))
        elif argument_names:
            message = "positional argument cannot follow named argument"
            raise SqlError("42601", message, position=position(expr_location(args[-1])))
        else:
            args.append(expression(state, arg))
    if len(args) > ARGUMENTS_MAX:
        message = f"cannot pass more than {ARGUMENTS_MAX} arguments to a function"
        raise SqlError("54023", message, position=node.location)
    if node.HasField("over"):
        raise unsupported("a window function (OVER)", position=node.location)
    if node.agg_within_group:
        raise unsupported("WITHIN GROUP", position=node.location)
    match = resolution.find(
        names, [arg.type for arg in args], argument_names, variadic=node.func_variadic
    )
    if match.cast_to:
        _plain_only(node, names)
        found = coerce.to_target(state, args[0], match.cast_to, context=Context.EXPLICIT)
        if found is not None:
            return found
    if match.function is None:
        return _field_or_missing(state, node, names, args, argument_names, match)
    return _call(state, node, match.function, match, args)


def _new_name(node: Node, seen: list[str]) -> str:
    name = str(node.name)
    if name in seen:
        message = f'argument name "{name}" used more than once'
        raise SqlError("42601", message, position=node.location)
    return name


def _call(
    state: State, node: Node, function: Function, match: Match, args: list[tree.Expr]
) -> tree.Expr:
    if function.kind == "p":
        raise SqlError(
            "42809",
            f"{_signature(name_parts(node.funcname), args, [])} is a procedure",
            hint="To call a procedure, use CALL.",
            position=node.location,
        )
    if function.kind == "w":
        message = f"window function {function.name} requires an OVER clause"
        raise SqlError("42809", message, position=node.location)
    declared, result = _resolve(node, function, match, args)
    coerced = _gathered(coerce.arguments(state, args, declared), match)
    if function.kind == "a":
        return aggregates.call(state, node, function, coerced, result)
    _plain_only(node, name_parts(node.funcname))
    if function.returns_set:
        sets.check_place(state, function, node.location)
    complete = _completed(state, function, coerced, match)
    found = tree.Call(function, complete, result, location=node.location)
    return sets.moved_to_from(state, found) if function.returns_set else found


def _resolve(
    node: Node, function: Function, match: Match, args: list[tree.Expr]
) -> tuple[tuple[int, ...], int]:
    try:
        return polymorphic.resolve(
            actual=[arg.type for arg in args], declared=match.declared, result=function.return_type
        )
    except SqlError as error:
        if error.position is None:
            error.position = position(node.location)
        raise


def _gathered(args: tuple[tree.Expr, ...], match: Match) -> tuple[tree.Expr, ...]:
    """A VARIADIC tail as one array ("any" stays spread: it takes whatever comes)."""
    if not match.spread or match.declared[-1] == oids.ANY:
        return args
    tail = args[-match.spread :]
    element = tail[0].type
    array = tree.ArrayExpr(tail, element, False, types.array_of(element))
    return (*args[: -match.spread], array)


def _completed(
    state: State, function: Function, args: tuple[tree.Expr, ...], match: Match
) -> tuple[tree.Expr, ...]:
    """Arguments in declared order, with the defaults of those left out."""
    total = len(function.argument_types)
    if len(args) >= total and match.order == tuple(range(len(match.order))):
        return args
    complete: list[tree.Expr] = []
    given = dict(zip(match.order, args, strict=True))
    first_default = total - function.defaults
    for i, type_oid in enumerate(function.argument_types):
        if i in given:
            complete.append(given[i])
            continue
        text = function.default_expressions[i - first_default]
        raw = parse(f"SELECT {text}")[0]
        value = expression(state, raw.node.target_list[0].res_target.val)
        found = coerce.to_target(state, value, type_oid)
        if found is None:
            raise SqlError("42804", f"default {text} does not fit its argument")
        complete.append(found)
    return tuple(complete)


def _plain_only(node: Node, names: list[str]) -> None:
    """Refuse what only aggregates take."""
    shown = ".".join(names)
    if node.agg_star:
        what = f"{shown}(*) specified, but {shown} is not an aggregate function"
    elif node.agg_distinct:
        what = f"DISTINCT specified, but {shown} is not an aggregate function"
    elif node.agg_order:
        what = f"ORDER BY specified, but {shown} is not an aggregate function"
    elif present(node.agg_filter):
        what = f"FILTER specified, but {shown} is not an aggregate function"
    else:
        return
    raise SqlError("42809", what, position=node.location)


def _signature(names: list[str], args: list[tree.Expr], argument_names: list[str]) -> str:
    first_named = len(args) - len(argument_names)
    shown = [
        (f"{argument_names[i - first_named]} => " if i >= first_named else "")
        + format_type(arg.type)
        for i, arg in enumerate(args)
    ]
    return f"{'.'.join(names)}({', '.join(shown)})"


def _field_or_missing(
    state: State,
    node: Node,
    names: list[str],
    args: list[tree.Expr],
    argument_names: list[str],
    match: Match,
) -> tree.Expr:
    """col(row) is row.col; else 42883, or 42725 where several functions fit."""
    signature = _signature(names, args, argument_names)
    where = position(node.location)
    if match.ambiguous:
        hint = f"Could not choose a best candidate function. {_CAST_HINT}"
        raise SqlError("42725", f"function {signature} is not unique", hint=hint, position=where)
    if len(args) == 1 and len(names) == 1 and args[0].type == oids.RECORD and not node.agg_star:
        try:
            return arrays.field(state, args[0], names[0], node.location)
        except SqlError as error:
            if error.sqlstate != "42703":
                raise
    hint = f"No function matches the given name and argument types. {_CAST_HINT}"
    if node.agg_order and len(node.agg_order) > 0:
        hint = (
            "No aggregate function matches the given name and argument types. Perhaps you "
            "misplaced ORDER BY; ORDER BY must appear after all regular arguments of the aggregate."
        )
    if len(names) > 1 and names[-2] not in state.statement.catalog.schemas:
        message = f'schema "{names[-2]}" does not exist'
        raise SqlError("3F000", message, position=where)
    raise SqlError("42883", f"function {signature} does not exist", hint=hint, position=where)
