"""A whole row becomes a record of its columns: `SELECT t FROM t` → `SELECT ROW(t.a, t.b)`.

After this rule nothing else in a plan has to know whole rows: columns are asked for, renumbered and
replaced one by one. What gets lost is whether an outer join has found a row; so the record of an
entry on the side that may be missing is marked, and NULL if all its fields are.
"""

from typing import Any

from sqlnode import tree
from sqlnode.plan.walk import rewrite_query


def expand_rows(query: tree.Query) -> tree.Query:
    """The whole statement without references to whole rows."""
    around: dict[int, tree.Query] = {}

    def visit(node: Any, depth: int) -> Any:
        if isinstance(node, tree.Query):
            around[depth] = node
        elif isinstance(node, tree.Var) and node.column == tree.WHOLE_ROW:
            return _record(node, around[depth - node.levels_up])
        return None

    return rewrite_query(query, visit)


def _record(row: tree.Var, query: tree.Query) -> tree.RowExpr:
    columns = query.rtable[row.entry].columns
    fields = tuple(
        tree.Var(row.entry, position, column.type, column.typmod, row.levels_up)
        for position, column in enumerate(columns)
    )
    names = tuple(column.name for column in columns)
    optional = any(_may_miss(item, row.entry) for item in query.from_items)
    return tree.RowExpr(fields, names, optional=optional, location=row.location)


_LEFT_MISSES = (tree.JoinKind.RIGHT, tree.JoinKind.FULL)
_RIGHT_MISSES = (tree.JoinKind.LEFT, tree.JoinKind.FULL)


def _may_miss(item: tree.FromItem, entry: int) -> bool:
    """Whether an outer join in `item` can leave the entry out."""
    if isinstance(item, tree.Leaf):
        return False
    for side, kinds in ((item.left, _LEFT_MISSES), (item.right, _RIGHT_MISSES)):
        if _holds(side, entry):
            return item.kind in kinds or _may_miss(side, entry)
    return False


def _holds(item: tree.FromItem, entry: int) -> bool:
    if isinstance(item, tree.Leaf):
        return item.entry == entry
    return _holds(item.left, entry) or _holds(item.right, entry)
