"""ALTER … RENAME TO: tables, columns, indexes, constraints, schemas."""

from dataclasses import replace
from typing import Any

import postgast

from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Index, Table
from sqlnode.ddl.change import Change, relation_exists, undefined_relation
from sqlnode.ddl.columns import SYSTEM_COLUMNS
from sqlnode.ddl.schemas import rename_schema
from sqlnode.ddl.sequences import find_sequence, sequence
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Execution

_pb: Any = postgast.pg_query_pb2


async def rename(execution: Execution, node: Any) -> str:
    """RenameStmt: the command tag. Raises SqlError 42P01, 42P07, 42701, 42703, 42704, 0A000."""
    change = Change(execution)
    kind = node.rename_type
    if kind == _pb.OBJECT_SCHEMA:
        await change.alone()
        rename_schema(change, node.subname, node.newname)
        tag = "ALTER SCHEMA"
    elif kind == _pb.OBJECT_INDEX:
        await change.alone()
        _rename_index(change, node)
        tag = "ALTER INDEX"
    elif kind == _pb.OBJECT_SEQUENCE or _names_sequence(change, node):
        await change.alone()
        _rename_sequence(change, node)
        tag = f"ALTER {'SEQUENCE' if kind == _pb.OBJECT_SEQUENCE else 'TABLE'}"
    elif kind in (_pb.OBJECT_TABLE, _pb.OBJECT_COLUMN, _pb.OBJECT_TABCONSTRAINT):
        await _rename_in_table(change, node)
        tag = "ALTER TABLE"
    else:
        name = _pb.ObjectType.Name(kind).removeprefix("OBJECT_").replace("_", " ")
        raise unsupported(f"ALTER {name} RENAME")
    change.finish()
    return tag


def _names_sequence(change: Change, node: Any) -> bool:
    return node.rename_type == _pb.OBJECT_TABLE and bool(find_sequence(change, node.relation))


def _rename_sequence(change: Change, node: Any) -> None:
    target = node.relation
    if node.missing_ok and find_sequence(change, target) is None:
        change.notice(f'relation "{target.relname}" does not exist, skipping')
        return
    found = sequence(change, target)
    if change.catalog.name_taken(found.schema, node.newname):
        raise relation_exists(node.newname)
    change.put(replace(found, name=node.newname))


async def _rename_in_table(change: Change, node: Any) -> None:
    if node.missing_ok and change.find_table(node.relation) is None:
        change.notice(f'relation "{node.relation.relname}" does not exist, skipping')
        return
    table = change.table(node.relation)
    await change.claim(table)
    if node.rename_type == _pb.OBJECT_TABLE:
        if change.catalog.name_taken(table.schema, node.newname):
            raise relation_exists(node.newname)
        change.put(replace(table, name=node.newname))
    elif node.rename_type == _pb.OBJECT_COLUMN:
        change.put(_with_renamed_column(table, node.subname, node.newname))
    else:
        found = change.catalog.constraint_of(table, node.subname)
        if not isinstance(found, Index):
            raise SqlError(
                sqlstate.UNDEFINED_OBJECT,
                f'constraint "{node.subname}" for table "{table.name}" does not exist',
            )
        change.put(_with_renamed_index(change, table, found, node.newname))


def _with_renamed_column(table: Table, old: str, new: str) -> Table:
    if table.column(old) is None:
        raise SqlError(sqlstate.UNDEFINED_COLUMN, f'column "{old}" does not exist')
    if table.column(new) is not None:
        raise SqlError(
            sqlstate.DUPLICATE_COLUMN,
            f'column "{new}" of relation "{table.name}" already exists',
        )
    if new in SYSTEM_COLUMNS:
        raise SqlError(
            sqlstate.DUPLICATE_COLUMN, f'column name "{new}" conflicts with a system column name'
        )
    columns = tuple(
        replace(column, name=new) if column.name == old and not column.dropped else column
        for column in table.columns
    )
    return replace(table, columns=columns)


def _rename_index(change: Change, node: Any) -> None:
    target = node.relation
    path = change.execution.functions.search_path()
    found = change.catalog.index(target.relname, target.schemaname or None, search_path=path)
    if found is None:
        if not node.missing_ok:
            raise undefined_relation(target)
        change.notice(f'relation "{target.relname}" does not exist, skipping')
        return
    table, index = found
    change.put(_with_renamed_index(change, table, index, node.newname))


def _with_renamed_index(change: Change, table: Table, index: Index, new: str) -> Table:
    if change.catalog.name_taken(table.schema, new):
        raise relation_exists(new)
    indexes = tuple(replace(each, name=new) if each is index else each for each in table.indexes)
    return replace(table, indexes=indexes)
