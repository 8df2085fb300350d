"""Expressions that only plans have: what sub-selects, outer rows and row keys become.

The analysed tree speaks of columns by range table entry and of sub-selects by their query. In a
plan a value from an outer row arrives through a numbered *slot* of the running statement, and a
sub-select is a `SubPlan` whose result is computed before the expression that reads it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlnode import tree

if TYPE_CHECKING:
    from sqlnode.plan.nodes import Node


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that an outer node writes before an inner plan runs (PARAM_EXEC)."""

    number: int
    type: int
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class RowKey:
    """The storage key of the current row of a range table entry (as ctid in PostgreSQL)."""

    entry: int
    type: int = 27
    typmod: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class SubPlan:
    """A planned sub-select.

    `inputs` are (slot, expression in the outer row's terms) pairs written before every run; with
    none the plan runs once per statement and its result lives in slot `result`. `test` is the ANY
    or ALL comparison; with `hashed` it is an equality of `hashed` with the only column, which a
    set answers. `number` is for EXPLAIN.
    """

    kind: tree.SubLinkKind
    plan: Node
    inputs: tuple[tuple[int, Any], ...]
    result: int
    type: int
    number: int
    test: Any = None
    hashed: Any = None
    typmod: int = -1


Expr = Any
"""A tree.Expr whose leaves may also be Slot, RowKey and SubPlan."""

EXTRA = (Slot, RowKey, SubPlan)
