"""The rewrite rules in the order in which they run."""

from collections.abc import Callable

from sqlnode import tree
from sqlnode.plan.logical import Block, block_of
from sqlnode.plan.rules.fold_constants import fold_constants
from sqlnode.plan.rules.infer_equalities import infer_equalities
from sqlnode.plan.rules.pull_up_sublinks import pull_up_sublinks
from sqlnode.plan.rules.pull_up_subqueries import pull_up_subqueries
from sqlnode.plan.rules.reduce_outer_joins import reduce_outer_joins

BLOCK_RULES: tuple[Callable[[Block], Block], ...] = (
    pull_up_sublinks,
    pull_up_subqueries,
    reduce_outer_joins,
    infer_equalities,
)
"""Sub-selects become joins first, so that what they hold can be merged and reduced in turn."""


def fold_query(query: tree.Query) -> tree.Query:
    """The rule that runs once over the whole statement."""
    return fold_constants(query)


def rewritten(query: tree.Query, *, optimize: bool) -> Block:
    """A query's logical form after the rules."""
    block = block_of(query)
    for rule in BLOCK_RULES if optimize else ():
        block = rule(block)
    return block
