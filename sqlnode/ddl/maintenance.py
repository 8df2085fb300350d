"""VACUUM, ANALYZE and COMMENT ON.

VACUUM has nothing to do: storage collects superseded versions by itself. ANALYZE counts the rows,
which is what pg_class.reltuples and the planner want to know.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import postgast

from proto import kv_pb2 as kv
from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Table
from sqlnode.ddl.build import count_rows
from sqlnode.ddl.change import Change, undefined_column, undefined_schema
from sqlnode.ddl.drop import target_of
from sqlnode.ddl.sequences import sequence
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Execution

_pb: Any = postgast.pg_query_pb2


async def vacuum(execution: Execution, node: Any) -> str:
    """VACUUM and ANALYZE: the command tag. Raises SqlError 42P01, 42703.

    (That VACUUM refuses a transaction block is the session's to say.)
    """
    tag = "VACUUM" if node.is_vacuumcmd else "ANALYZE"
    analyses = tag == "ANALYZE" or any(
        each.def_elem.defname == "analyze" and _is_on(each.def_elem) for each in node.options
    )
    change = Change(execution)
    tables = _relations(change, node)
    if execution.transaction.read_only:
        return tag
    await change.lock(*tables, mode=kv.SHARE_UPDATE_EXCLUSIVE)
    if not analyses:
        return tag
    counts = {table.oid: await count_rows(execution, table) for table in tables}
    await change.alone()
    change.put(*_with_counts(change, counts))
    change.finish()
    return tag


def _relations(change: Change, node: Any) -> list[Table]:
    if not node.rels:
        return list(change.catalog.tables.values())
    found = []
    for wrapped in node.rels:
        relation = wrapped.vacuum_relation
        table = change.find_table(relation.relation)
        if table is not None and table.virtual:
            continue
        table = change.table(relation.relation)
        for column in relation.va_cols:
            if table.column(column.string.sval) is None:
                raise undefined_column(table, column.string.sval)
        found.append(table)
    return found


def _with_counts(change: Change, counts: dict[int, int]) -> Iterable[Table]:
    for oid, count in counts.items():
        table = change.catalog.table_by_oid(oid)
        if table is not None and table.rows_estimate != count:
            yield replace(table, rows_estimate=float(count))


def _is_on(option: Any) -> bool:
    argument = option.arg
    kind = argument.WhichOneof("node")
    if kind is None:
        return True
    inner = getattr(argument, kind)
    if kind == "boolean":
        return bool(inner.boolval)
    if kind == "integer":
        return bool(inner.ival != 0)
    return inner.sval.lower() not in ("off", "false", "no", "0")


async def comment(execution: Execution, node: Any) -> str:
    """COMMENT ON a table, column, sequence or schema: the command tag.

    Raises SqlError 42P01, 42703, 0A000.
    """
    change = Change(execution)
    text = node.comment or None
    if node.objtype == _pb.OBJECT_TABLE:
        table = change.table(target_of(node.object))
        await change.claim(table, mode=kv.SHARE_UPDATE_EXCLUSIVE)
        change.put(replace(table, comment=text))
    elif node.objtype == _pb.OBJECT_SEQUENCE:
        await change.alone()
        change.put(replace(sequence(change, target_of(node.object)), comment=text))
    elif node.objtype == _pb.OBJECT_COLUMN:
        renewed_table = _with_column_comment(change, node.object, text)
        await change.claim(renewed_table, mode=kv.SHARE_UPDATE_EXCLUSIVE)
        change.put(renewed_table)
    elif node.objtype == _pb.OBJECT_SCHEMA:
        await change.alone()
        name = node.object.string.sval
        schema = change.catalog.user_schemas.get(name)
        if schema is None:
            raise undefined_schema(name)
        renewed = replace(schema, comment=text)
        change.put_schemas({**change.catalog.user_schemas, name: renewed})
    else:
        kind = _pb.ObjectType.Name(node.objtype).removeprefix("OBJECT_").replace("_", " ")
        raise unsupported(f"COMMENT ON {kind}")
    change.finish()
    return "COMMENT"


def _with_column_comment(change: Change, wrapped: Any, text: str | None) -> Table:
    *path, name = [item.string.sval for item in wrapped.list.items]
    if not path:
        raise SqlError(sqlstate.SYNTAX_ERROR, "column name must be qualified")
    relation = _pb.RangeVar(relname=path[-1], schemaname=path[-2] if len(path) > 1 else "")
    table = change.table(relation)
    if table.column(name) is None:
        raise undefined_column(table, name)
    columns = tuple(
        replace(column, comment=text) if column.name == name and not column.dropped else column
        for column in table.columns
    )
    return replace(table, columns=columns)
