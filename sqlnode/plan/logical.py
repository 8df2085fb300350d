"""The logical form that rewrite rules work on: a SELECT block with one join tree.

The analysed tree's list of FROM items becomes one tree of joins; SEMI and ANTI joins, which SQL
cannot write, come from sub-selects in WHERE. Conditions are lists of conjuncts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from sqlnode import tree
from sqlnode.plan.expressions import Expr
from sqlnode.plan.walk import conjuncts


class Kind(Enum):
    """Joins, with those that only a planner makes. A RIGHT join is a LEFT join turned around."""

    INNER = "inner"
    LEFT = "left"
    FULL = "full"
    SEMI = "semi"
    ANTI = "anti"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A range table entry."""

    entry: int


@dataclass(frozen=True, slots=True)
class Join:
    """A join; `on` are conjuncts."""

    kind: Kind
    left: From
    right: From
    on: tuple[Expr, ...] = ()


From = Leaf | Join


@dataclass(frozen=True, slots=True)
class Block:
    """A SELECT (or the reading part of an UPDATE or DELETE) between rewriting and planning.

    `query`'s own rtable, FROM and WHERE are superseded by the fields here.
    """

    query: tree.Query
    rtable: tuple[tree.RangeEntry, ...]
    root: From | None
    where: tuple[Expr, ...]


def entries_left_out(root: From | None) -> frozenset[int]:
    """The entries that an outer join may leave out of a row."""
    if root is None or isinstance(root, Leaf):
        return frozenset()
    left, right = entries_left_out(root.left), entries_left_out(root.right)
    if root.kind is Kind.FULL:
        left = entries_under(root.left)
    if root.kind in (Kind.LEFT, Kind.FULL):
        right = entries_under(root.right)
    return left | right


_KINDS = {
    tree.JoinKind.INNER: Kind.INNER,
    tree.JoinKind.LEFT: Kind.LEFT,
    tree.JoinKind.FULL: Kind.FULL,
}


def block_of(query: tree.Query) -> Block:
    """The logical form of a query's FROM and WHERE."""
    root: From | None = None
    for item in query.from_items:
        node = _from(item)
        root = node if root is None else Join(Kind.INNER, root, node)
    return Block(query, query.rtable, root, conjuncts(query.where))


def _from(item: tree.FromItem) -> From:
    if isinstance(item, tree.Leaf):
        return Leaf(item.entry)
    left, right = _from(item.left), _from(item.right)
    if item.kind is tree.JoinKind.RIGHT:
        return Join(Kind.LEFT, right, left, conjuncts(item.on))
    return Join(_KINDS[item.kind], left, right, conjuncts(item.on))


def entries_under(node: From) -> frozenset[int]:
    """The range table entries below a join tree node."""
    if isinstance(node, Leaf):
        return frozenset((node.entry,))
    return entries_under(node.left) | entries_under(node.right)


def output_entries(node: From) -> frozenset[int]:
    """The entries whose columns a join tree node gives (not those a SEMI or ANTI join hides)."""
    if isinstance(node, Leaf):
        return frozenset((node.entry,))
    if node.kind in (Kind.SEMI, Kind.ANTI):
        return output_entries(node.left)
    return output_entries(node.left) | output_entries(node.right)


def replace_leaf(node: From, entry: int, new: From) -> From:
    """The tree with the leaf of `entry` replaced."""
    if isinstance(node, Leaf):
        return new if node.entry == entry else node
    return replace(
        node,
        left=replace_leaf(node.left, entry, new),
        right=replace_leaf(node.right, entry, new),
    )
