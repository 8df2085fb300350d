"""CREATE SCHEMA, and renaming one."""

from dataclasses import replace
from typing import Any

import postgast

from sqlnode import sqlstate
from sqlnode.catalog.catalog import Schema
from sqlnode.ddl.change import Change, undefined_schema
from sqlnode.ddl.sequences import find_sequence, sequence
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Execution

_pb: Any = postgast.pg_query_pb2


async def create_schema(execution: Execution, node: Any) -> str:
    """CREATE SCHEMA: the command tag. Raises SqlError 42P06, 42939, 42704, 0A000."""
    if node.schema_elts:
        raise unsupported("CREATE SCHEMA with objects in it")
    change = await Change.begin(execution)
    owner = _owner(execution, node)
    name = node.schemaname or owner or execution.functions.current_user
    check_name(name)
    if name in change.catalog.schemas:
        if not node.if_not_exists:
            raise _exists(name)
        change.notice(f'schema "{name}" already exists, skipping', "42P06")
        return "CREATE SCHEMA"
    made = Schema(change.new_oid(), name, owner)
    change.put_schemas({**change.catalog.user_schemas, name: made})
    change.finish()
    return "CREATE SCHEMA"


def rename_schema(change: Change, old: str, new: str) -> None:
    """ALTER SCHEMA … RENAME TO. Raises SqlError 3F000, 42P06, 42939."""
    schema = change.catalog.user_schemas.get(old)
    if schema is None:
        raise undefined_schema(old)
    check_name(new)
    if new in change.catalog.schemas:
        raise _exists(new)
    inside = [table for table in change.catalog.tables.values() if table.schema == old]
    numbers = [each for each in change.catalog.sequences.values() if each.schema == old]
    change.put(*[replace(table, schema=new) for table in inside])
    change.put(*[replace(sequence, schema=new) for sequence in numbers])
    rest = {key: each for key, each in change.catalog.user_schemas.items() if key != old}
    change.put_schemas({**rest, new: replace(schema, name=new)})


async def set_schema(execution: Execution, node: Any) -> str:
    """ALTER SEQUENCE … SET SCHEMA: the command tag. Raises SqlError 42P01, 42P07, 3F000, 0A000."""
    if node.object_type != _pb.OBJECT_SEQUENCE:
        kind = _pb.ObjectType.Name(node.object_type).removeprefix("OBJECT_").replace("_", " ")
        raise unsupported(f"ALTER {kind} SET SCHEMA")
    change = await Change.begin(execution)
    if node.missing_ok and find_sequence(change, node.relation) is None:
        change.notice(f'relation "{node.relation.relname}" does not exist, skipping')
        return "ALTER SEQUENCE"
    found = sequence(change, node.relation)
    owner = change.catalog.table_by_oid(found.table) if found.table else None
    if owner is not None:
        raise SqlError(
            sqlstate.FEATURE_NOT_SUPPORTED,
            "cannot move an owned sequence into another schema",
            detail=f'Sequence "{found.name}" is linked to table "{owner.name}".',
        )
    schema = node.newschema
    if schema not in change.catalog.schemas:
        raise undefined_schema(schema)
    if schema != found.schema and change.catalog.name_taken(schema, found.name):
        text = f'relation "{found.name}" already exists in schema "{schema}"'
        raise SqlError(sqlstate.DUPLICATE_TABLE, text)
    change.put(replace(found, schema=schema))
    change.finish()
    return "ALTER SEQUENCE"


def check_name(name: str) -> None:
    """Raises SqlError 42939 for a name that is the system's."""
    if name.startswith("pg_"):
        raise SqlError(
            sqlstate.RESERVED_NAME,
            f'unacceptable schema name "{name}"',
            detail='The prefix "pg_" is reserved for system schemas.',
        )


def _owner(execution: Execution, node: Any) -> str:
    if not node.HasField("authrole"):
        return ""
    name = node.authrole.rolename
    if not name:
        return ""
    functions = execution.functions
    if name != functions.session_user and execution.catalog.role_oid(name) is None:
        raise SqlError(sqlstate.UNDEFINED_OBJECT, f'role "{name}" does not exist')
    return "" if name == functions.session_user else str(name)


def _exists(name: str) -> SqlError:
    return SqlError(sqlstate.DUPLICATE_SCHEMA, f'schema "{name}" already exists')
