"""Set-returning functions in a select list: one becomes a function in FROM.

    SELECT t.a, unnest(t.b) FROM t   ⟶   SELECT t.a, f FROM t, LATERAL unnest(t.b) AS f

which has the same rows in the same order. Several in one list run in lockstep, and those of a
grouped query run after grouping: both stay in the list, and the plan has a step for them.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlnode import tree
from sqlnode.analyse.locations import expr_location
from sqlnode.analyse.state import ExprKind, State
from sqlnode.analyse.walk import contains, raise_levels, rebuild, references
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
    if call.type == oids.RECORD:
        message = "a function returning several columns in a select list"
        raise unsupported(message, position=call.location)
    lateral = any(level == 0 for _, level in references(call))
    name = call.function.name
    columns = (tree.OutputColumn(name, call.type, call.typmod),)
    entry = tree.RangeEntry(name, tree.FunctionSource(call, lateral, listed=True), columns)
    number = state.add_entry(entry)
    state.set_returning.append(number)
    return tree.Var(number, 0, call.type, call.typmod, location=call.location)


def refuse_inside(state: State, exprs: Sequence[tree.Expr], construct: str) -> None:
    """Raise SqlError 0A000 where a set-returning function stands in a conditional."""
    call = standing_in(state, exprs)
    if call is not None:
        raise refused(call, f"set-returning functions are not allowed in {construct}")


def standing_in(state: State, exprs: Sequence[tree.Expr]) -> tree.Expr | None:
    """The first of the select list's set-returning calls that stands in one of `exprs`."""
    for number in state.set_returning:
        stands = partial(_stands_for, number)
        source = state.entries[number].source
        inside = any(contains(expr, stands) for expr in exprs)
        if inside and isinstance(source, tree.FunctionSource):
            return source.call
    return None


def _stands_for(entry: int, node: Any) -> bool:
    return isinstance(node, tree.Var) and node.entry == entry and node.levels_up == 0


def refused(call: tree.Expr, message: str) -> SqlError:
    """0A000 with PostgreSQL's advice."""
    hint = "You might be able to move the set-returning function into a LATERAL FROM item."
    return SqlError("0A000", message, hint=hint, position=expr_location(call))


def placed(query: tree.Query, calls: Sequence[int]) -> tree.Query:
    """The query with the set-returning calls of its select list where they run.

    `calls` are the entries made for them.
    """
    if not calls:
        return query
    grouped = bool(query.group_by) or query.having is not None or query.has_aggregates
    if len(calls) == 1 and not grouped:
        return replace(query, from_items=(*query.from_items, tree.Leaf(calls[0])))
    rtable = list(query.rtable)
    known: dict[int, tree.Expr] = {}

    def change(node: Any, depth: int) -> Any:
        if isinstance(node, tree.Var) and node.entry in known and node.levels_up == depth:
            return raise_levels(known[node.entry], depth)
        return None

    for number in calls:  # an argument can only be a call before it
        source = rtable[number].source
        if isinstance(source, tree.FunctionSource):
            known[number] = rebuild(source.call, change)
            nothing = tree.Const(None, source.call.type)
            rtable[number] = replace(rtable[number], source=tree.FunctionSource(nothing, False))
    targets = tuple(replace(t, expr=rebuild(t.expr, change)) for t in query.targets)
    return replace(query, rtable=tuple(rtable), targets=targets)
