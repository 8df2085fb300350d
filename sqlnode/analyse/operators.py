"""Operators: which one a symbol means between two types, and the call it becomes."""

from dataclasses import dataclass
from functools import lru_cache

from sqlnode import tree
from sqlnode.analyse import coerce, overloads, polymorphic
from sqlnode.analyse.locations import position
from sqlnode.analyse.state import State
from sqlnode.errors import SqlError
from sqlnode.functions import registry as functions
from sqlnode.functions.base import Operator
from sqlnode.types import oids
from sqlnode.types import registry as types
from sqlnode.types.registry import format_type


@dataclass(frozen=True, slots=True)
class _Choice:
    operator: Operator | None
    ambiguous: bool = False


@lru_cache(maxsize=4096)
def _choose(name: str, left: int, right: int) -> _Choice:
    """The operator for these operand types (`left` 0: prefix). Operators are never added."""
    candidates: list[overloads.Candidate[Operator]]
    actual: tuple[int, ...]
    exact: tuple[int, ...]
    every = functions.operators(name)
    if left == 0:
        candidates = [((op.right,), op) for op in every if op.left == 0]
        actual = exact = (right,)
    else:
        candidates = [((op.left, op.right), op) for op in every if op.left and op.right]
        actual = (left, right)
        exact = (right if left == oids.UNKNOWN else left, left if right == oids.UNKNOWN else right)
    for arguments, operator in candidates:
        if arguments == exact:
            return _Choice(operator)
    fitting = overloads.acceptable(actual, candidates)
    if len(fitting) <= 1:
        return _Choice(fitting[0][1] if fitting else None)
    best = overloads.select(actual, fitting)
    return _Choice(best[1] if best else None, ambiguous=best is None)


def lookup(name: str, left: int, right: int, location: int, *, shown: str = "") -> Operator:
    """The operator `name` for operand types; 42883 if there is none, 42725 if several fit."""
    choice = _choose(name, left, right)
    if choice.operator is not None:
        return choice.operator
    operands = f"{format_type(left)} " if left else ""
    signature = f"{operands}{shown or name} {format_type(right)}"
    if choice.ambiguous:
        raise SqlError(
            "42725",
            f"operator is not unique: {signature}",
            hint="Could not choose a best candidate operator. "
            "You might need to add explicit type casts.",
            position=position(location),
        )
    one = "types. You might need to add explicit type casts."
    if not left:
        one = "type. You might need to add an explicit type cast."
    raise SqlError(
        "42883",
        f"operator does not exist: {signature}",
        hint=f"No operator matches the given name and argument {one}",
        position=position(location),
    )


def qualified(state: State, names: list[str], location: int) -> str:
    """The bare operator name of OPERATOR(schema.op); 42883 outside pg_catalog."""
    if len(names) == 1 or names[-2] == "pg_catalog":
        return names[-1]
    if names[-2] in ("public", "information_schema", *state.statement.search_path):
        raise SqlError(
            "42883", f"operator does not exist: {'.'.join(names)}", position=position(location)
        )
    raise SqlError("3F000", f'schema "{names[-2]}" does not exist', position=position(location))


def make(
    state: State, name: str, left: tree.Expr | None, right: tree.Expr, location: int
) -> tree.Call:
    """`left name right` (or a prefix operator) as a call of the chosen operator's function."""
    operator = lookup(name, left.type if left is not None else 0, right.type, location)
    function = functions.function(operator.function)
    args = (right,) if left is None else (left, right)
    declared = (operator.right,) if left is None else (operator.left, operator.right)
    wanted, result = polymorphic.resolve(
        actual=[arg.type for arg in args], declared=declared, result=operator.result
    )
    return tree.Call(
        function,
        coerce.arguments(state, args, wanted),
        result,
        form=tree.CallForm.OPERATOR,
        operator=name,
        location=location,
    )


def make_array(
    state: State, name: str, left: tree.Expr, array: tree.Expr, *, use_any: bool, location: int
) -> tree.ScalarArrayOp:
    """`left name ANY (array)`; raises SqlError 42809 where the right side is no array."""
    where = position(location)
    if array.type == oids.UNKNOWN:
        element = oids.UNKNOWN
    else:
        element = types.element_of(array.type)
        if not element:
            message = "op ANY/ALL (array) requires array on right side"
            raise SqlError("42809", message, position=where)
    operator = lookup(name, left.type, element, location)
    if operator.result != oids.BOOL:
        message = "op ANY/ALL (array) requires operator to yield boolean"
        raise SqlError("42809", message, position=where)
    wanted, _ = polymorphic.resolve(
        actual=(left.type, element),
        declared=(operator.left, operator.right),
        result=operator.result,
    )
    array_type = types.array_of(wanted[1])
    if not array_type:
        shown = format_type(wanted[1])
        raise SqlError("42704", f"could not find array type for data type {shown}", position=where)
    left, array = coerce.arguments(state, (left, array), (wanted[0], array_type))
    function = functions.function(operator.function)
    return tree.ScalarArrayOp(function, name, use_any, left, array)
