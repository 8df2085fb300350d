"""Coercion of expressions: literals are read, parameters decided, casts made explicit nodes."""

from collections.abc import Sequence

from sqlnode import tree
from sqlnode.analyse import pathways, polymorphic
from sqlnode.analyse.locations import expr_location, position
from sqlnode.analyse.pathways import Context
from sqlnode.analyse.state import State
from sqlnode.errors import SqlError
from sqlnode.functions import registry as functions
from sqlnode.types import oids
from sqlnode.types import registry as types
from sqlnode.types.registry import format_type

_KEEP_AS_IS = frozenset(
    {oids.ANY, oids.ANYELEMENT, oids.ANYNONARRAY, oids.ANYCOMPATIBLE, oids.ANYCOMPATIBLENONARRAY}
)
_SESSION_TYPES = frozenset(
    {oids.DATE, oids.TIME, oids.TIMETZ, oids.TIMESTAMP, oids.TIMESTAMPTZ, oids.INTERVAL}
    | {oids.BYTEA}
)
"""Types whose input depends on settings or the time."""
_CATALOG_TYPES = frozenset(
    {oids.REGCLASS, oids.REGTYPE, oids.REGPROC, oids.REGPROCEDURE, oids.REGOPER}
    | {oids.REGOPERATOR, oids.REGNAMESPACE, oids.REGROLE, oids.REGCOLLATION}
)
"""Types whose input depends on the catalog and the search path, unless it is a number."""


def can_coerce(actual: Sequence[int], target: Sequence[int], context: Context) -> bool:
    """Whether every actual type coerces to its target, polymorphic targets consistently."""
    generic = False
    for given, wanted in zip(actual, target, strict=True):
        if given == wanted:
            generic = generic or wanted in pathways.POLYMORPHIC
            continue
        if not pathways.can_coerce_one(given, wanted, context):
            return False
        generic = generic or wanted in pathways.POLYMORPHIC
    return not generic or polymorphic.is_consistent(actual, target)


def to_target(
    state: State,
    expr: tree.Expr,
    target: int,
    typmod: int = -1,
    *,
    context: Context = Context.ASSIGNMENT,
) -> tree.Expr | None:
    """`expr` as `target` with its typmod; None if there is no such cast in this context."""
    if expr.type != target and not can_coerce((expr.type,), (target,), context):
        return None
    coerced = to_type(state, expr, target, context=context, typmod=typmod)
    return apply_typmod(coerced, target, typmod, explicit=context == Context.EXPLICIT)


def to_type(
    state: State, expr: tree.Expr, target: int, *, context: Context, typmod: int = -1
) -> tree.Expr:
    """`expr` as `target`, known to be coercible, without its typmod."""
    source = expr.type
    if source == target or target in _KEEP_AS_IS:
        return expr
    if source != oids.UNKNOWN and target in pathways.POLYMORPHIC:
        return expr
    if source == oids.UNKNOWN:
        if isinstance(expr, tree.Const):
            return _read_literal(state, expr, target, typmod)
        if isinstance(expr, tree.Param):
            return state.statement.params.decide(expr, target)
    pathway = pathways.find_pathway(target, source, context)
    if pathway is not None:
        return _convert(state, expr, target, pathway, context)
    if source == oids.UNKNOWN:
        return tree.CoerceViaIO(expr, target, form=_form(context))
    if oids.RECORD in (target, source):
        return tree.Relabel(expr, target, form=_form(context))
    raise SqlError(
        "XX000",
        f"failed to find conversion function from {format_type(source)} to {format_type(target)}",
    )


def _form(context: Context) -> tree.CallForm:
    explicit = context == Context.EXPLICIT
    return tree.CallForm.EXPLICIT_CAST if explicit else tree.CallForm.IMPLICIT_CAST


def _read_literal(state: State, literal: tree.Const, target: int, typmod: int) -> tree.Const:
    """A string literal read by its type's input function, errors pointing at the literal."""
    if literal.value is None:
        return tree.Const(None, target, location=literal.location)
    found = types.by_oid(target)
    base = pathways.base_type(target)
    if base in _SESSION_TYPES or types.element_of(base) in _SESSION_TYPES:
        state.statement.session_dependent = True
    elif _CATALOG_TYPES & {base, types.element_of(base)} and not _is_number(literal.value):
        state.statement.catalog_dependent = True
    input_typmod = typmod if base == oids.INTERVAL else -1
    try:
        value = found.text_in(literal.value, input_typmod, state.statement.context)
    except SqlError as error:
        if error.position is None and literal.location >= 0:
            error.position = literal.location
        raise
    return tree.Const(value, target, location=literal.location)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _convert(
    state: State, expr: tree.Expr, target: int, pathway: tuple[str, int], context: Context
) -> tree.Expr:
    kind, oid = pathway
    form = _form(context)
    if kind == "relabel":
        if isinstance(expr, tree.Const) and not (isinstance(expr.value, int) and expr.value < 0):
            return tree.Const(expr.value, target, location=expr.location)
        return tree.Relabel(expr, target, form=form)
    if kind == "function":
        function = functions.function(oid)
        extra: list[tree.Expr] = []
        if len(function.argument_types) > 1:
            extra.append(tree.Const(-1, oids.INT4))
        if len(function.argument_types) > 2:
            extra.append(tree.Const(context == Context.EXPLICIT, oids.BOOL))
        argument = to_type(state, expr, function.argument_types[0], context=Context.IMPLICIT)
        return tree.Call(function, (argument, *extra), target, form=form)
    if kind == "io":
        return tree.CoerceViaIO(expr, target, form=form)
    element = types.element_of(pathways.base_type(expr.type))
    subject = tree.CaseValue(element)
    target_element = types.element_of(pathways.base_type(target))
    step = to_type(state, subject, target_element, context=context)
    return tree.CoerceArray(expr, step, target, form=form)


def apply_typmod(expr: tree.Expr, target: int, typmod: int, *, explicit: bool) -> tree.Expr:
    """`expr` of type `target` brought to its typmod, unless it has it already."""
    if typmod < 0 or expr.typmod == typmod:
        return expr
    base = pathways.base_type(target)
    element = types.element_of(base)
    length_type = types.by_oid(element or base)
    if length_type.apply_typmod is None:
        return tree.Relabel(expr, target, typmod)
    if element:
        step = tree.ApplyTypmod(tree.CaseValue(element), explicit, element, typmod)
        return tree.CoerceArray(expr, step, target, typmod)
    return tree.ApplyTypmod(expr, explicit, target, typmod)


def to_boolean(state: State, expr: tree.Expr, construct: str) -> tree.Expr:
    """`expr` as boolean; 42804 `argument of WHERE must be type boolean, …`."""
    if expr.type == oids.BOOL:
        return expr
    return to_specific(state, expr, oids.BOOL, construct)


def to_specific(state: State, expr: tree.Expr, target: int, construct: str) -> tree.Expr:
    """`expr` as the one type a construct takes, by assignment rules."""
    coerced = to_target(state, expr, target)
    if coerced is None:
        raise SqlError(
            "42804",
            f"argument of {construct} must be type {format_type(target)}, "
            f"not type {format_type(expr.type)}",
            position=position(expr_location(expr)),
        )
    return coerced


def select_common_type(exprs: Sequence[tree.Expr], construct: str) -> int:
    """The one type for the branches of CASE, UNION and the like; text if all are unknown.

    Raises SqlError 42804 `CASE types integer and text cannot be matched`.
    """
    chosen = exprs[0].type
    if chosen != oids.UNKNOWN and all(expr.type == chosen for expr in exprs):
        return chosen
    chosen = pathways.base_type(chosen)
    for expr in exprs[1:]:
        other = pathways.base_type(expr.type)
        if other in (oids.UNKNOWN, chosen):
            continue
        if chosen == oids.UNKNOWN:
            chosen = other
        elif pathways.category(other) != pathways.category(chosen):
            raise SqlError(
                "42804",
                f"{construct} types {format_type(chosen)} and {format_type(other)} "
                "cannot be matched",
                position=position(expr_location(expr)),
            )
        elif (
            not pathways.is_preferred(chosen)
            and pathways.can_coerce_one(chosen, other, Context.IMPLICIT)
            and not pathways.can_coerce_one(other, chosen, Context.IMPLICIT)
        ):
            chosen = other
    return oids.TEXT if chosen == oids.UNKNOWN else chosen


def select_common_typmod(exprs: Sequence[tree.Expr], type_oid: int) -> int:
    """The typmod all branches share, -1 if they differ."""
    typmod = exprs[0].typmod
    same = all(expr.type == type_oid and expr.typmod == typmod for expr in exprs)
    return typmod if same else -1


def to_common(state: State, expr: tree.Expr, target: int, construct: str) -> tree.Expr:
    """`expr` as the common type of its construct."""
    if expr.type == target:
        return expr
    if can_coerce((expr.type,), (target,), Context.IMPLICIT):
        return to_type(state, expr, target, context=Context.IMPLICIT)
    raise SqlError(
        "42846",
        f"{construct} could not convert type {format_type(expr.type)} to {format_type(target)}",
        position=position(expr_location(expr)),
    )


def arguments(
    state: State, args: Sequence[tree.Expr], declared: Sequence[int]
) -> tuple[tree.Expr, ...]:
    """Arguments coerced to a chosen overload's types."""
    return tuple(
        arg if arg.type == wanted else to_type(state, arg, wanted, context=Context.IMPLICIT)
        for arg, wanted in zip(args, declared, strict=True)
    )


def literal_to_text(state: State, expr: tree.Expr) -> tree.Expr:
    """An expression of unknown type as text, any other unchanged."""
    if expr.type != oids.UNKNOWN:
        return expr
    return to_type(state, expr, oids.TEXT, context=Context.IMPLICIT)
