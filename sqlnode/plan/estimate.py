"""How many rows: constants for now, which only have to order the alternatives sensibly."""

from collections.abc import Sequence

from sqlnode import tree
from sqlnode.plan.expressions import Expr
from sqlnode.plan.nodes import KeyRange

TABLE_ROWS = 10_000.0
INDEX_EQUAL_ROWS = 10.0
RANGE_SHARE = 1 / 3
FILTER_SHARE = 1 / 3
EQUAL_SHARE = 1 / 200
FUNCTION_ROWS = 100.0
LIST_KEYS = 10.0
SUBQUERY_ROWS = 1_000.0
NESTED_FETCH_ROWS_MAX = 2_000.0
"""Outer rows up to which fetching the inner rows by key beats hashing the whole inner table."""


def scan_rows(path: KeyRange | None, rest: Sequence[Expr]) -> float:
    """Rows a table scan gives after its filter."""
    if path is None:
        rows = TABLE_ROWS
    elif path.is_point:
        return LIST_KEYS if path.any_of is not None else 1.0
    elif path.equals or path.any_of is not None:
        rows = INDEX_EQUAL_ROWS * (LIST_KEYS if path.any_of is not None else 1.0)
    else:
        rows = TABLE_ROWS * RANGE_SHARE
    return max(1.0, rows * selectivity(rest))


def selectivity(predicates: Sequence[Expr]) -> float:
    """The share of rows for which all the predicates are true."""
    share = 1.0
    for predicate in predicates:
        equal = isinstance(predicate, tree.Call) and predicate.operator == "="
        share *= EQUAL_SHARE if equal else FILTER_SHARE
    return share


def join_rows(left: float, right: float, *, equal: bool, other: int) -> float:
    """Rows an inner join gives."""
    rows = max(left, right) if equal else left * right
    return max(1.0, rows * FILTER_SHARE**other)
