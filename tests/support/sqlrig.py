"""SQL text through parse, analyse, plan, compile and execute, over a MemoryStore.

Tables are those of `schema.sql` beside the golden scripts, built here by hand so that these tests
need no DDL.
"""

from collections.abc import Sequence
from typing import Any

from sqlnode import tree
from sqlnode.analyse.statement import analyse
from sqlnode.catalog.catalog import Catalog
from sqlnode.catalog.descriptors import Column, Index, IndexColumn, Table
from sqlnode.compile.statement import compile_plan
from sqlnode.errors import SqlError
from sqlnode.execute.api import Executable, Execution
from sqlnode.parse import parse
from sqlnode.plan.planner import plan
from sqlnode.types import registry
from tests.support.memory_transaction import MemoryStore, MemoryTransaction
from tests.support.trees import Context, Interrupts

ColumnSpec = tuple[str, str, int]
"""(name, pg_type name, typmod)"""


def table(
    oid: int,
    name: str,
    columns: Sequence[tuple[Any, ...]],
    *,
    key: Sequence[str] = (),
    not_null: Sequence[str] = (),
    defaults: dict[str, str] | None = None,
    secondary: Sequence[tuple[str, Sequence[str], bool]] = (),
) -> Table:
    """A table descriptor; columns are (name, type name[, typmod])."""
    made = []
    for number, (column, type_name, *typmod) in enumerate(columns, 1):
        found = registry.by_name(type_name)
        assert found is not None, type_name
        made.append(
            Column(
                column,
                number,
                found.oid,
                typmod[0] if typmod else -1,
                not_null=column in key or column in not_null,
                default=(defaults or {}).get(column),
            )
        )
    number_of = {column.name: column.number for column in made}
    indexes = []
    if key:
        places = tuple(IndexColumn(number_of[c]) for c in key)
        indexes.append(Index(oid + 1, f"{name}_pkey", 1, places, unique=True, primary=True))
    for at, (index, names, unique) in enumerate(secondary, 2):
        places = tuple(IndexColumn(number_of[c]) for c in names)
        indexes.append(Index(oid + at, index, at, places, unique=unique))
    return Table(oid, name, "public", oid, tuple(made), indexes=tuple(indexes), tenant=7)


class Rig:
    """One database, one session."""

    def __init__(self, tables: Sequence[Table], *, page_rows: int = 3) -> None:
        self.store = MemoryStore()
        self.catalog = Catalog(tenant=7, tables={("public", t.name): t for t in tables})
        self.context = Context(catalog=self.catalog)
        self.memory_bytes_max = 64 << 20
        self.page_rows = page_rows

    def prepare(
        self, sql: str, *, optimize: bool = True, param_types: Sequence[int] = ()
    ) -> Executable:
        """The compiled statement."""
        (raw,) = parse(sql)
        analysed = analyse(
            raw,
            catalog=self.catalog,
            search_path=("pg_catalog", "public"),
            context=self.context,
            param_types=param_types,
        )
        assert isinstance(analysed.statement, tree.Query)
        planned = plan(analysed.statement, catalog=self.catalog, optimize=optimize)
        return compile_plan(planned, analysed.param_types)

    def begin(self, **options: Any) -> MemoryTransaction:
        """A transaction of its own."""
        return MemoryTransaction(self.store, page_rows=self.page_rows, **options)

    async def run(
        self,
        statement: str | Executable,
        *params: Any,
        transaction: MemoryTransaction | None = None,
        optimize: bool = True,
    ) -> list[tuple[Any, ...]]:
        """The rows of a statement; commits unless it is given a transaction."""
        prepared = (
            self.prepare(statement, optimize=optimize) if isinstance(statement, str) else statement
        )
        used = transaction or self.begin()
        await used.begin_statement()
        execution = Execution(
            used,
            self.catalog,
            self.context,
            Interrupts(),
            params,
            memory_bytes_max=self.memory_bytes_max,
        )
        rows = [row async for batch in prepared.run(execution) for row in batch]
        self.processed = execution.rows_processed
        if transaction is None:
            used.commit()
        return rows

    async def shown(self, sql: str) -> str:
        """What a golden script records of a statement."""
        try:
            prepared = self.prepare(sql)
            rows = await self.run(prepared)
        except SqlError as error:
            return show_error(error.sqlstate, error.message, error.detail)
        lines = []
        columns = prepared.columns
        if columns is not None:
            lines.append(" | ".join(column.name for column in columns))
            outs = [registry.by_oid(column.type).text_out for column in columns]
            for row in rows:
                texts = [
                    "∅" if value is None else out(value, self.context)
                    for value, out in zip(row, outs, strict=True)
                ]
                lines.append(" | ".join(texts))
        lines.append(f"{prepared.tag} {self.processed}")
        return "\n".join(lines)


def show_error(sqlstate: str, message: str, detail: str | None) -> str:
    """An error as golden scripts record it."""
    text = f"ERROR {sqlstate}: {message}"
    return text if detail is None else f"{text}\nDETAIL: {detail}"


def statements(script: str) -> list[str]:
    """The statements of a script, without comments."""
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" \n;")]
