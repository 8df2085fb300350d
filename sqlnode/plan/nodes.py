"""Physical plan nodes: what the executor does, as immutable data.

Every node has `output`: the expressions whose values make up its rows. A node above refers to them
by value (`==`): where an expression equals one of its input's outputs it is that column, otherwise
its parts are looked up. So an aggregate's output is its group expressions and aggregate calls, and
`sum(x) + 1` above it finds `sum(x)` there, as PostgreSQL's setrefs.c does.

Scans and joins compute their `output` in the same pass that filters, hence there is a Project only
above nodes that give their rows unchanged (Sort, Limit, set operations).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sqlnode import tree
from sqlnode.catalog.descriptors import Index, Table
from sqlnode.plan.expressions import Expr

Exprs = tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """An end of a range over the index column after the equal ones."""

    value: Expr
    inclusive: bool


@dataclass(frozen=True, slots=True, eq=False)
class KeyRange:
    """Which part of an index a scan reads: leading columns equal to values, then a range.

    With `any_of` the column after `equals` takes every element of that array in turn. `conditions`
    are the predicates this stands for (EXPLAIN's Index Cond; what a recheck has to repeat).
    """

    index: Index
    equals: Exprs = ()
    any_of: Expr | None = None
    lower: Bound | None = None
    upper: Bound | None = None
    conditions: Exprs = ()

    @property
    def key_columns(self) -> int:
        """How many leading index columns are fixed to values."""
        return len(self.equals) + (self.any_of is not None)

    @property
    def is_point(self) -> bool:
        """Whether every key names at most one row."""
        unique = self.index.unique or self.index.primary
        return unique and self.key_columns == len(self.index.columns)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One row made of constants; with a `condition` that is not true, none."""

    output: Exprs
    condition: Expr | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TableScan:
    """Rows of a table: all of them in key order, or a range of an index.

    `rows_hint` is how many rows are likely to be wanted, 0 if all.
    """

    entry: int
    alias: str
    table: Table
    output: Exprs
    filter: Expr | None = None
    range: KeyRange | None = None
    reverse: bool = False
    rows_hint: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class FunctionScan:
    """Rows a function returns."""

    entry: int
    alias: str
    call: Expr
    columns: int
    ordinality: bool
    output: Exprs
    filter: Expr | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ValuesScan:
    """VALUES lists."""

    entry: int
    alias: str
    rows: tuple[Exprs, ...]
    output: Exprs
    filter: Expr | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SubqueryScan:
    """Rows of a sub-select with a plan of its own; column n of `child` is the entry's n-th."""

    entry: int
    alias: str
    child: Node
    output: Exprs
    filter: Expr | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CteScan:
    """Rows of a WITH query, computed once per statement and kept under `cte`."""

    entry: int
    alias: str
    name: str
    cte: int
    output: Exprs
    filter: Expr | None = None
    working: bool = False
    """The rows of a recursive query's last step instead."""


class JoinType(Enum):
    """What rows of the left side a join gives, and whether unmatched ones of either side."""

    INNER = "Inner"
    LEFT = "Left"
    FULL = "Full"
    SEMI = "Semi"
    ANTI = "Anti"


@dataclass(frozen=True, slots=True, eq=False)
class HashJoin:
    """Equi-join: the right side is hashed, the left one probes. `keys` are (left, right) pairs;
    `residual` is what else ON says, `filter` what holds above the join."""

    kind: JoinType
    left: Node
    right: Node
    keys: tuple[tuple[Expr, Expr], ...]
    residual: Expr | None
    filter: Expr | None
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class NestedLoop:
    """Every left row with every right row. With `inputs` (slot, expression over the left row) the
    right side is run anew for each left row, otherwise once and kept."""

    kind: JoinType
    left: Node
    right: Node
    inputs: tuple[tuple[int, Expr], ...]
    on: Expr | None
    filter: Expr | None
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class IndexJoin:
    """A nested loop whose inner rows are fetched by key, one request for a batch of outer rows.

    `right` is the inner table; `right.range` has `equals` in terms of the left row, and is a point.
    """

    kind: JoinType
    left: Node
    right: TableScan
    on: Expr | None
    filter: Expr | None
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """Groups by the values of `groups`; one group of all rows where there are none (`plain`)."""

    child: Node
    groups: Exprs
    calls: tuple[tree.AggregateCall, ...]
    plain: bool
    filter: Expr | None
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class Project:
    """Computes new columns."""

    child: Node
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """Rows for which a condition is true."""

    child: Node
    condition: Expr
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class ProjectSet:
    """Computes columns of which some are set-returning: one row per element, side by side."""

    child: Node
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class SortColumn:
    """One sort key: the child's column at `position`."""

    position: int
    type: int
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True, eq=False)
class Sort:
    """Sorts; with `limit` (an expression for how many rows can be wanted) keeps only the first."""

    child: Node
    keys: tuple[SortColumn, ...]
    output: Exprs
    limit: Expr | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """LIMIT and OFFSET; `ties` are the sort columns that WITH TIES compares."""

    child: Node
    limit: Expr | None
    offset: Expr | None
    output: Exprs
    ties: tuple[SortColumn, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """The first of the rows that are equal in the columns `positions` (None: all columns).
    `types` are those columns' types."""

    child: Node
    positions: tuple[int, ...] | None
    types: tuple[int, ...]
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class Append:
    """The rows of each child in turn (UNION ALL)."""

    left: Node
    right: Node
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class SetOperation:
    """INTERSECT and EXCEPT."""

    op: tree.SetOp
    all: bool
    left: Node
    right: Node
    types: tuple[int, ...]
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class RecursiveUnion:
    """WITH RECURSIVE: the left side, then the right side over the last step's rows until none."""

    cte: int
    all: bool
    left: Node
    right: Node
    types: tuple[int, ...]
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class LockTarget:
    """A table whose rows a locking clause locks; `recheck` is what must still hold of the newest
    version (in terms of the LockRows' child's output)."""

    entry: int
    table: Table
    strength: str
    wait: str


@dataclass(frozen=True, slots=True, eq=False)
class LockRows:
    """FOR UPDATE and the like: locks each row before it goes on; rows that changed are checked
    anew against `recheck`. `limit` is how many rows are wanted, so that no more are locked."""

    child: Node
    targets: tuple[LockTarget, ...]
    recheck: Expr | None
    output: Exprs
    limit: Expr | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Insert:
    """Rows of `child`, in live-column order, go into `table`."""

    table: Table
    entry: int
    child: Node
    conflict: Conflict | None
    returning: Exprs | None
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class Conflict:
    """ON CONFLICT: `arbiters` are the indexes to look at, `row` the full new row in terms of the
    existing row (entry `entry`) and the proposed one (entry `excluded`); None is DO NOTHING."""

    arbiters: tuple[Index, ...]
    row: Exprs | None
    where: Expr | None
    excluded: int
    assigned: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """Replaces rows: `child` gives RowKey(entry), the old row and what `row` (the whole new row)
    needs besides. `recheck` is what must still hold of a row somebody else changed meanwhile."""

    table: Table
    entry: int
    child: Node
    row: Exprs
    assigned: frozenset[int]
    recheck: Expr | None
    returning: Exprs | None
    output: Exprs


@dataclass(frozen=True, slots=True, eq=False)
class Delete:
    """Removes rows; see Update."""

    table: Table
    entry: int
    child: Node
    recheck: Expr | None
    returning: Exprs | None
    output: Exprs


Scan = TableScan | FunctionScan | ValuesScan | SubqueryScan | CteScan
Node = (
    Result
    | TableScan
    | FunctionScan
    | ValuesScan
    | SubqueryScan
    | CteScan
    | HashJoin
    | NestedLoop
    | IndexJoin
    | Aggregate
    | Project
    | Filter
    | ProjectSet
    | Sort
    | Limit
    | Distinct
    | Append
    | SetOperation
    | RecursiveUnion
    | LockRows
    | Insert
    | Update
    | Delete
)


@dataclass(frozen=True, slots=True, eq=False)
class CtePlan:
    """A WITH query. Its rows are kept for as long as the slots it reads stay the same."""

    name: str
    node: Node
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A whole plan: its root, its WITH queries by number, and what the statement returns."""

    command: tree.Command
    root: Node
    ctes: tuple[CtePlan, ...]
    slots: int
    columns: tuple[tree.Target, ...] | None
    writes: bool
    tables: tuple[tuple[int, int], ...] = ()
    """What it locks before it runs: OIDs of tables and kv.TableModes, in order of the OIDs."""
