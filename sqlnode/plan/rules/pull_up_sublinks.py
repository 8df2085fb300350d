"""EXISTS, NOT EXISTS and IN in WHERE become semi and anti joins.

    WHERE EXISTS (SELECT … FROM u WHERE u.x = t.x AND p)   →   t SEMI JOIN u ON u.x = t.x AND p
    WHERE NOT EXISTS (…)                                   →   t ANTI JOIN u ON …
    WHERE t.x IN (SELECT y FROM u …)                       →   t SEMI JOIN u ON t.x = y AND …

Only top-level conjuncts: there a row for which the answer is unknown is dropped like one for which
it is false. NOT IN stays a sub-select, for one NULL among the values makes it unknown for every
row, which no anti join does. So does a correlated IN whose sub-select is more than FROM and WHERE.
"""

from dataclasses import replace
from typing import Any

from sqlnode import tree
from sqlnode.plan.logical import Block, From, Join, Kind, Leaf, block_of
from sqlnode.plan.rules.pull_up_subqueries import is_simple, renumber
from sqlnode.plan.walk import (
    conjuncts,
    has_sublink,
    is_volatile,
    reads_outside,
    rewrite,
    shift_levels,
)


def pull_up_sublinks(block: Block) -> Block:
    """Turn every sub-select in WHERE for which it is safe into a join."""
    if block.query.command is not tree.Command.SELECT:
        # UPDATE and DELETE repeat WHERE on rows that changed meanwhile; a join has no such test.
        return block
    kept: list[Any] = []
    for condition in block.where:
        pulled = _pull(replace(block, where=()), condition)
        if pulled is None:
            kept.append(condition)
        else:
            block = replace(pulled, where=())
    return replace(block, where=tuple(kept))


def _pull(block: Block, condition: Any) -> Block | None:
    negated = isinstance(condition, tree.BoolExpr) and condition.op is tree.BoolOp.NOT
    link = condition.args[0] if negated else condition
    if not isinstance(link, tree.SubLink) or block.root is None or is_volatile(link.query):
        return None
    if link.kind is tree.SubLinkKind.EXISTS:
        return _exists(block, link, Kind.ANTI if negated else Kind.SEMI)
    if link.kind is tree.SubLinkKind.ANY and not negated:
        return _any(block, link)
    return None


def _exists(block: Block, link: tree.SubLink, kind: Kind) -> Block | None:
    if not is_simple(link.query):
        return None
    return _joined(block, block_of(link.query), kind, ())


def _any(block: Block, link: tree.SubLink) -> Block | None:
    if link.test is None or has_sublink(link.test):
        return None
    if is_simple(link.query):
        inner = renumber(block_of(link.query), len(block.rtable))
        columns = [target.expr for target in inner.query.targets]
        return _joined(block, block_of(link.query), Kind.SEMI, (_on(link.test, columns),))
    if reads_outside(link.query):
        return None
    number = len(block.rtable)
    outputs = [target for target in link.query.targets if not target.junk]
    columns = [
        tree.Var(number, position, target.expr.type, target.expr.typmod)
        for position, target in enumerate(outputs)
    ]
    entry = tree.RangeEntry(
        "ANY_subquery",
        tree.SubquerySource(link.query),
        tuple(tree.OutputColumn(t.name, t.expr.type, t.expr.typmod) for t in outputs),
    )
    if block.root is None:
        return None
    root = Join(Kind.SEMI, block.root, Leaf(number), conjuncts(_on(link.test, columns)))
    return replace(block, rtable=(*block.rtable, entry), root=root)


def _on(test: Any, columns: list[Any]) -> Any:
    def visit(node: Any, depth: int) -> Any:
        if isinstance(node, tree.SubLinkColumn):
            return shift_levels(columns[node.column], depth)
        return None

    return rewrite(test, visit)


def _joined(block: Block, inner: Block, kind: Kind, on: tuple[Any, ...]) -> Block | None:
    inner = renumber(inner, len(block.rtable))
    if block.root is None or inner.root is None:
        return None
    conditions = tuple(part for condition in on for part in conjuncts(condition))
    right: From = inner.root
    return replace(
        block,
        rtable=(*block.rtable, *inner.rtable),
        root=Join(kind, block.root, right, (*conditions, *inner.where)),
    )
