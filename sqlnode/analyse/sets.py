"""Set-returning functions in a select list: one becomes a function in FROM.

    SELECT t.a, unnest(t.b) FROM t   ⟶   SELECT t.a, f FROM t, LATERAL unnest(t.b) AS f

which has the same rows in the same order. Several in one list run in lockstep in PostgreSQL; they
are refused, as are those that would run after grouping.
"""

from collections.abc import Sequence

from sqlnode import tree
from sqlnode.analyse.locations import expr_location
from sqlnode.analyse.state import ExprKind, State
from sqlnode.analyse.walk import contains, references
from sqlnode.errors import SqlError, unsupported
from sqlnode.functions.base import Function
from sqlnode.types import oids

_NO_SETS = {
    ExprKind.WHERE: "WHERE",
    ExprKind.HAVING: "HAVING",
    ExprKind.JOIN_ON: "JOIN conditions",
    ExprKind.LIMIT: "LIMIT",
    ExprKind.OFFSET: "OFFSET",
    ExprKind.UPDATE_SOURCE: "UPDATE",
    ExprKind.RETURNING: "RETURNING",
    ExprKind.VALUES: "VALUES",
    ExprKind.FILTER: "FILTER",
    ExprKind.COLUMN_DEFAULT: "DEFAULT expressions",
}


def check_place(state: State, function: Function, location: int) -> None:
    """Raise SqlError 0A000 where no set may be returned to."""
    if state.kind in (ExprKind.FROM_FUNCTION, ExprKind.SELECT_TARGET):
        return
    place = _NO_SETS.get(state.kind)
    if place is None:
        raise unsupported(f"set-returning function {function.name} outside FROM", position=location)
    message = f"set-returning functions are not allowed in {place}"
    raise SqlError("0A000", message, position=location)


def moved_to_from(state: State, call: tree.Call) -> tree.Expr:
    """The call itself in FROM; in a select list, the column of a new entry that stands for it."""
    if state.kind == ExprKind.FROM_FUNCTION:
        return call
    if state.set_returning >= 0:
        message = "more than one set-returning function in a select list"
        raise unsupported(message, position=call.location)
    if call.type == oids.RECORD:
        message = "a function returning several columns in a select list"
        raise unsupported(message, position=call.location)
    if contains(call, lambda node: isinstance(node, tree.AggregateCall)):
        message = "a set-returning function of an aggregate"
        raise unsupported(message, position=call.location)
    lateral = any(level == 0 for _, level in references(call))
    name = call.function.name
    columns = (tree.OutputColumn(name, call.type, call.typmod),)
    entry = tree.RangeEntry(name, tree.FunctionSource(call, lateral), columns)
    state.set_returning = state.add_entry(entry)
    return tree.Var(state.set_returning, 0, call.type, call.typmod, location=call.location)


def refuse_inside(state: State, exprs: Sequence[tree.Expr], construct: str) -> None:
    """Raise SqlError 0A000 where a set-returning function stands in a conditional."""
    call = standing_in(state, exprs)
    if call is not None:
        raise refused(call, f"set-returning functions are not allowed in {construct}")


def standing_in(state: State, exprs: Sequence[tree.Expr]) -> tree.Expr | None:
    """The select list's set-returning call, if it stands in one of `exprs`."""
    if state.set_returning < 0:
        return None
    entry = state.entries[state.set_returning]
    var = tree.Var(state.set_returning, 0, entry.columns[0].type)
    inside = any(contains(expr, lambda node: node == var) for expr in exprs)
    return entry.source.call if inside and isinstance(entry.source, tree.FunctionSource) else None


def refused(call: tree.Expr, message: str) -> SqlError:
    """0A000 with PostgreSQL's advice."""
    hint = "You might be able to move the set-returning function into a LATERAL FROM item."
    return SqlError("0A000", message, hint=hint, position=expr_location(call))


def added_items(
    state: State, items: tuple[tree.FromItem, ...], *, grouped: bool
) -> tuple[tree.FromItem, ...]:
    """FROM's items with the select list's set-returning function, if there is one."""
    if state.set_returning < 0:
        return items
    if grouped:
        raise unsupported("a set-returning function in a grouped select list")
    return (*items, tree.Leaf(state.set_returning))
