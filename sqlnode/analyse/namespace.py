"""Names to expressions: which tables and columns a place in a query can see.

A `NamespaceItem` is one name in FROM: a range table entry or a join. Its columns are kept as ready
expressions, so that a join's alias and USING columns need no Var of their own.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlnode import tree
from sqlnode.analyse import missing
from sqlnode.analyse.state import State
from sqlnode.analyse.walk import raise_levels
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import oids

if TYPE_CHECKING:
    from sqlnode.catalog.descriptors import Table

_SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax"})


@dataclass(slots=True)
class NamespaceItem:
    """A name in FROM. `exprs` are the columns as this level sees them; `entry` -1 for a join."""

    alias: str
    names: list[str]
    exprs: list[tree.Expr]
    entry: int = -1
    table: "Table | None" = None
    aliased: bool = False
    """The name is an alias, not the table's own (so schema.table does not match it)."""
    table_visible: bool = True
    columns_visible: bool = True
    lateral_only: bool = False
    lateral_ok: bool = True
    scalar_function: bool = False
    """A function of one scalar column: its whole row is that column."""


def item_of(
    entry: tree.RangeEntry, index: int, *, table: "Table | None" = None, aliased: bool = False
) -> NamespaceItem:
    """The namespace item of a range table entry."""
    exprs: list[tree.Expr] = [
        tree.Var(index, i, column.type, column.typmod) for i, column in enumerate(entry.columns)
    ]
    names = [column.name for column in entry.columns]
    return NamespaceItem(entry.alias, names, exprs, index, table, aliased)


def add(existing: list[NamespaceItem], new: list[NamespaceItem]) -> list[NamespaceItem]:
    """Both lists; raises SqlError 42712 where two visible tables have the same name."""
    for item in new:
        if not item.table_visible:
            continue
        for other in existing:
            if other.table_visible and other.alias == item.alias and not _differ(item, other):
                raise SqlError("42712", f'table name "{item.alias}" specified more than once')
    return existing + new


def _differ(one: NamespaceItem, other: NamespaceItem) -> bool:
    """Two unaliased tables of one name in different schemas are told apart by schema."""
    if one.aliased or other.aliased or one.table is None or other.table is None:
        return False
    return one.table.oid != other.table.oid


def find_column(state: State, name: str, location: int) -> tree.Expr | None:
    """The column an unqualified name means, None if no level has it; 42702 if ambiguous."""
    levels = 0
    level: State | None = state
    while level is not None:
        found: tree.Expr | None = None
        for item in level.namespace:
            if not item.columns_visible or (item.lateral_only and not level.lateral_active):
                continue
            here = column_of(item, name, location)
            if here is None:
                continue
            if found is not None:
                raise _ambiguous(name, location)
            _check_lateral(item, location)
            found = here
        if found is not None:
            return placed(found, levels, location)
        level = level.parent
        levels += 1
    return None


def _ambiguous(name: str, location: int) -> SqlError:
    return SqlError("42702", f'column reference "{name}" is ambiguous', position=location)


def column_of(item: NamespaceItem, name: str, location: int) -> tree.Expr | None:
    """The column `name` of one item; 42702 where it has several."""
    names = item.names
    if name not in names:
        return _system_column(item, name, location)
    at = names.index(name)
    if names.count(name) > 1:
        raise _ambiguous(name, location)
    return item.exprs[at]


def _system_column(item: NamespaceItem, name: str, location: int) -> tree.Expr | None:
    if item.table is None:
        return None
    if name == "tableoid":
        return tree.Const(item.table.oid, oids.OID)
    if name in _SYSTEM_COLUMNS:
        raise unsupported(f"system column {name}", position=location)
    return None


def placed(expr: tree.Expr, levels: int, location: int) -> tree.Expr:
    """A column's expression as seen `levels` further in, at `location`."""
    if type(expr) is tree.Var:
        return tree.Var(
            expr.entry, expr.column, expr.type, expr.typmod, expr.levels_up + levels, location
        )
    return raise_levels(expr, levels) if levels else expr


def _check_lateral(item: NamespaceItem, location: int) -> None:
    if item.lateral_only and not item.lateral_ok:
        raise SqlError(
            "42P10",
            f'invalid reference to FROM-clause entry for table "{item.alias}"',
            detail="The combining JOIN type must be INNER or LEFT for a LATERAL reference.",
            position=location,
        )


def find_item(
    state: State, schema: str | None, name: str, location: int
) -> tuple[NamespaceItem, int] | None:
    """The table a qualifier means and how many levels out it is, None if there is none."""
    levels = 0
    level: State | None = state
    while level is not None:
        found: NamespaceItem | None = None
        for item in level.namespace:
            if not item.table_visible or (item.lateral_only and not level.lateral_active):
                continue
            if item.alias != name:
                continue
            if schema is not None and (
                item.table is None or item.aliased or item.table.schema != schema
            ):
                continue
            if found is not None:
                message = f'table reference "{name}" is ambiguous'
                raise SqlError("42P09", message, position=location)
            _check_lateral(item, location)
            found = item
        if found is not None:
            return found, levels
        level = level.parent
        levels += 1
    return None


def require_item(
    state: State, schema: str | None, name: str, location: int
) -> tuple[NamespaceItem, int]:
    """Like `find_item`; raises SqlError 42P01 with PostgreSQL's hints."""
    found = find_item(state, schema, name, location)
    if found is None:
        raise missing.table(state, name, location)
    return found


def whole_row(item: NamespaceItem, levels: int, location: int) -> tree.Expr:
    """All columns of an item as one value."""
    if item.scalar_function:
        return placed(item.exprs[0], levels, location)
    if item.entry >= 0:
        return tree.Var(item.entry, tree.WHOLE_ROW, oids.RECORD, -1, levels, location)
    fields = tuple(placed(expr, levels, location) for expr in item.exprs)
    return tree.RowExpr(fields, tuple(item.names), location=location)
