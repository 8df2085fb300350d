"""What COPY names: a table and some of its columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlnode.catalog.descriptors import Column, Table
from sqlnode.errors import SqlError

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.session.session import Session


def table_of(session: "Session", catalog: "Catalog", relation: Any) -> Table:
    """The table that COPY names. Raises SqlError 42P01."""
    name, schema = relation.relname, relation.schemaname or None
    table = catalog.relation(name, schema=schema, search_path=session.context.search_path())
    if table is None:
        shown = f"{schema}.{name}" if schema else name
        raise SqlError("42P01", f'relation "{shown}" does not exist')
    return table


def columns_of(table: Table, names: Sequence[str]) -> list[Column]:
    """The columns of its list, all where it has none. Raises SqlError 42703, 42701."""
    if not names:
        return list(table.live)
    chosen: list[Column] = []
    for name in names:
        column = table.column(name)
        if column is None:
            raise SqlError("42703", f'column "{name}" of relation "{table.name}" does not exist')
        if column in chosen:
            raise SqlError("42701", f'column "{name}" specified more than once')
        chosen.append(column)
    return chosen
