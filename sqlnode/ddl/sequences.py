"""CREATE SEQUENCE and ALTER SEQUENCE, and the sequences of serial and identity columns.

Where a sequence stands is storage's, and is not rolled back; what its numbers look like is in the
catalog, and is. RESTART gives it another generation, which begins with the first number: rolled
back, the old one goes on where it was.
"""

from dataclasses import replace
from typing import Any

from sqlnode import sqlstate
from sqlnode.catalog.descriptors import NumberSequence, Table
from sqlnode.ddl import sequence_options
from sqlnode.ddl.change import Change, relation_exists, undefined_column, undefined_relation
from sqlnode.ddl.sequence_options import Options
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Execution

_BOUNDS = frozenset({"as", "minvalue", "maxvalue", "increment"})


async def create_sequence(execution: Execution, node: Any) -> str:
    """CREATE SEQUENCE: the command tag. Raises SqlError 42P07, 22023, 42601, 3F000, 0A000."""
    target = node.sequence
    if target.relpersistence != "p":
        kind = "a temporary" if target.relpersistence == "t" else "an unlogged"
        raise unsupported(f"{kind} sequence")
    options = sequence_options.read(node.options)
    change = await Change.begin(execution)
    schema = change.schema_for_new(target)
    if change.catalog.name_taken(schema, target.relname):
        if not node.if_not_exists:
            raise relation_exists(target.relname)
        change.notice(f'relation "{target.relname}" already exists, skipping', "42P07")
        return "CREATE SEQUENCE"
    new = NumberSequence(change.new_oid(), target.relname, schema, generation=0)
    new = _owned(change, sequence_options.defined(new, options), options)
    change.put(replace(new, generation=await change.new_generation()))
    change.finish()
    return "CREATE SEQUENCE"


async def alter_sequence(execution: Execution, node: Any) -> str:
    """ALTER SEQUENCE: the command tag. Raises SqlError 42P01, 42809, 22023, 42601."""
    options = sequence_options.read(node.options)
    change = await Change.begin(execution)
    target = node.sequence
    if node.missing_ok and not _relation_exists(change, target):
        change.notice(f'relation "{target.relname}" does not exist, skipping')
        return "ALTER SEQUENCE"
    old = sequence(change, target)
    if options.owner is not None and old.identity:
        table = change.catalog.table_by_oid(old.table)
        raise SqlError(
            sqlstate.FEATURE_NOT_SUPPORTED,
            "cannot change ownership of identity sequence",
            detail=f'Sequence "{old.name}" is linked to table "{table.name if table else ""}".',
        )
    change.put(_owned(change, await altered(change, old, options), options))
    change.finish()
    return "ALTER SEQUENCE"


async def altered(change: Change, old: NumberSequence, options: Options) -> NumberSequence:
    """A sequence with other options. Raises SqlError 22023."""
    last = old.first
    if "restart" not in options and not _BOUNDS.isdisjoint(options.given):
        last, _, _ = await change.execution.functions.sequences.look(old)
    new, anew = sequence_options.changed(old, options, last)
    return await restarted(change, new) if anew else new


async def restarted(change: Change, sequence: NumberSequence) -> NumberSequence:
    """A sequence that begins anew with its `first`."""
    return replace(sequence, generation=await change.new_generation())


def sequence(change: Change, target: Any) -> NumberSequence:
    """The sequence a RangeVar names. Raises SqlError 42P01, 42809."""
    found = find_sequence(change, target)
    if found is not None:
        return found
    if _relation_exists(change, target):
        raise SqlError(sqlstate.WRONG_OBJECT_TYPE, f'"{target.relname}" is not a sequence')
    raise undefined_relation(target)


def find_sequence(change: Change, target: Any) -> NumberSequence | None:
    """The sequence a RangeVar names, None if there is none."""
    path = change.execution.functions.search_path()
    return change.catalog.sequence(target.relname, target.schemaname or None, search_path=path)


def _relation_exists(change: Change, target: Any) -> bool:
    path = change.execution.functions.search_path()
    schema = target.schemaname or None
    return change.catalog.relation_oid(target.relname, schema, path) is not None


def _owned(change: Change, sequence: NumberSequence, options: Options) -> NumberSequence:
    """The sequence with the owner that OWNED BY names, if it names one."""
    if options.owner is None:
        return sequence
    *path, name = options.owner
    if not path:
        if name != "none":
            raise SqlError(
                sqlstate.SYNTAX_ERROR,
                "invalid OWNED BY option",
                hint="Specify OWNED BY table.column or OWNED BY NONE.",
            )
        return replace(sequence, table=0, column=0)
    table = _owner(change, path)
    if table.schema != sequence.schema:
        raise SqlError(
            sqlstate.OBJECT_NOT_IN_PREREQUISITE_STATE,
            "sequence must be in same schema as table it is linked to",
        )
    column = table.column(name)
    if column is None:
        raise undefined_column(table, name)
    return replace(sequence, table=table.oid, column=column.number)


def _owner(change: Change, path: list[str]) -> Table:
    schema = path[-2] if len(path) > 1 else None
    search_path = change.execution.functions.search_path()
    table = change.catalog.relation(path[-1], schema, search_path=search_path)
    if table is not None:
        change.refuse_system(table)
        return table
    if change.catalog.relation_oid(path[-1], schema, search_path) is None:
        shown = ".".join(path)
        raise SqlError(sqlstate.UNDEFINED_TABLE, f'relation "{shown}" does not exist')
    kind = "sequences" if change.catalog.sequence(path[-1], schema, search_path=search_path) else ""
    raise SqlError(
        sqlstate.WRONG_OBJECT_TYPE,
        f'sequence cannot be owned by relation "{path[-1]}"',
        detail=f"This operation is not supported for {kind or 'indexes'}.",
    )
