"""FOR UPDATE, FOR NO KEY UPDATE, FOR SHARE, FOR KEY SHARE: marks on the range table."""

from dataclasses import replace

from sqlnode import tree
from sqlnode.analyse.locations import position
from sqlnode.analyse.state import Node
from sqlnode.catalog.catalog import is_sequence
from sqlnode.errors import SqlError

_STRENGTHS = {2: "key_share", 3: "share", 4: "no_key_update", 5: "update"}
NAMES = {2: "FOR KEY SHARE", 3: "FOR SHARE", 4: "FOR NO KEY UPDATE", 5: "FOR UPDATE"}
"""What a locking clause is called, by its strength in the parse tree."""
_WAITS = {1: "wait", 2: "skip_locked", 3: "nowait"}
_ORDER = ("key_share", "share", "no_key_update", "update")
_WAIT_ORDER = ("wait", "skip_locked", "nowait")


def apply(query: tree.Query, clauses: Node) -> tree.Query:
    """The query with its tables marked as the locking clauses say."""
    for item in clauses:
        clause = item.locking_clause
        name = NAMES[clause.strength]
        _check(query, name)
        lock = tree.RowLock(_STRENGTHS[clause.strength], _WAITS[clause.wait_policy])
        if not clause.locked_rels:
            query = _lock_all(query, lock)
        for relation in clause.locked_rels:
            query = _lock_named(query, relation.range_var, lock, name)
    return query


def _check(query: tree.Query, name: str) -> None:
    refused = (
        (query.set_operation is not None, "UNION/INTERSECT/EXCEPT"),
        (query.distinct_on is not None, "DISTINCT clause"),
        (bool(query.group_by), "GROUP BY clause"),
        (query.having is not None, "HAVING clause"),
        (query.has_aggregates, "aggregate functions"),
    )
    for found, what in refused:
        if found:
            raise SqlError("0A000", f"{name} is not allowed with {what}")


def _lock_all(query: tree.Query, lock: tree.RowLock) -> tree.Query:
    entries = tuple(_locked(entry, lock) for entry in query.rtable)
    return replace(query, rtable=entries)


def _locked(entry: tree.RangeEntry, lock: tree.RowLock) -> tree.RangeEntry:
    source = entry.source
    if isinstance(source, tree.RelationSource):
        if is_sequence(source.table):
            raise SqlError("42809", f'cannot lock rows in sequence "{source.table.name}"')
        if source.table.virtual:
            return entry
        return replace(entry, source=replace(source, locked=_stronger(source.locked, lock)))
    if isinstance(source, tree.SubquerySource):
        return replace(entry, source=replace(source, query=_lock_all(source.query, lock)))
    return entry


def _stronger(one: tree.RowLock | None, other: tree.RowLock) -> tree.RowLock:
    if one is None:
        return other
    strength = max(one.strength, other.strength, key=_ORDER.index)
    return tree.RowLock(strength, max(one.wait, other.wait, key=_WAIT_ORDER.index))


def _lock_named(query: tree.Query, relation: Node, lock: tree.RowLock, name: str) -> tree.Query:
    where = position(relation.location)
    if relation.schemaname or relation.catalogname:
        message = f"{name} must specify unqualified relation names"
        raise SqlError("42601", message, position=where)
    for index, entry in enumerate(query.rtable):
        if entry.alias != relation.relname:
            continue
        source = entry.source
        what = {
            tree.FunctionSource: "a function",
            tree.ValuesSource: "VALUES",
            tree.CteSource: "a WITH query",
        }.get(type(source))
        if what is not None:
            message = f"{name} cannot be applied to {what}"
            raise SqlError("0A000", message, position=where)
        entries = list(query.rtable)
        entries[index] = _locked(entry, lock)
        return replace(query, rtable=tuple(entries))
    message = f'relation "{relation.relname}" in {name} clause not found in FROM clause'
    raise SqlError("42P01", message, position=where)
