"""ALTER TABLE: its subcommands in PostgreSQL's passes.

Drops come first, then new columns, then what changes columns, then constraints, whatever the order
in which they are written (src/backend/commands/tablecmds.c, AlterTablePass).
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import postgast

from proto import kv_pb2 as kv
from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Index, Table
from sqlnode.ddl import alter_columns
from sqlnode.ddl.build import build_index, check_rows, rewrite
from sqlnode.ddl.change import Change
from sqlnode.ddl.create_table import table_key
from sqlnode.ddl.identity import add_identity, drop_identity, set_identity
from sqlnode.ddl.indexing import with_keys
from sqlnode.ddl.options import storage_options
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Execution

_pb: Any = postgast.pg_query_pb2


async def alter_table(execution: Execution, node: Any) -> str:
    """ALTER TABLE: the command tag. Raises SqlError 42P01, 42701, 42703, 42P16, 235xx, 0A000."""
    if node.objtype != _pb.OBJECT_TABLE:
        kind = _pb.ObjectType.Name(node.objtype).removeprefix("OBJECT_").replace("_", " ")
        raise unsupported(f"ALTER {kind}")
    change = Change(execution)
    if node.missing_ok and change.find_table(node.relation) is None:
        change.notice(f'relation "{node.relation.relname}" does not exist, skipping')
        return "ALTER TABLE"
    target = change.table(node.relation)
    commands = [each.alter_table_cmd for each in node.cmds]
    for command in commands:
        if command.subtype not in _STEPS:
            name = _pb.AlterTableType.Name(command.subtype).removeprefix("AT_")
            raise unsupported(f"ALTER TABLE {name}")
    await change.claim(target, mode=max(_MODES.get(each.subtype, _STRONGEST) for each in commands))
    for command in sorted(commands, key=lambda each: _STEPS[each.subtype][0]):
        table = change.catalog.table_by_oid(target.oid)
        if table is None:
            raise RuntimeError("a table went away under its own ALTER TABLE")
        change.put(await _STEPS[command.subtype][1](change, table, command))
    change.finish()
    return "ALTER TABLE"


async def _add_constraint(change: Change, table: Table, command: Any) -> Table:
    constraint = getattr(command, "def").constraint
    if constraint.indexname:
        raise unsupported("USING INDEX")
    after = with_keys(change, table, [table_key(constraint)])
    index = after.indexes[-1]
    if index.primary:
        return await rewrite(change, table, after)
    await build_index(change, table, index)
    return after


async def _drop_constraint(change: Change, table: Table, command: Any) -> Table:
    found = change.catalog.constraint_of(table, command.name)
    if not isinstance(found, Index):
        text = f'constraint "{command.name}" of relation "{table.name}" does not exist'
        if not command.missing_ok:
            raise SqlError(sqlstate.UNDEFINED_OBJECT, text)
        change.notice(f"{text}, skipping")
        return table
    rest = tuple(each for each in table.indexes if each is not found)
    after = replace(table, indexes=rest)
    if found.primary:
        return await rewrite(change, table, after)
    change.retire(table, [found])
    return after


async def _set_not_null(change: Change, table: Table, command: Any) -> Table:
    after = alter_columns.with_not_null(table, command.name)
    if after is not table:
        await check_rows(change, table, after)
    return after


async def _set_options(change: Change, table: Table, command: Any) -> Table:
    del change
    given = storage_options(getattr(command, "def").list.items)
    names = {each.partition("=")[0] for each in given}
    kept = [each for each in table.options if each.partition("=")[0] not in names]
    return replace(table, options=(*kept, *given))


_Step = Callable[[Change, Table, Any], Awaitable[Table]]
_STEPS: dict[int, tuple[int, _Step]] = {
    _pb.AT_DropColumn: (0, alter_columns.drop_column),
    _pb.AT_DropConstraint: (0, _drop_constraint),
    _pb.AT_AddColumn: (1, alter_columns.add_column),
    _pb.AT_ColumnDefault: (2, alter_columns.set_default),
    _pb.AT_DropNotNull: (2, alter_columns.drop_not_null),
    _pb.AT_SetNotNull: (2, _set_not_null),
    _pb.AT_AddConstraint: (3, _add_constraint),
    _pb.AT_AddIdentity: (2, add_identity),
    _pb.AT_SetIdentity: (2, set_identity),
    _pb.AT_DropIdentity: (2, drop_identity),
    _pb.AT_SetRelOptions: (4, _set_options),
}
_STRONGEST = kv.ACCESS_EXCLUSIVE
_MODES = {_pb.AT_SetRelOptions: kv.SHARE_UPDATE_EXCLUSIVE}
"""The table's lock where it is weaker than the strongest (AlterTableGetLockLevel)."""
