"""DROP TABLE, DROP SEQUENCE, DROP INDEX, DROP SCHEMA."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import postgast

from sqlnode import sqlstate
from sqlnode.catalog.descriptors import NumberSequence, Table
from sqlnode.ddl.change import Change, undefined_schema
from sqlnode.ddl.dependents import drop_all, shown_name
from sqlnode.ddl.sequences import find_sequence
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Execution

_pb: Any = postgast.pg_query_pb2


async def drop(execution: Execution, node: Any) -> str:
    """DROP of a supported kind of object: the command tag. Raises SqlError."""
    handlers = {
        _pb.OBJECT_TABLE: (_drop_tables, "DROP TABLE"),
        _pb.OBJECT_INDEX: (_drop_indexes, "DROP INDEX"),
        _pb.OBJECT_SCHEMA: (_drop_schemas, "DROP SCHEMA"),
        _pb.OBJECT_SEQUENCE: (_drop_sequences, "DROP SEQUENCE"),
    }
    handler, tag = handlers.get(node.remove_type, (None, ""))
    if handler is None:
        kind = _pb.ObjectType.Name(node.remove_type).removeprefix("OBJECT_").replace("_", " ")
        if node.missing_ok and kind in ("VIEW", "MATVIEW", "TYPE", "FUNCTION"):
            return _nothing_dropped(execution, node, kind)
        raise unsupported(f"DROP {kind}")
    change = Change(execution)
    await handler(change, node)
    change.finish()
    return tag


def _nothing_dropped(execution: Execution, node: Any, kind: str) -> str:
    """DROP … IF EXISTS of a kind there are none of."""
    shown = "MATERIALIZED VIEW" if kind == "MATVIEW" else kind
    for each in node.objects:
        if kind == "FUNCTION":
            name = f"{each.object_with_args.objname[-1].string.sval}()"
        elif kind == "TYPE":
            name = each.type_name.names[-1].string.sval
        else:
            name = target_of(each).relname
        message = f'{shown.lower()} "{name}" does not exist, skipping'
        execution.notices.append(("NOTICE", "00000", message))
    return f"DROP {shown}"


def target_of(wrapped: Any) -> Any:
    """The parts of a qualified name as a RangeVar has them."""
    *schema, name = [item.string.sval for item in wrapped.list.items]
    return SimpleNamespace(relname=name, schemaname=schema[-1] if schema else "")


async def _drop_tables(change: Change, node: Any) -> None:
    gone: list[Table] = []
    for wrapped in node.objects:
        target = target_of(wrapped)
        table = change.find_table(target)
        if table is not None:
            change.refuse_system(table)
            if table not in gone:
                gone.append(table)
        elif _index(change, target) is not None or find_sequence(change, target) is not None:
            raise _wrong_kind(change, target, "a table")
        else:
            _missing(change, node, target, "table", sqlstate.UNDEFINED_TABLE)
    await drop_all(change, gone, (), what=_what(change, "table", gone), cascade=_cascades(node))


async def _drop_sequences(change: Change, node: Any) -> None:
    gone: list[NumberSequence] = []
    for wrapped in node.objects:
        target = target_of(wrapped)
        found = find_sequence(change, target)
        if found is not None:
            _refuse_identity(change, found)
            if found not in gone:
                gone.append(found)
        elif change.find_table(target) is not None or _index(change, target) is not None:
            raise _wrong_kind(change, target, "a sequence")
        else:
            _missing(change, node, target, "sequence", sqlstate.UNDEFINED_TABLE)
    await drop_all(change, (), gone, what=_what(change, "sequence", gone), cascade=_cascades(node))


def _wrong_kind(change: Change, target: Any, wanted: str) -> SqlError:
    """42809 for a relation that is there, but is not what is to be dropped."""
    kind = "index" if _index(change, target) is not None else "table"
    kind = "sequence" if find_sequence(change, target) is not None else kind
    article = "an" if kind == "index" else "a"
    return SqlError(
        sqlstate.WRONG_OBJECT_TYPE,
        f'"{target.relname}" is not {wanted}',
        hint=f"Use DROP {kind.upper()} to remove {article} {kind}.",
    )


def _refuse_identity(change: Change, sequence: NumberSequence) -> None:
    table = change.catalog.table_by_oid(sequence.table) if sequence.identity else None
    if table is None:
        return
    column = next(each for each in table.columns if each.number == sequence.column)
    what = f"column {column.name} of table {shown_name(change, table)}"
    raise SqlError(
        sqlstate.DEPENDENT_OBJECTS_STILL_EXIST,
        f"cannot drop sequence {shown_name(change, sequence)} because {what} requires it",
        hint=f"You can drop {what} instead.",
    )


def _what(change: Change, kind: str, gone: Sequence[Table | NumberSequence]) -> str:
    """How an error calls what is to be dropped."""
    return f"{kind} {shown_name(change, gone[0])}" if len(gone) == 1 else "desired object(s)"


def _cascades(node: Any) -> bool:
    return bool(node.behavior == _pb.DROP_CASCADE)


async def _drop_indexes(change: Change, node: Any) -> None:
    indexes = [_index(change, target_of(wrapped)) for wrapped in node.objects]
    await change.claim(*dict.fromkeys(each[0] for each in indexes if each is not None))
    for wrapped in node.objects:
        target = target_of(wrapped)
        found = _index(change, target)
        if found is None:
            if change.find_table(target) is not None or find_sequence(change, target) is not None:
                raise _wrong_kind(change, target, "an index")
            _missing(change, node, target, "index", sqlstate.UNDEFINED_OBJECT)
            continue
        table, index = found
        if index.constraint_oid:
            what = f"constraint {index.name} on table {table.name}"
            raise SqlError(
                sqlstate.DEPENDENT_OBJECTS_STILL_EXIST,
                f"cannot drop index {index.name} because {what} requires it",
                hint=f"You can drop {what} instead.",
            )
        change.retire(table, [index])
        rest = tuple(each for each in table.indexes if each is not index)
        change.put(replace(table, indexes=rest))


def _index(change: Change, target: Any) -> Any:
    path = change.execution.functions.search_path()
    return change.catalog.index(target.relname, target.schemaname or None, search_path=path)


def _missing(change: Change, node: Any, target: Any, kind: str, code: str) -> None:
    schema = target.schemaname
    if schema and schema not in change.catalog.schemas:
        if not node.missing_ok:
            raise undefined_schema(schema)
        change.notice(f'schema "{schema}" does not exist, skipping')
        return
    if not node.missing_ok:
        raise SqlError(code, f'{kind} "{target.relname}" does not exist')
    change.notice(f'{kind} "{target.relname}" does not exist, skipping')


async def _drop_schemas(change: Change, node: Any) -> None:
    names = {wrapped.string.sval for wrapped in node.objects}
    inside = [each for each in change.catalog.tables.values() if each.schema in names]
    if _cascades(node):
        await change.lock(*sorted(inside, key=lambda table: table.oid))
    await change.alone()
    for wrapped in node.objects:
        name = wrapped.string.sval
        schema = change.catalog.user_schemas.get(name)
        if schema is None:
            if name in change.catalog.schemas:
                raise SqlError(
                    sqlstate.DEPENDENT_OBJECTS_STILL_EXIST,
                    f"cannot drop schema {name} because it is required by the database system",
                )
            if not node.missing_ok:
                raise undefined_schema(name)
            change.notice(f'schema "{name}" does not exist, skipping')
            continue
        tables = [each for each in change.catalog.tables.values() if each.schema == name]
        numbers = [each for each in change.catalog.sequences.values() if each.schema == name]
        _check_dependents(change, node, name, tables, numbers)
        cascade = _cascades(node)
        await drop_all(change, tables, numbers, what=f"schema {name}", cascade=cascade)
        rest = {key: each for key, each in change.catalog.user_schemas.items() if key != name}
        change.put_schemas(rest)


def _check_dependents(
    change: Change, node: Any, name: str, tables: list[Table], numbers: list[NumberSequence]
) -> None:
    known = {table.oid for table in tables}
    inside: list[Table | NumberSequence] = [
        *tables,
        *[each for each in numbers if each.table not in known],
    ]
    inside.sort(key=lambda each: each.oid)
    shown = [
        f"{'table' if isinstance(each, Table) else 'sequence'} {shown_name(change, each)}"
        for each in inside
    ]
    if inside and node.behavior != _pb.DROP_CASCADE:
        raise SqlError(
            sqlstate.DEPENDENT_OBJECTS_STILL_EXIST,
            f"cannot drop schema {name} because other objects depend on it",
            detail="\n".join(f"{each} depends on schema {name}" for each in shown),
            hint="Use DROP ... CASCADE to drop the dependent objects too.",
        )
    if len(shown) == 1:
        change.notice(f"drop cascades to {shown[0]}")
    elif shown:
        change.notice(f"drop cascades to {len(shown)} other objects")
