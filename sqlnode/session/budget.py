"""A session's side of a spend limit: what kind of statement it runs, and where it asks.

    a statement begins            Budget.enter       one comparison where nothing is limited
    a statement inside another    Budget.enter       EXECUTE, COPY (query) TO, EXPLAIN ANALYZE
    a checkpoint                  Budget.checkpoint

What wraps another statement is the session's own business, and the inner one is asked about.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlnode import tree
from sqlnode.session.pipeline import SESSION_KINDS
from sqlnode.spending.leave import Kind
from sqlnode.spending.spending import Spending

if TYPE_CHECKING:
    from sqlnode.session.pipeline import Planned

_KINDS = {
    "fetch_stmt": Kind.READ,
    "explain_stmt": Kind.READ,
    "drop_stmt": Kind.REMOVE,
    "truncate_stmt": Kind.REMOVE,
}


def kind_of(planned: "Planned") -> Kind:
    """What a statement does."""
    if planned.executable is not None:
        return _kind_of_query(planned) if planned.executable.writes else Kind.READ
    kind = planned.raw.kind
    if kind == "declare_cursor_stmt" and planned.inner is not None:
        return kind_of(planned.inner)
    if kind == "copy_stmt":
        return Kind.WRITE if planned.raw.node.is_from else Kind.SESSION
    return _KINDS.get(kind, Kind.SESSION if kind in SESSION_KINDS else Kind.WRITE)


def _kind_of_query(planned: "Planned") -> Kind:
    """Of a query that needs a transaction that may write: what all it modifies is deleted."""
    query = planned.statement
    if not isinstance(query, tree.Query):
        return Kind.WRITE
    # Only the outermost WITH may modify.
    commands = {query.command, *(cte.query.command for cte in query.ctes)}
    commands.discard(tree.Command.SELECT)
    return Kind.REMOVE if commands == {tree.Command.DELETE} else Kind.WRITE


class Budget:
    """Asks the pod's spending for one session."""

    __slots__ = ("_unsent", "running", "spending")

    def __init__(self, spending: Spending, unsent: Callable[[], int]) -> None:
        """`unsent`: millionths of a unit that a commit would use now."""
        self.spending = spending
        self._unsent = unsent
        self.running: Planned | Kind = Kind.SESSION
        """What runs, or ran last."""

    async def enter(self, what: "Planned | Kind", *, begun: bool = False) -> None:
        """A statement begins, or a portal of it goes on (`begun`). Raises SqlError 53400."""
        self.running = what
        unsent = self._unsent()
        if self.spending.limited and not self.spending.is_calm(unsent):
            kind = what if isinstance(what, Kind) else kind_of(what)
            if begun and kind is Kind.SESSION:
                kind = self.running = Kind.READ  # what is left of it is rows
            if begun or _reads_on(what):
                await self.spending.go_on(kind, unsent)
            else:
                await self.spending.begin(kind, unsent)

    async def checkpoint(self) -> None:
        """In the middle of a statement. Raises SqlError 53400."""
        unsent = self._unsent()
        if self.spending.limited and not self.spending.is_calm(unsent):
            what = self.running
            kind = what if isinstance(what, Kind) else kind_of(what)
            await self.spending.go_on(kind, unsent)


def _reads_on(what: "Planned | Kind") -> bool:
    return not isinstance(what, Kind) and what.raw.kind == "fetch_stmt"
