"""What planning one statement shares between its queries: slots, WITH queries, numbers."""

from dataclasses import dataclass, field
from typing import Any

from sqlnode import tree


@dataclass(slots=True)
class Statement:
    """Counters and results of one call of `plan`."""

    optimize: bool = True
    """Whether the rewrite rules run; off only to test that they change nothing."""
    slots: int = 0
    subplans: int = 0
    ctes: list[Any] = field(default_factory=list)
    """Plans of WITH queries by number; None while one is being planned."""

    def slot(self) -> int:
        """A slot not used before."""
        self.slots += 1
        return self.slots - 1


@dataclass(frozen=True, slots=True)
class CteInfo:
    """What a reference to a WITH query leads to."""

    number: int
    name: str
    working: bool = False


@dataclass(slots=True)
class Scope:
    """The WITH queries visible to a query: its own and those of the queries around it."""

    own: list[CteInfo] = field(default_factory=list)
    outer: "Scope | None" = None

    def find(self, source: tree.CteSource) -> CteInfo:
        """The WITH query a reference means."""
        scope = self
        for _ in range(source.levels_up):
            if scope.outer is None:
                raise LookupError(f"no query {source.levels_up} levels out")
            scope = scope.outer
        return scope.own[source.index]
