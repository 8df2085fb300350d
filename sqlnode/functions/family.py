"""How a file of functions says which rows of pg_proc it implements.

A key is the name of PostgreSQL's C function (`int4pl`: pg_proc.prosrc of an internal function), so
that all SQL names of one C function share its implementation. Functions that PostgreSQL writes in
SQL and aggregates have no such name and are keyed by signature: `lpad(text,int4)`, `count()`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlnode.functions.base import Aggregate
from sqlnode.types.base import Value

Implementation = Callable[..., Value]
_F = TypeVar("_F", bound=Implementation)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a key stands for; the fields mean what `Function`'s do."""

    call: Implementation | None = None
    inline: str | None = None
    needs_context: bool = False
    needs_types: bool = False
    aggregate: Aggregate | None = None
    waits: bool = False


class Family:
    """The implementations of one file, each key once."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def function(
        self,
        *keys: str,
        inline: str | None = None,
        needs_context: bool = False,
        needs_types: bool = False,
        waits: bool = False,
    ) -> Callable[[_F], _F]:
        """Decorates the implementation of `keys`."""

        def register(call: _F) -> _F:
            entry = Entry(call, inline, needs_context, needs_types, waits=waits)
            for key in keys:
                self._add(key, entry)
            return call

        return register

    def call(
        self,
        call: Implementation,
        *keys: str,
        inline: str | None = None,
        needs_context: bool = False,
        needs_types: bool = False,
    ) -> None:
        """Like `function`, for a callable that already exists."""
        self.function(*keys, inline=inline, needs_context=needs_context, needs_types=needs_types)(
            call
        )

    def inlines(self, names: Mapping[str, Value], templates: Mapping[str, str]) -> None:
        """Implementations that are nothing but their inline template, evaluated under `names`."""
        for key, template in templates.items():
            count = max((i + 1 for i in range(4) if f"{{{i}}}" in template), default=0)
            params = [f"a{i}" for i in range(count)]
            source = f"lambda {', '.join(params)}: {template.format(*params)}"
            self._add(key, Entry(eval(source, dict(names)), template))

    def aggregate(self, machine: Aggregate, *keys: str) -> None:
        """`machine` computes the aggregates `keys` (signatures)."""
        for key in keys:
            self._add(key, Entry(aggregate=machine))

    def _add(self, key: str, entry: Entry) -> None:
        if key in self.entries:
            raise ValueError(f"two implementations of {key}")
        self.entries[key] = entry
