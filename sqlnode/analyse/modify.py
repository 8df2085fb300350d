"""What INSERT, UPDATE and DELETE share: their target table and RETURNING."""

from sqlnode import tree
from sqlnode.analyse import relations, targets
from sqlnode.analyse.locations import position
from sqlnode.analyse.namespace import NamespaceItem
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.catalog.catalog import is_sequence
from sqlnode.catalog.descriptors import Table
from sqlnode.errors import SqlError, unsupported


def target(state: State, node: Node) -> tuple[Table, NamespaceItem]:
    """The table to write, as the first entry of the range table."""
    if not node.schemaname and any(entry.name == node.relname for entry in state.ctes):
        message = f'relation "{node.relname}" cannot be the target of a modifying statement'
        raise SqlError("42P01", message, position=position(node.location))
    table = relations.lookup(state, node)
    if is_sequence(table):
        raise SqlError("42809", f'cannot change sequence "{table.name}"')
    if table.virtual:
        message = f'permission denied: "{table.name}" is a system catalog'
        raise SqlError("42501", message)
    return table, relations.entry_for(state, table, node)


def returning(state: State, node: Node) -> tuple[tree.Target, ...]:
    """RETURNING's columns, () if there is none."""
    if not node.HasField("returning_clause"):
        return ()
    clause = node.returning_clause
    if clause.options:
        raise unsupported("RETURNING WITH")
    found = targets.target_list(state, clause.exprs, ExprKind.RETURNING)
    targets.resolve_unknowns(state, found)
    return tuple(found)
