"""What analysis of one query level knows: its range table, its namespace, its place.

Levels form a chain, innermost first: a name that this level's namespace does not know is looked up
one level out, and a Var says how many levels it went. What belongs to the whole statement (catalog,
parameters, session) hangs on one shared `Statement`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from sqlnode import tree
from sqlnode.analyse.params import ParamTypes
from sqlnode.functions.base import FunctionContext
from sqlnode.parse import too_deep

if TYPE_CHECKING:
    from sqlnode.analyse.namespace import NamespaceItem
    from sqlnode.catalog.catalog import Catalog

NESTING_MAX = 120
"""How deep expressions and sub-selects may nest: each level costs up to seven Python frames here,
and as many again in every later pass."""

Node = Any
"""A message of libpg_query."""


class ExprKind(Enum):
    """Where an expression stands. The value is how PostgreSQL's errors call the place."""

    NONE = "expressions"
    FROM_SUBSELECT = "FROM clause of their own query level"
    FROM_FUNCTION = "functions in FROM"
    JOIN_ON = "JOIN conditions"
    WHERE = "WHERE"
    HAVING = "HAVING"
    FILTER = "FILTER"
    SELECT_TARGET = "SELECT"
    INSERT_TARGET = "INSERT"
    UPDATE_SOURCE = "UPDATE"
    GROUP_BY = "GROUP BY"
    ORDER_BY = "ORDER BY"
    DISTINCT_ON = "DISTINCT ON"
    LIMIT = "LIMIT"
    OFFSET = "OFFSET"
    RETURNING = "RETURNING"
    VALUES = "VALUES"
    COLUMN_DEFAULT = "DEFAULT expressions"


@dataclass(slots=True)
class Statement:
    """What all levels of one statement share."""

    catalog: "Catalog"
    search_path: Sequence[str]
    params: ParamTypes
    context: FunctionContext
    depth: int = 0
    session_dependent: bool = False
    """Whether what analysis found depends on settings or the time."""
    catalog_dependent: bool = False
    """Whether it depends on the catalog and the search path beyond the relations it reads."""


@dataclass(slots=True)
class CteEntry:
    """A WITH query of a level. `columns` of a recursive one are known before its `cte`."""

    name: str
    cte: tree.Cte | None
    columns: tuple[tree.OutputColumn, ...]
    referenced: bool = False


@dataclass(slots=True)
class State:
    """One query level."""

    statement: Statement
    parent: "State | None" = None
    entries: list[tree.RangeEntry] = field(default_factory=list)
    namespace: "list[NamespaceItem]" = field(default_factory=list)
    ctes: list[CteEntry] = field(default_factory=list)
    future_ctes: frozenset[str] = frozenset()
    """Names of WITH queries that come after the one being analysed."""
    kind: ExprKind = ExprKind.NONE
    lateral_active: bool = False
    has_aggregates: bool = False
    set_returning: list[int] = field(default_factory=list)
    """Entries made for the set-returning calls of the select list, in the order written."""
    resolve_unknowns: bool = True
    """Whether output columns of unknown type become text."""

    def child(self) -> "State":
        """A level inside this one."""
        return State(self.statement, parent=self)

    def add_entry(self, entry: tree.RangeEntry) -> int:
        """Append to the range table; returns its index."""
        self.entries.append(entry)
        return len(self.entries) - 1

    def enter(self) -> None:
        """One level of nesting deeper; raises SqlError 54001 at the bound."""
        self.statement.depth += 1
        if self.statement.depth > NESTING_MAX:
            raise too_deep()

    def leave(self) -> None:
        """Undo `enter`."""
        self.statement.depth -= 1
