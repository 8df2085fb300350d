"""What a function, an operator, a cast and an aggregate are.

The tables of names, argument types and results are PostgreSQL 15's own (generated), whole, so that
overload resolution picks what PostgreSQL picks. An entry without an implementation resolves and is
then refused as unsupported; it never falls through to a different overload.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from sqlnode.types.base import FormatSettings, Value


class Volatility(Enum):
    """May a call be folded (immutable), computed once per statement (stable), or neither."""

    IMMUTABLE = "i"
    STABLE = "s"
    VOLATILE = "v"


class FunctionContext(FormatSettings, Protocol):
    """What a function that depends on the session is given as its first argument."""

    current_user: str
    session_user: str
    current_database: str
    backend_pid: int
    catalog: Any
    """A sqlnode.catalog.catalog.Catalog."""
    statement_costs: Any
    """A sqlnode.statements.costs.StatementCosts; None outside a pod."""
    notifications: Any
    """A sqlnode.session.notifications.Notifications; None outside a session."""
    advisory: Any
    """A sqlnode.kv.advisory.AdvisoryLocks; None outside a session."""
    export_snapshot: Any
    """Exports the statement's snapshot; awaited, its name. None outside a session."""
    sequences: Any
    """A sqlnode.kv.sequences.SessionSequences; None outside a session."""
    warn: Any
    """Sends a WARNING: (SQLSTATE, message); None outside a session."""

    def setting(self, name: str) -> str | None:
        """The value of a session setting, None if there is none."""
        ...

    def set_setting(self, name: str, value: str, *, local: bool) -> None:
        """Change a session setting (set_config)."""
        ...

    def search_path(self) -> Sequence[str]:
        """Names of the schemas on the effective search path that exist, pg_catalog first."""
        ...

    def statement_micros(self) -> int:
        """Start of the statement, microseconds since 2000-01-01 UTC."""
        ...

    def clock_micros(self) -> int:
        """Now, microseconds since 2000-01-01 UTC."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A row of pg_proc with its implementation."""

    oid: int
    name: str
    argument_types: tuple[int, ...]
    variadic: int
    """Element type of the VARIADIC last argument, 0 if there is none."""
    defaults: int
    """How many trailing arguments may be left out."""
    return_type: int
    strict: bool
    volatility: Volatility
    returns_set: bool
    kind: str
    """f function, a aggregate, w window function, p procedure."""
    call: Callable[..., Value] | None = None
    """Python implementation on runtime values. A strict function never sees None. A set-returning
    one returns a list of values (tuples for several columns)."""
    needs_context: bool = False
    """`call` takes a FunctionContext before its arguments."""
    inline: str | None = None
    """Python expression with {0}, {1} … for arguments that are not None; names in it come from
    `sqlnode.functions.runtime`. Means the same as `call`, without the call."""
    aggregate: "Aggregate | None" = None
    result_columns: tuple[tuple[str, int], ...] = ()
    """Names and types of the columns of a function that returns records with OUT parameters."""
    needs_types: bool = False
    """`call` takes a tuple of the OIDs of its actual argument types before its arguments (after
    the context, if it takes that too): array_to_string, format, concat, to_json … For a VARIADIC
    "any" function, an array written with VARIADIC is passed whole, its type's OID negated."""
    argument_names: tuple[str, ...] = ()
    """Names of the input arguments for named notation; empty if they have none."""
    default_expressions: tuple[str, ...] = ()
    """SQL text of the last `defaults` arguments' defaults."""
    namespace: int = 11
    """OID of its schema."""
    waits: bool = False
    """`call` may wait for storage (sqlnode.bridge)."""


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """A row of pg_operator. `left` is 0 for a prefix operator."""

    oid: int
    name: str
    left: int
    right: int
    result: int
    function: int
    """OID of the function behind it."""
    commutator: int
    negator: int
    can_hash: bool = False
    can_merge: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """A row of pg_cast."""

    source: int
    target: int
    function: int
    """OID of the function, 0 for binary-coercible or I/O casts."""
    context: str
    """i implicit, a on assignment, e only explicit."""
    method: str
    """f function, b binary coercible, i through text."""


class Aggregate(Protocol):
    """An aggregate's state machine, fed with whole batches.

    `add` receives one list per argument (equal lengths, None for NULL; no list for count(*), whose
    `count` says how many rows). Strict aggregates skip NULLs themselves.
    """

    def new(self) -> Any:
        """A fresh state."""
        ...

    def add(self, state: Any, columns: Sequence[Sequence[Value]], count: int) -> Any:
        """The state after a batch (may change and return the same object)."""
        ...

    def result(self, state: Any) -> Value:
        """The aggregate's value; does not consume the state."""
        ...


class CatalogFunctions(Protocol):
    """What system information functions and the reg* types ask `FunctionContext.catalog`.

    A relation is a table, an index or a view, a tenant's own or one of the system's. An OID that
    names nothing gives None.
    """

    def relation_oid(self, name: str, schema: str | None, search_path: Sequence[str]) -> int | None:
        """pg_class OID of a relation; `schema` None looks along `search_path`."""
        ...

    def relation_name(self, oid: int) -> tuple[str, str] | None:
        """(schema, name) of a relation."""
        ...

    def schema_oid(self, name: str) -> int | None:
        """pg_namespace OID."""
        ...

    def schema_name(self, oid: int) -> str | None:
        """Name of a schema."""
        ...

    def role_oid(self, name: str) -> int | None:
        """pg_authid OID."""
        ...

    def role_name(self, oid: int) -> str | None:
        """Name of a role."""
        ...

    def index_definition(self, oid: int) -> str | None:
        """CREATE INDEX statement of an index, as pg_get_indexdef(oid) gives it."""
        ...

    def index_column_definition(self, oid: int, column: int) -> str | None:
        """Key column or expression `column` (1-based) of an index, as SQL."""
        ...

    def constraint_definition(self, oid: int) -> str | None:
        """A constraint as SQL, such as `PRIMARY KEY (a, b)`."""
        ...

    def comment(self, oid: int, class_oid: int, column: int) -> str | None:
        """COMMENT ON the object `oid` of the system table `class_oid` (column 0: the object)."""
        ...

    def shown_expression(self, text: str, search_path: Sequence[str]) -> str:
        """A stored expression with names in place of OIDs, as pg_get_expr gives it."""
        ...

    def default_sequence(self, relation: int, column: str) -> str | None:
        """Qualified name of the sequence a column owns (pg_get_serial_sequence)."""
        ...

    def has_column(self, relation: int, column: str | int) -> bool:
        """Whether a relation has a column of that name or number."""
        ...

    def has_privilege(self, role: int, kind: str, oid: int, privilege: str) -> bool:
        """Whether a role holds `privilege` (SELECT, USAGE …) on the object of `kind` (table,
        schema, database, sequence, function)."""
        ...
