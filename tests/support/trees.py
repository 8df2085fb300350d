"""Hand-built typed trees and a place to run their plans."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlnode import tree
from sqlnode.catalog.catalog import Catalog
from sqlnode.catalog.descriptors import Column, Index, IndexColumn, Table
from sqlnode.compile.statement import compile_plan
from sqlnode.execute.api import Execution
from sqlnode.execute.writer import TableWriter
from sqlnode.functions import registry
from sqlnode.functions.base import Function
from sqlnode.plan.planner import plan
from tests.support.memory_transaction import MemoryStore, MemoryTransaction

INT, TEXT, BOOL, BIGINT = 23, 25, 16, 20


class Interrupts:
    """Counts checkpoints."""

    def __init__(self) -> None:
        self.checkpoints = 0

    async def checkpoint(self) -> None:
        self.checkpoints += 1


@dataclass
class Context:
    """A FunctionContext with default settings."""

    date_style: str = "ISO, MDY"
    interval_style: str = "postgres"
    time_zone: str = "UTC"
    extra_float_digits: int = 1
    bytea_output: str = "hex"
    current_user: str = "owner"
    session_user: str = "owner"
    current_database: str = "db"
    backend_pid: int = 1
    statement_costs: Any = None
    notifications: Any = None
    advisory: Any = None
    export_snapshot: Any = None
    sequences: Any = None
    warn: Any = None
    catalog: Any = field(default_factory=Catalog)

    def setting(self, name: str) -> str | None:
        return None

    def set_setting(self, name: str, value: str, *, local: bool) -> None:
        raise NotImplementedError

    def search_path(self) -> Sequence[str]:
        return ["pg_catalog", "public"]

    def now_micros(self) -> int:
        return 725_846_400_000_000

    def statement_micros(self) -> int:
        return self.now_micros()

    def clock_micros(self) -> int:
        return self.now_micros()


def make_table(
    name: str = "t",
    columns: Sequence[tuple[str, int]] = (("id", INT), ("a", INT), ("b", TEXT)),
    *,
    key: Sequence[str] = ("id",),
    secondary: Sequence[tuple[str, Sequence[str], bool]] = (),
    oid: int = 16400,
) -> Table:
    """A table; `secondary` are (name, columns, unique)."""
    made = tuple(
        Column(column, number, type_, not_null=column in key)
        for number, (column, type_) in enumerate(columns, 1)
    )
    number_of = {column.name: column.number for column in made}
    indexes = []
    if key:
        places = tuple(IndexColumn(number_of[column]) for column in key)
        indexes.append(Index(oid + 1, f"{name}_pkey", 1, places, unique=True, primary=True))
    for at, (index, names, unique) in enumerate(secondary, 2):
        places = tuple(IndexColumn(number_of[column]) for column in names)
        indexes.append(Index(oid + at, index, at, places, unique=unique))
    return Table(oid, name, "public", oid, made, indexes=tuple(indexes), tenant=7)


def entry(table: Table, alias: str | None = None, **source: Any) -> tree.RangeEntry:
    """A range table entry of a table."""
    columns = tuple(tree.OutputColumn(c.name, c.type, c.typmod) for c in table.live)
    return tree.RangeEntry(alias or table.name, tree.RelationSource(table, **source), columns)


def operator(name: str, left: int, right: int) -> Function:
    """The function behind an operator."""
    (found,) = [o for o in registry.operators(name) if (o.left, o.right) == (left, right)]
    return registry.function(found.function)


def op(name: str, left: Any, right: Any, result: int = BOOL) -> tree.Call:
    """left name right."""
    function = operator(name, left.type, right.type)
    return tree.Call(function, (left, right), result, form=tree.CallForm.OPERATOR, operator=name)


def const(value: Any, type_: int = INT) -> tree.Const:
    """A constant."""
    return tree.Const(value, type_)


def var(table: Table, column: str, number: int = 0, levels_up: int = 0) -> tree.Var:
    """A column of entry `number`."""
    names = [c.name for c in table.live]
    at = names.index(column)
    return tree.Var(number, at, table.live[at].type, levels_up=levels_up)


def target(expr: Any, name: str = "?column?", **more: Any) -> tree.Target:
    """An output column."""
    return tree.Target(expr, name, **more)


def aggregate(name: str, *args: Any, result: int = BIGINT, **more: Any) -> tree.AggregateCall:
    """An aggregate call."""
    types = tuple(arg.type for arg in args)
    (found,) = [f for f in registry.functions(name) if f.argument_types == types]
    return tree.AggregateCall(found, args, result, star=not args, **more)


class Database:
    """Tables over a MemoryStore, and runs of trees."""

    def __init__(self, *tables: Table) -> None:
        self.store = MemoryStore()
        self.catalog = Catalog()
        self.tables = tables

    def execution(
        self, transaction: MemoryTransaction | None = None, params: tuple[Any, ...] = ()
    ) -> Execution:
        """An execution in a transaction of its own, unless one is given."""
        return Execution(
            transaction or MemoryTransaction(self.store),
            self.catalog,
            Context(),
            Interrupts(),
            params,
        )

    async def fill(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert and commit rows."""
        transaction = MemoryTransaction(self.store)
        await TableWriter(table).insert(self.execution(transaction), rows)
        transaction.commit()

    async def run(
        self,
        query: tree.Query,
        *params: Any,
        transaction: MemoryTransaction | None = None,
        optimize: bool = True,
        memory: int = 64 << 20,
    ) -> list[tuple[Any, ...]]:
        """The rows of a query; commits where no transaction is given."""
        used = transaction or MemoryTransaction(self.store)
        await used.begin_statement()
        execution = self.execution(used, params)
        execution.memory_bytes_max = memory
        executable = compile_plan(plan(query, catalog=self.catalog, optimize=optimize), ())
        rows = [row async for batch in executable.run(execution) for row in batch]
        if transaction is None:
            used.commit()
        return rows


def explain(query: tree.Query) -> list[str]:
    """The plan's lines."""
    return list(compile_plan(plan(query, catalog=Catalog()), ()).explain())
