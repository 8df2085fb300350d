"""CREATE INDEX."""

from dataclasses import replace
from typing import Any

import postgast

from proto import kv_pb2 as kv
from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Index, IndexColumn, Table
from sqlnode.ddl.build import build_index
from sqlnode.ddl.change import Change, choose_name, relation_exists
from sqlnode.ddl.indexing import check_indexable, checked_columns
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Execution

_pb: Any = postgast.pg_query_pb2


async def create_index(execution: Execution, node: Any) -> str:
    """CREATE INDEX: the command tag. CONCURRENTLY is done like any other.

    Raises SqlError 42P01, 42P07, 42703, 42704, 23505, 0A000.
    """
    change = Change(execution)
    table = change.table(node.relation)
    _refuse(node)
    await change.claim(table, mode=kv.TABLE_SHARE)
    columns = checked_columns([_column(table, each.index_elem) for each in node.index_params])
    name = node.idxname
    if name and change.catalog.name_taken(table.schema, name):
        if not node.if_not_exists:
            raise relation_exists(name)
        change.notice(f'relation "{name}" already exists, skipping', "42P07")
        return "CREATE INDEX"
    if not name:
        names = [_name(table, column.number) for column in columns]
        name = choose_name(change.catalog, table.schema, table.name, *names, "idx")
    index = Index(change.new_oid(), name, change.new_oid(), columns, unique=node.unique)
    await build_index(change, table, index)
    change.put(replace(table, indexes=(*table.indexes, index)))
    change.finish()
    return "CREATE INDEX"


def _refuse(node: Any) -> None:
    if node.access_method not in ("", "btree"):
        known = ("hash", "gist", "gin", "spgist", "brin")
        if node.access_method in known:
            raise unsupported(f"an index of access method {node.access_method}")
        raise SqlError(
            sqlstate.UNDEFINED_OBJECT, f'access method "{node.access_method}" does not exist'
        )
    if node.HasField("where_clause"):
        raise unsupported("a partial index")
    if node.index_including_params:
        raise unsupported("INCLUDE")
    if node.nulls_not_distinct:
        raise unsupported("NULLS NOT DISTINCT")


def _column(table: Table, element: Any) -> IndexColumn:
    if element.HasField("expr"):
        raise unsupported("an index on an expression")
    if element.collation or element.opclass:
        raise unsupported("COLLATE" if element.collation else "an operator class")
    column = table.column(element.name)
    if column is None:
        raise SqlError(sqlstate.UNDEFINED_COLUMN, f'column "{element.name}" does not exist')
    check_indexable(column.type)
    descending = element.ordering == _pb.SORTBY_DESC
    nulls_first = (
        descending
        if element.nulls_ordering in (_pb.SORTBY_NULLS_DEFAULT, 0)
        else element.nulls_ordering == _pb.SORTBY_NULLS_FIRST
    )
    return IndexColumn(column.number, descending, nulls_first)


def _name(table: Table, number: int) -> str:
    return next(column.name for column in table.columns if column.number == number)
