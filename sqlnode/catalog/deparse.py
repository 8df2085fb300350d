"""Objects back to SQL, as PostgreSQL's ruleutils print them."""

from sqlnode.catalog.descriptors import Constraint, Index, IndexColumn, Table
from sqlnode.functions.texts import quote_ident


def qualified(schema: str, name: str) -> str:
    """`schema.name`, quoted where needed."""
    return f"{quote_ident(schema)}.{quote_ident(name)}"


def index_definition(table: Table, index: Index) -> str:
    """CREATE INDEX, as pg_get_indexdef gives it."""
    unique = "UNIQUE " if index.unique else ""
    columns = ", ".join(index_column(table, column, ordering=True) for column in index.columns)
    target = qualified(table.schema, table.name)
    return f"CREATE {unique}INDEX {quote_ident(index.name)} ON {target} USING btree ({columns})"


def index_column(table: Table, column: IndexColumn, *, ordering: bool) -> str:
    """A key column, with what is not the default of its ordering."""
    text = quote_ident(column_name(table, column.number))
    if not ordering:
        return text
    if column.descending:
        return text + (" DESC" if column.nulls_first else " DESC NULLS LAST")
    return text + (" NULLS FIRST" if column.nulls_first else "")


def key_definition(table: Table, index: Index) -> str:
    """PRIMARY KEY or UNIQUE, as pg_get_constraintdef gives it."""
    columns = ", ".join(quote_ident(column_name(table, each.number)) for each in index.columns)
    return f"{'PRIMARY KEY' if index.primary else 'UNIQUE'} ({columns})"


def check_definition(constraint: Constraint) -> str:
    """CHECK, as pg_get_constraintdef gives it."""
    return f"CHECK (({constraint.expression}))"


def column_name(table: Table, number: int) -> str:
    """Name of the column with this attnum."""
    return next(column.name for column in table.columns if column.number == number)
