"""A simple sub-select in FROM becomes part of the query around it.

    SELECT s.x FROM (SELECT a + 1 AS x FROM t WHERE b) s WHERE s.x > 3
      →  SELECT t.a + 1 FROM t WHERE b AND t.a + 1 > 3

so that its tables take part in the choice of join order and access path. Simple means: nothing but
FROM, WHERE and targets that are neither volatile nor set-returning. On the side of an outer join
that may be missing, only plain columns are moved (an expression would not become NULL with the
row), and its WHERE joins the ON. FULL joins are left alone.
"""

from dataclasses import replace
from typing import Any

from sqlnode import tree
from sqlnode.plan.logical import Block, From, Join, Kind, Leaf, block_of, replace_leaf
from sqlnode.plan.walk import is_volatile, returns_set, rewrite, rewrite_query, shift_levels


def pull_up_subqueries(block: Block) -> Block:
    """Pull up every sub-select for which it is possible, innermost ones by repetition."""
    position = 0
    while position < len(block.rtable):
        source = block.rtable[position].source
        if isinstance(source, tree.SubquerySource) and block.root is not None:
            place = _place(block.root, position)
            if place is not None and is_simple(source.query):
                inner = block_of(source.query)
                if place == "row" or _plain_columns(inner):
                    block = _merge(block, position, inner, optional=place == "optional")
        position += 1
    return block


def is_simple(query: tree.Query) -> bool:
    """Whether a query is FROM, WHERE and targets alone."""
    return (
        query.command is tree.Command.SELECT
        and bool(query.from_items)
        and not query.group_by
        and query.having is None
        and query.distinct_on is None
        and not query.order_by
        and query.limit is None
        and query.offset is None
        and query.set_operation is None
        and not query.ctes
        and not query.has_aggregates
        and not any(t.junk or returns_set(t.expr) or is_volatile(t.expr) for t in query.targets)
        and not any(
            isinstance(entry.source, tree.RelationSource) and entry.source.locked is not None
            for entry in query.rtable
        )
    )


def _plain_columns(inner: Block) -> bool:
    return all(isinstance(t.expr, tree.Var) and not t.expr.levels_up for t in inner.query.targets)


def _place(node: From, entry: int, optional: str = "row") -> str | None:
    """`row`, or `optional` where an outer join may leave the entry out; None: keep off."""
    if isinstance(node, Leaf):
        return optional if node.entry == entry else None
    if node.kind is Kind.FULL:
        return None
    right = "optional" if node.kind is Kind.LEFT else optional
    return _place(node.left, entry, optional) or _place(node.right, entry, right)


def _merge(block: Block, position: int, inner: Block, *, optional: bool) -> Block:
    offset = len(block.rtable)
    inner = renumber(inner, offset)
    if block.root is None or inner.root is None:
        raise LookupError("a query without FROM cannot be merged")
    targets = [target.expr for target in inner.query.targets]

    def visit(node: Any, depth: int) -> Any:
        if not isinstance(node, tree.Var) or node.entry != position or node.levels_up != depth:
            return None
        return shift_levels(targets[node.column], depth)

    root = replace_leaf(block.root, position, inner.root)
    where = block.where
    if optional:
        root = _into_on(root, offset, inner)
    else:
        where = (*where, *inner.where)
    emptied = replace(block.query, rtable=(), from_items=(), where=None)
    return Block(
        query=rewrite_query(emptied, visit),
        rtable=tuple(rewrite_entry(entry, visit) for entry in (*block.rtable, *inner.rtable)),
        root=_rewrite_on(root, visit),
        where=tuple(rewrite(condition, visit) for condition in where),
    )


def _into_on(node: From, offset: int, inner: Block) -> From:
    """Put the inner WHERE into the ON of the nearest LEFT join whose right side it came to."""
    if isinstance(node, Leaf):
        return node
    if node.kind is Kind.LEFT and _holds(node.right, offset):
        below = _into_on(node.right, offset, inner)
        if below is not node.right:
            return replace(node, right=below)
        return replace(node, on=(*node.on, *inner.where))
    if _holds(node.right, offset):
        below = _into_on(node.right, offset, inner)
        return node if below is node.right else replace(node, right=below)
    below = _into_on(node.left, offset, inner)
    return node if below is node.left else replace(node, left=below)


def _holds(node: From, offset: int) -> bool:
    if isinstance(node, Leaf):
        return node.entry >= offset
    return _holds(node.left, offset) or _holds(node.right, offset)


def _rewrite_on(node: From, visit: Any) -> From:
    if isinstance(node, Leaf):
        return node
    return Join(
        node.kind,
        _rewrite_on(node.left, visit),
        _rewrite_on(node.right, visit),
        tuple(rewrite(condition, visit) for condition in node.on),
    )


def renumber(inner: Block, offset: int) -> Block:
    """An inner query's parts as they read in the query around it, its entries moved by `offset`."""

    def visit(node: Any, depth: int) -> Any:
        if isinstance(node, tree.Var):
            if node.levels_up == depth:
                return replace(node, entry=node.entry + offset)
            return replace(node, levels_up=node.levels_up - 1) if node.levels_up > depth else None
        if isinstance(node, tree.AggregateCall | tree.CteSource) and node.levels_up > depth:
            return shift_levels(node, -1) if depth == 0 else _outwards(node)
        return None

    emptied = replace(inner.query, rtable=(), from_items=(), where=None)
    return Block(
        query=rewrite_query(emptied, visit),
        rtable=tuple(rewrite_entry(entry, visit) for entry in inner.rtable),
        root=None if inner.root is None else _rewrite_on(_moved(inner.root, offset), visit),
        where=tuple(rewrite(condition, visit) for condition in inner.where),
    )


def _outwards(node: Any) -> Any:
    return replace(node, levels_up=node.levels_up - 1)


def _moved(node: From, offset: int) -> From:
    if isinstance(node, Leaf):
        return Leaf(node.entry + offset)
    return replace(node, left=_moved(node.left, offset), right=_moved(node.right, offset))


def rewrite_entry(entry: tree.RangeEntry, visit: Any) -> tree.RangeEntry:
    """A range table entry with `visit` applied to what its source reads."""
    shell = tree.Query(tree.Command.SELECT, rtable=(entry,))
    return rewrite_query(shell, visit).rtable[0]
