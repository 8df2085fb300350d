"""Storing into columns: assignment casts, DEFAULT, target names."""

from sqlnode import tree
from sqlnode.analyse import coerce
from sqlnode.analyse.defaults import column_default
from sqlnode.analyse.locations import expr_location, position
from sqlnode.analyse.state import State
from sqlnode.catalog.descriptors import Column, Table
from sqlnode.errors import SqlError
from sqlnode.types.registry import format_type


def assign(state: State, column: Column, expr: tree.Expr) -> tree.Expr:
    """`expr` as the column stores it; raises SqlError 42804 where there is no such cast."""
    found = coerce.to_target(state, expr, column.type, column.typmod)
    if found is None:
        raise SqlError(
            "42804",
            f'column "{column.name}" is of type {format_type(column.type)} '
            f"but expression is of type {format_type(expr.type)}",
            hint="You will need to rewrite or cast the expression.",
            position=position(expr_location(expr)),
        )
    return found


def default_of(state: State, column: Column) -> tree.Expr:
    """The column's default as stored, or Default (NULL) where it has none."""
    if column.filled is None:
        return tree.Default(column.type, column.typmod)
    return column_default(state, column)


def column_position(table: Table, name: str, location: int) -> int:
    """Position of a target column; raises SqlError 42703."""
    for index, column in enumerate(table.live):
        if column.name == name:
            return index
    message = f'column "{name}" of relation "{table.name}" does not exist'
    raise SqlError("42703", message, position=position(location))
