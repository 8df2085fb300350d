"""Column definitions of CREATE TABLE and ALTER TABLE ADD COLUMN to descriptors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import postgast

from sqlnode import sqlstate
from sqlnode.analyse.locations import position
from sqlnode.analyse.typenames import resolve
from sqlnode.catalog.descriptors import Column
from sqlnode.ddl.defaults import default_text
from sqlnode.errors import SqlError, unsupported
from sqlnode.types.registry import find

_pb: Any = postgast.pg_query_pb2

COLUMNS_MAX = 1600
_SERIAL = {"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}
SYSTEM_COLUMNS = frozenset({"tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"})


@dataclass(frozen=True, slots=True)
class KeyConstraint:
    """A PRIMARY KEY or UNIQUE constraint as written."""

    columns: tuple[str, ...]
    primary: bool
    name: str | None
    location: int | None = None


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """A column with the key constraints written behind it."""

    column: Column
    keys: tuple[KeyConstraint, ...]


def define_column(node: Any, number: int, table: str) -> ColumnDefinition:
    """The column a ColumnDef describes. Raises SqlError 42601, 42704, 42P16, 0A000."""
    name = node.colname
    if name in SYSTEM_COLUMNS:
        raise SqlError(
            sqlstate.DUPLICATE_COLUMN,
            f'column name "{name}" conflicts with a system column name',
        )
    if node.type_name.names[-1].string.sval in _SERIAL:
        raise unsupported("serial", position=position(node.type_name.location))
    type_oid, typmod = resolve(node.type_name)
    _refuse_type(name, type_oid)
    if node.HasField("coll_clause"):
        raise unsupported("COLLATE", position=position(node.coll_clause.location))
    return _with_constraints(node, Column(name, number, type_oid, typmod), table)


def _refuse_type(column: str, type_oid: int) -> None:
    kind = find(type_oid)
    if kind is None or kind.kind == "p":
        shown = kind.name if kind is not None else str(type_oid)
        raise SqlError(
            sqlstate.INVALID_TABLE_DEFINITION, f'column "{column}" has pseudo-type {shown}'
        )
    if not kind.implemented:
        raise unsupported(f"type {kind.name}")


def _with_constraints(node: Any, column: Column, table: str) -> ColumnDefinition:
    not_null: bool | None = None
    default: str | None = None
    keys: list[KeyConstraint] = []
    name = column.name
    for wrapped in node.constraints:
        each = wrapped.constraint
        at = position(each.location)
        kind = each.contype
        if kind in (_pb.CONSTR_NOTNULL, _pb.CONSTR_NULL):
            wanted = kind == _pb.CONSTR_NOTNULL
            if not_null not in (None, wanted):
                raise SqlError(
                    sqlstate.SYNTAX_ERROR,
                    f'conflicting NULL/NOT NULL declarations for column "{name}" '
                    f'of table "{table}"',
                    position=at,
                )
            not_null = wanted
        elif kind == _pb.CONSTR_DEFAULT:
            if default is not None:
                raise SqlError(
                    sqlstate.SYNTAX_ERROR,
                    f'multiple default values specified for column "{name}" of table "{table}"',
                    position=at,
                )
            default = default_text(each.raw_expr, column.type)
        elif kind in (_pb.CONSTR_PRIMARY, _pb.CONSTR_UNIQUE):
            keys.append(key_constraint(each, (name,)))
        else:
            raise unsupported(constraint_kind(kind), position=at)
    made = Column(name, column.number, column.type, column.typmod, bool(not_null), default)
    return ColumnDefinition(made, tuple(keys))


def key_constraint(node: Any, columns: Sequence[str]) -> KeyConstraint:
    """A PRIMARY KEY or UNIQUE Constraint. Raises SqlError 0A000."""
    at = position(node.location)
    if node.deferrable or node.initdeferred:
        raise unsupported("DEFERRABLE", position=at)
    if node.nulls_not_distinct:
        raise unsupported("NULLS NOT DISTINCT", position=at)
    if node.including:
        raise unsupported("INCLUDE", position=at)
    primary = node.contype == _pb.CONSTR_PRIMARY
    return KeyConstraint(tuple(columns), primary, node.conname or None, at)


def constraint_kind(kind: int) -> str:
    """How people call a kind of constraint that is not supported."""
    return {
        _pb.CONSTR_CHECK: "CHECK",
        _pb.CONSTR_FOREIGN: "FOREIGN KEY",
        _pb.CONSTR_EXCLUSION: "EXCLUDE",
        _pb.CONSTR_IDENTITY: "GENERATED AS IDENTITY",
        _pb.CONSTR_GENERATED: "GENERATED",
    }.get(kind, "DEFERRABLE")
