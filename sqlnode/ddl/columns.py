"""Column definitions of CREATE TABLE and ALTER TABLE ADD COLUMN to descriptors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import postgast

from sqlnode import sqlstate
from sqlnode.analyse.locations import position
from sqlnode.analyse.typenames import resolve
from sqlnode.catalog.descriptors import Column
from sqlnode.ddl import sequence_options
from sqlnode.ddl.defaults import default_text
from sqlnode.ddl.sequence_options import Options
from sqlnode.errors import SqlError, unsupported
from sqlnode.functions.base import FunctionContext
from sqlnode.types import oids
from sqlnode.types.registry import find

_pb: Any = postgast.pg_query_pb2

COLUMNS_MAX = 1600
_SERIAL = {
    **dict.fromkeys(("serial", "serial4"), oids.INT4),
    **dict.fromkeys(("bigserial", "serial8"), oids.INT8),
    **dict.fromkeys(("smallserial", "serial2"), oids.INT2),
}
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
    """A column with the key constraints written behind it, and the options of the sequence it is
    to own (serial, identity), which is not made yet."""

    column: Column
    keys: tuple[KeyConstraint, ...]
    sequence: Options | None = None


def define_column(node: Any, number: int, table: str, context: FunctionContext) -> ColumnDefinition:
    """The column a ColumnDef describes. Raises SqlError 42601, 42704, 42P16, 22023, 0A000."""
    name = node.colname
    if name in SYSTEM_COLUMNS:
        raise SqlError(
            sqlstate.DUPLICATE_COLUMN,
            f'column name "{name}" conflicts with a system column name',
        )
    serial = len(node.type_name.names) == 1 and _SERIAL.get(node.type_name.names[0].string.sval)
    if serial:
        if node.type_name.array_bounds:
            raise SqlError(
                sqlstate.FEATURE_NOT_SUPPORTED,
                "array of serial is not implemented",
                position=position(node.type_name.location),
            )
        return _Constraints(table, Column(name, number, serial), context).read_serial(node)
    type_oid, typmod = resolve(node.type_name)
    _refuse_type(name, type_oid)
    if node.HasField("coll_clause"):
        raise unsupported("COLLATE", position=position(node.coll_clause.location))
    return _Constraints(table, Column(name, number, type_oid, typmod), context).read(node)


def _refuse_type(column: str, type_oid: int) -> None:
    kind = find(type_oid)
    if kind is None or kind.kind == "p":
        shown = kind.name if kind is not None else str(type_oid)
        raise SqlError(
            sqlstate.INVALID_TABLE_DEFINITION, f'column "{column}" has pseudo-type {shown}'
        )
    if not kind.implemented:
        raise unsupported(f"type {kind.name}")


class _Constraints:
    """Reads what stands behind a column's type."""

    def __init__(self, table: str, column: Column, context: FunctionContext) -> None:
        self._table = table
        self._column = column
        self._context = context
        self._default: str | None = None
        self._has_default = False
        self._identity = ""
        self._options: Options | None = None
        self._keys: list[KeyConstraint] = []
        self._not_null: bool | None = None

    def read(self, node: Any) -> ColumnDefinition:
        """The column with its constraints."""
        for wrapped in node.constraints:
            each = wrapped.constraint
            kind, at = each.contype, position(each.location)
            if kind in (_pb.CONSTR_NOTNULL, _pb.CONSTR_NULL):
                self._null(kind == _pb.CONSTR_NOTNULL, at)
            elif kind == _pb.CONSTR_DEFAULT:
                if self._has_default:
                    raise self._twice("multiple default values", at)
                self._default = default_text(each.raw_expr, self._column.type, self._context)
                self._has_default = True
            elif kind == _pb.CONSTR_IDENTITY:
                self._read_identity(each, at)
            elif kind in (_pb.CONSTR_PRIMARY, _pb.CONSTR_UNIQUE):
                self._keys.append(key_constraint(each, (self._column.name,)))
            else:
                raise unsupported(constraint_kind(kind), position=at)
            if self._identity and self._has_default:
                raise self._twice("both default and identity", at)
        column = replace(
            self._column,
            not_null=bool(self._not_null),
            default=self._default,
            identity=self._identity,
        )
        return ColumnDefinition(column, tuple(self._keys), self._options)

    def read_serial(self, node: Any) -> ColumnDefinition:
        """Likewise of a serial column, which is as if DEFAULT and NOT NULL stood at its end."""
        found = self.read(node)
        if self._has_default:
            raise self._twice("multiple default values", None)
        if self._identity:
            raise self._twice("both default and identity", None)
        self._null(True, None)
        return replace(
            found,
            column=replace(found.column, not_null=True),
            sequence=sequence_options.read(()),
        )

    def _null(self, wanted: bool, at: int | None) -> None:
        if self._not_null not in (None, wanted):
            raise SqlError(
                sqlstate.SYNTAX_ERROR,
                f'conflicting NULL/NOT NULL declarations for column "{self._column.name}" '
                f'of table "{self._table}"',
                position=at,
            )
        self._not_null = wanted

    def _read_identity(self, node: Any, at: int | None) -> None:
        if self._identity:
            raise self._twice("multiple identity specifications", at, "")
        self._options = identity_options(node.options, self._column.type)
        self._identity = node.generated_when
        self._null(True, at)

    def _twice(self, what: str, at: int | None, specified: str = " specified") -> SqlError:
        text = f'{what}{specified} for column "{self._column.name}" of table "{self._table}"'
        return SqlError(sqlstate.SYNTAX_ERROR, text, position=at)


def identity_options(nodes: Any, type_oid: int) -> Options:
    """The options of an identity column's sequence. Raises SqlError 22023, 42601."""
    if type_oid not in sequence_options.RANGES:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            "identity column type must be smallint, integer, or bigint",
        )
    return sequence_options.read(nodes)


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
        _pb.CONSTR_GENERATED: "GENERATED",
    }.get(kind, "DEFERRABLE")
