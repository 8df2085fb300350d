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
