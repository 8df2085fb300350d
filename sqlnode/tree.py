"""The typed tree: what analysis hands to the planner.

Every name is resolved, every expression has a type, every cast is explicit, every overload is
chosen. The shapes follow PostgreSQL's Query and primitive nodes (nodes/primnodes.h), with these
simplifications: a Var never refers to a join (USING columns and aliases are resolved to the base
entry's Vars, or to Coalesce for FULL joins); simple CASE is turned into comparisons; `BETWEEN`, `IN
(list)` and row comparisons into operators and BoolExprs or ScalarArrayOps.

Nodes are immutable and compare by value, so that rewrite rules and `GROUP BY` matching use `==`;
how a call was written and where it stands in the text do not count in a comparison. A `location` is
a byte offset into the whole text, -1 if there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlnode.tree_words import BoolOp as BoolOp
from sqlnode.tree_words import CallForm as CallForm
from sqlnode.tree_words import Command as Command
from sqlnode.tree_words import JoinKind as JoinKind
from sqlnode.tree_words import SetOp as SetOp
from sqlnode.tree_words import SubLinkKind as SubLinkKind

if TYPE_CHECKING:
    from sqlnode.catalog.descriptors import Table
    from sqlnode.functions.base import Function


@dataclass(frozen=True, slots=True)
class Const:
    """A literal in its runtime representation."""

    value: Any
    type: int
    typmod: int = -1
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Param:
    """`$number` (1-based) of the statement."""

    number: int
    type: int
    typmod: int = -1
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Var:
    """A column of a range table entry.

    `entry` indexes the rtable of the query `levels_up` levels out (0: this one). `column` is the
    0-based position among the entry's output columns (`RangeEntry.columns`), or WHOLE_ROW.
    """

    entry: int
    column: int
    type: int
    typmod: int = -1
    levels_up: int = 0
    location: int = field(default=-1, compare=False)


WHOLE_ROW = -1


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator call. A VARIADIC tail is already gathered into an ArrayExpr."""

    function: Function
    args: tuple[Expr, ...]
    type: int
    typmod: int = -1
    form: CallForm = field(default=CallForm.FUNCTION, compare=False)
    operator: str | None = None
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """An aggregate. `star` is count(*). Belongs to the query `levels_up` levels out."""

    function: Function
    args: tuple[Expr, ...]
    type: int
    typmod: int = -1
    star: bool = False
    distinct: bool = False
    order_by: tuple[SortItem, ...] = ()
    filter: Expr | None = None
    levels_up: int = 0
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class SortItem:
    """An expression with its direction, inside an aggregate's ORDER BY."""

    expr: Expr
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class BoolExpr:
    """AND and OR of two or more, NOT of one."""

    op: BoolOp
    args: tuple[Expr, ...]
    type: int = 16
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class NullTest:
    """IS [NOT] NULL. For a composite argument: all fields."""

    arg: Expr
    negated: bool
    type: int = 16
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class BooleanTest:
    """IS [NOT] TRUE, FALSE or UNKNOWN; `value` None is UNKNOWN."""

    arg: Expr
    value: bool | None
    negated: bool
    type: int = 16
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class DistinctFrom:
    """IS [NOT] DISTINCT FROM; `equals` is the equality function."""

    equals: Function
    left: Expr
    right: Expr
    negated: bool
    type: int = 16
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class NullIf:
    """NULLIF; `equals` compares `left` to `right` (both already coerced for it)."""

    equals: Function
    left: Expr
    right: Expr
    type: int
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class Case:
    """Searched CASE."""

    whens: tuple[tuple[Expr, Expr], ...]
    default: Expr
    type: int
    typmod: int = -1
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class CaseSubject:
    """The subject of a simple CASE, evaluated once: `subject` is bound, then `body` is evaluated,
    in which CaseValue stands for it."""

    subject: Expr
    body: Case
    type: int
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class CaseValue:
    """See CaseSubject."""

    type: int
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class Coalesce:
    """COALESCE."""

    args: tuple[Expr, ...]
    type: int
    typmod: int = -1
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class MinMax:
    """GREATEST and LEAST; `less` is the type's `<` function."""

    args: tuple[Expr, ...]
    greatest: bool
    less: Function
    type: int
    typmod: int = -1
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class ScalarArrayOp:
    """`left op ANY (array)` or ALL; also IN lists of constants."""

    function: Function
    operator: str
    use_any: bool
    left: Expr
    array: Expr
    type: int = 16
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class ArrayExpr:
    """ARRAY[…] of elements of one type, or (`multidimensional`) of arrays of equal shape."""

    elements: tuple[Expr, ...]
    element_type: int
    multidimensional: bool
    type: int
    typmod: int = -1
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Subscript:
    """array[i][j] or, with `slices`, array[l:u]; None in a slice is an open bound."""

    array: Expr
    indexes: tuple[Expr, ...]
    slices: tuple[tuple[Expr | None, Expr | None], ...]
    type: int
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class RowExpr:
    """ROW(…). `optional`: it stands for a row that an outer join may have left out, and is NULL
    where all fields are."""

    fields: tuple[Expr, ...]
    names: tuple[str, ...]
    type: int = 2249
    typmod: int = -1
    optional: bool = False
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Relabel:
    """A binary-coercible cast: the value stays, the type changes."""

    arg: Expr
    type: int
    typmod: int = -1
    form: CallForm = field(default=CallForm.IMPLICIT_CAST, compare=False)


@dataclass(frozen=True, slots=True)
class CoerceViaIO:
    """A cast through text: output of one type, input of the other."""

    arg: Expr
    type: int
    typmod: int = -1
    form: CallForm = field(default=CallForm.IMPLICIT_CAST, compare=False)


@dataclass(frozen=True, slots=True)
class CoerceArray:
    """An array cast element by element: `element` in terms of CaseValue."""

    arg: Expr
    element: Expr
    type: int
    typmod: int = -1
    form: CallForm = field(default=CallForm.IMPLICIT_CAST, compare=False)


@dataclass(frozen=True, slots=True)
class ApplyTypmod:
    """Length or scale coercion to the type's own typmod (varchar(5), numeric(10,2))."""

    arg: Expr
    explicit: bool
    type: int
    typmod: int


@dataclass(frozen=True, slots=True)
class SubLink:
    """A sub-select. For ANY and ALL: `test` compares in terms of SubLinkColumn and is combined
    over the rows with SQL's three-valued logic."""

    kind: SubLinkKind
    query: Query
    type: int
    typmod: int = -1
    test: Expr | None = None
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class SubLinkColumn:
    """Column `column` of the current row of the SubLink's query."""

    column: int
    type: int
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class SqlValue:
    """CURRENT_DATE, CURRENT_TIMESTAMP(n), CURRENT_USER, …: `kind` in lower case."""

    kind: str
    type: int
    typmod: int = -1
    location: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Default:
    """DEFAULT in INSERT or UPDATE where the column has none: NULL of its type. (A column's
    default expression is put in its place by analysis.)"""

    type: int
    typmod: int = -1


Expr = (
    Const
    | Param
    | Var
    | Call
    | AggregateCall
    | BoolExpr
    | NullTest
    | BooleanTest
    | DistinctFrom
    | NullIf
    | Case
    | CaseSubject
    | CaseValue
    | Coalesce
    | MinMax
    | ScalarArrayOp
    | ArrayExpr
    | Subscript
    | RowExpr
    | Relabel
    | CoerceViaIO
    | CoerceArray
    | ApplyTypmod
    | SubLink
    | SubLinkColumn
    | SqlValue
    | Default
)


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column a range table entry or a query gives."""

    name: str
    type: int
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class RelationSource:
    """A table. Columns are its live columns, in order."""

    table: Table
    locked: RowLock | None = None
    """FOR UPDATE and the like on this entry."""


@dataclass(frozen=True, slots=True)
class SubquerySource:
    """A sub-select in FROM, a view, or a CTE that is not materialised."""

    query: Query
    lateral: bool = False


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """A function in FROM; `ordinality` adds a bigint column. `listed`: it stood in the select list,
    and came here for it returns a set."""

    call: Expr
    lateral: bool = False
    ordinality: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True)
class ValuesSource:
    """VALUES lists, already coerced to common types."""

    rows: tuple[tuple[Expr, ...], ...]
    lateral: bool = False


@dataclass(frozen=True, slots=True)
class CteSource:
    """A reference to the CTE `index` of the query `levels_up` levels out."""

    index: int
    levels_up: int


@dataclass(frozen=True, slots=True)
class RowLock:
    """A locking clause: `strength` update, no_key_update, share or key_share."""

    strength: str
    wait: str = "wait"
    """wait, nowait or skip_locked."""


Source = RelationSource | SubquerySource | FunctionSource | ValuesSource | CteSource


@dataclass(frozen=True, slots=True)
class RangeEntry:
    """A range table entry: a source of rows with its alias and output columns."""

    alias: str
    source: Source
    columns: tuple[OutputColumn, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """An entry of the range table in the join tree."""

    entry: int


@dataclass(frozen=True, slots=True)
class Join:
    """A join; `on` None is CROSS."""

    kind: JoinKind
    left: FromItem
    right: FromItem
    on: Expr | None


FromItem = Leaf | Join


@dataclass(frozen=True, slots=True)
class Target:
    """An output column. `junk` ones exist for sorting or grouping and are not returned.
    `origin` is (table OID, attnum) where it is a plain column, for RowDescription."""

    expr: Expr
    name: str
    junk: bool = False
    origin: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class SortKey:
    """ORDER BY by the target at `target` (0-based)."""

    target: int
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class SetOperation:
    """Both sides have as many targets as the whole, coerced to its types."""

    op: SetOp
    all: bool
    left: Query
    right: Query


@dataclass(frozen=True, slots=True)
class Cte:
    """A WITH query."""

    name: str
    query: Query
    recursive: bool = False
    materialised: bool | None = None


@dataclass(frozen=True, slots=True)
class OnConflict:
    """ON CONFLICT. `index` is the arbiter's OID (None: any). With `assignments` (column position,
    expression) it is DO UPDATE: expressions see the existing row as the result relation's entry
    and the proposed one as entry `excluded`."""

    index: int | None
    assignments: tuple[tuple[int, Expr], ...] | None = None
    where: Expr | None = None
    excluded: int = -1


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that reads or writes rows.

    SELECT: `from_items` are cross joined, `where` filters, `group_by` are target indexes,
    `distinct_on` None is none, () is plain DISTINCT, else target indexes; with `set_operation`
    only targets (Vars of entry 0, which stands for the operation's rows), order and limit count.

    INSERT: `result` is the target table's entry; `source` gives one column per entry of
    `insert_columns` (positions among the live columns), already coerced; columns left out are in
    `defaults`. UPDATE: `assignments` per column position; `from_items` is the result relation's
    Leaf first, then what FROM names. DELETE likewise with USING. `returning` sees the new
    (DELETE: old) row as entry `result`.
    """

    command: Command
    rtable: tuple[RangeEntry, ...] = ()
    from_items: tuple[FromItem, ...] = ()
    where: Expr | None = None
    targets: tuple[Target, ...] = ()
    group_by: tuple[int, ...] = ()
    having: Expr | None = None
    distinct_on: tuple[int, ...] | None = None
    order_by: tuple[SortKey, ...] = ()
    limit: Expr | None = None
    offset: Expr | None = None
    with_ties: bool = False
    set_operation: SetOperation | None = None
    ctes: tuple[Cte, ...] = ()
    has_aggregates: bool = False
    result: int = -1
    source: Query | None = None
    insert_columns: tuple[int, ...] = ()
    defaults: tuple[tuple[int, Expr], ...] = ()
    assignments: tuple[tuple[int, Expr], ...] = ()
    on_conflict: OnConflict | None = None
    returning: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Utility:
    """A statement that is not planned. `node` is libpg_query's message (such as CreateStmt),
    `tag` the command tag PostgreSQL answers with."""

    node: Any
    tag: str


@dataclass(frozen=True, slots=True)
class Analysed:
    """An analysed statement with the types of its parameters."""

    statement: Query | Utility
    param_types: tuple[int, ...]
    session_dependent: bool = False
    """A literal was read under the session's settings or time ('now'::timestamptz): another
    session, or this one later, may not reuse the tree. (That it is of one catalog and search path
    goes without saying.)"""
