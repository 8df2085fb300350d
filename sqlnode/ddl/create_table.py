"""CREATE TABLE."""

from typing import Any

import postgast

from sqlnode import sqlstate
from sqlnode.analyse.locations import position
from sqlnode.catalog.descriptors import Table
from sqlnode.ddl.change import Change, relation_exists
from sqlnode.ddl.columns import (
    COLUMNS_MAX,
    ColumnDefinition,
    KeyConstraint,
    constraint_kind,
    define_column,
    key_constraint,
)
from sqlnode.ddl.defaults import check_default
from sqlnode.ddl.indexing import with_keys
from sqlnode.ddl.options import storage_options
from sqlnode.ddl.owned_sequences import with_sequence
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Execution
from sqlnode.functions.base import FunctionContext

_pb: Any = postgast.pg_query_pb2


async def create_table(execution: Execution, node: Any) -> str:
    """CREATE TABLE: the command tag. Raises SqlError 42P07, 42701, 42P16, 42704, 3F000, 0A000."""
    _refuse(node)
    change = await Change.begin(execution)
    target = node.relation
    schema = change.schema_for_new(target)
    if change.catalog.name_taken(schema, target.relname):
        if not node.if_not_exists:
            raise relation_exists(target.relname)
        change.notice(f'relation "{target.relname}" already exists, skipping', "42P07")
        return "CREATE TABLE"
    defined, keys = _elements(node, target.relname, execution.functions)
    for each in defined:
        await check_default(execution, each.column)
    oid = change.new_oid()
    columns = [
        await with_sequence(change, each, oid=oid, schema=schema, table=target.relname)
        for each in defined
    ]
    table = Table(
        oid=oid,
        name=target.relname,
        schema=schema,
        table_id=oid,
        columns=tuple(columns),
        options=storage_options(node.options),
        tenant=change.catalog.tenant,
        layouts=(tuple(column.number for column in columns),),
    )
    change.put(with_keys(change, table, keys))
    change.finish()
    return "CREATE TABLE"


def _refuse(node: Any) -> None:
    persistence = node.relation.relpersistence
    if persistence != "p":
        raise unsupported("a temporary table" if persistence == "t" else "an unlogged table")
    if node.inh_relations or node.HasField("partbound"):
        raise unsupported("INHERITS" if not node.HasField("partbound") else "PARTITION OF")
    if node.HasField("partspec"):
        raise unsupported("PARTITION BY")
    if node.HasField("of_typename"):
        raise unsupported("CREATE TABLE OF")
    if node.access_method not in ("", "heap"):
        raise SqlError(
            sqlstate.UNDEFINED_OBJECT, f'access method "{node.access_method}" does not exist'
        )
    if node.tablespacename not in ("", "pg_default"):
        raise SqlError(
            sqlstate.UNDEFINED_OBJECT, f'tablespace "{node.tablespacename}" does not exist'
        )


def _elements(
    node: Any, table: str, context: FunctionContext
) -> tuple[list[ColumnDefinition], list[KeyConstraint]]:
    columns: list[ColumnDefinition] = []
    keys: list[KeyConstraint] = []
    for element in node.table_elts:
        kind = element.WhichOneof("node")
        if kind == "column_def":
            defined = define_column(element.column_def, len(columns) + 1, table, context)
            if any(each.column.name == defined.column.name for each in columns):
                raise SqlError(
                    sqlstate.DUPLICATE_COLUMN,
                    f'column "{defined.column.name}" specified more than once',
                )
            columns.append(defined)
            keys += defined.keys
        elif kind == "constraint":
            keys.append(table_key(element.constraint))
        else:
            raise unsupported("LIKE")
    if len(columns) > COLUMNS_MAX:
        raise SqlError(sqlstate.TOO_MANY_COLUMNS, f"tables can have at most {COLUMNS_MAX} columns")
    return columns, keys


def table_key(constraint: Any) -> KeyConstraint:
    """A table constraint that is a key. Raises SqlError 0A000 for the others."""
    if constraint.contype not in (_pb.CONSTR_PRIMARY, _pb.CONSTR_UNIQUE):
        raise unsupported(
            constraint_kind(constraint.contype), position=position(constraint.location)
        )
    return key_constraint(constraint, [key.string.sval for key in constraint.keys])
