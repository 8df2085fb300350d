"""ON CONFLICT: the unique index that decides, and what to do about the row in the way."""

from dataclasses import replace

from sqlnode import tree
from sqlnode.analyse import clauses, namespace, update
from sqlnode.analyse.dispatch import present
from sqlnode.analyse.locations import position
from sqlnode.analyse.namespace import NamespaceItem
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.catalog.descriptors import Table
from sqlnode.errors import SqlError, unsupported

_UPDATE = 3


def on_conflict(
    state: State, node: Node, table: Table, item: NamespaceItem
) -> tree.OnConflict | None:
    """An INSERT's ON CONFLICT, None if it has none."""
    if not node.HasField("on_conflict_clause"):
        return None
    clause = node.on_conflict_clause
    updates = clause.action == _UPDATE
    index: int | None = None
    if clause.HasField("infer"):
        index = _arbiter(table, clause.infer)
    elif updates:
        raise SqlError(
            "42601",
            "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            hint="For example, ON CONFLICT (column_name).",
            position=position(clause.location),
        )
    if not updates:
        return tree.OnConflict(index)
    excluded = tree.RangeEntry(
        "excluded", tree.RelationSource(table), state.entries[item.entry].columns
    )
    at = state.add_entry(excluded)
    proposed = namespace.item_of(excluded, at, table=table, aliased=True)
    state.namespace = [replace(item), proposed]
    assignments = update.assignments(state, table, clause.target_list)
    where = clauses.condition(state, clause.where_clause, ExprKind.WHERE)
    return tree.OnConflict(index, assignments, where, at)


def _arbiter(table: Table, infer: Node) -> int:
    """OID of the unique index that the inference clause names; 42P10 if there is none."""
    if infer.conname:
        for index in table.indexes:
            if index.name == infer.conname and index.constraint_oid:
                return index.oid
        message = f'constraint "{infer.conname}" for table "{table.name}" does not exist'
        raise SqlError("42704", message)
    if present(infer.where_clause):
        raise unsupported("ON CONFLICT with an index predicate", position=infer.location)
    wanted: set[int] = set()
    for node in infer.index_elems:
        element = node.index_elem
        if not element.name:
            raise unsupported("ON CONFLICT on an expression", position=infer.location)
        if element.collation or element.opclass:
            raise unsupported("ON CONFLICT with COLLATE or operator class", position=infer.location)
        column = table.column(element.name)
        if column is None:
            message = f'column "{element.name}" does not exist'
            raise SqlError("42703", message, position=position(infer.location))
        wanted.add(column.number)
    for index in table.indexes:
        if index.unique and {column.number for column in index.columns} == wanted:
            return index.oid
    message = "there is no unique or exclusion constraint matching the ON CONFLICT specification"
    raise SqlError("42P10", message)
