"""EXISTS asks whether there is a row, and nothing of what is in it.

    EXISTS (SELECT DISTINCT nextval('s') FROM t WHERE p ORDER BY 1 LIMIT 1)
      →  EXISTS (SELECT FROM t WHERE p)

Not for speed alone: what is left out is not called, so no number of `s` is taken. The rule, with
what it leaves alone, is PostgreSQL 15's (simplify_EXISTS_query in optimizer/plan/subselect.c), and
it holds in every plan.
"""

from dataclasses import replace
from typing import Any

from sqlnode import tree
from sqlnode.plan.rules.fold_constants import fold
from sqlnode.plan.walk import returns_set, rewrite_query


def simplify_exists(query: tree.Query) -> tree.Query:
    """The whole statement with every EXISTS reduced to what its answer depends on."""

    def visit(node: Any, depth: int) -> Any:
        if not isinstance(node, tree.SubLink) or node.kind is not tree.SubLinkKind.EXISTS:
            return None
        return replace(node, query=rewrite_query(_simplified(node.query), visit, depth + 1))

    return rewrite_query(query, visit)


def _simplified(query: tree.Query) -> tree.Query:
    if (
        query.set_operation is not None
        or query.has_aggregates
        or query.having is not None
        or query.offset is not None
        or any(returns_set(target.expr) for target in query.targets)
        or any(_counts(entry.source) for entry in query.rtable)
        or not _lets_a_row_through(query.limit)
    ):
        return query
    return replace(
        query,
        targets=(),
        group_by=(),
        distinct_on=None,
        order_by=(),
        limit=None,
        with_ties=False,
    )


def _counts(source: tree.Source) -> bool:
    """Whether it has locks to take, or decides from the select list how many rows there are."""
    if isinstance(source, tree.RelationSource):
        return source.locked is not None
    return isinstance(source, tree.FunctionSource) and source.listed


def _lets_a_row_through(limit: Any) -> bool:
    """Whether it is known now that LIMIT does not take away the first row."""
    if limit is None:
        return True
    limit = fold(limit)
    return isinstance(limit, tree.Const) and (limit.value is None or limit.value > 0)
