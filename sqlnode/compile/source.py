"""Generated Python: names bound to values, functions made of text.

The only things ever formatted into source are identifiers and small structure generated here; every
constant, function and type is *bound* under a fresh name in the namespace that the code runs in. So
no text of a user's statement can become Python.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

from sqlnode.compile import helpers
from sqlnode.functions import runtime

_LOCALS = {"p": "rt.params", "s": "rt.slots", "c": "rt.context"}
_USED = re.compile(r"\b[psc]\b")
_NAMESPACE: dict[str, Any] = {
    **{name: value for name, value in vars(runtime).items() if not name.startswith("__")},
    **{f"_{name}": getattr(helpers, name) for name in helpers.__all__},
}

NESTING_MAX = 40
"""Brackets in one generated expression before part of it moves to a function of its own: Python's
own parser refuses 200 nested ones."""


@dataclass(frozen=True, slots=True)
class Code:
    """A Python expression. `simple`: cheap enough to be written twice instead of bound first."""

    text: str
    nullable: bool
    simple: bool = False


@lru_cache(maxsize=4096)
def _code(source: str) -> CodeType:
    # Names are numbered per plan and constants have names, so statements that differ in constants
    # alone give the same source.
    return compile(source, "<plan>", "exec")


class Module:
    """The namespace of one plan's generated functions."""

    def __init__(self) -> None:
        self._names = dict(_NAMESPACE)
        self._bound: dict[int, tuple[str, Any]] = {}
        self._count = 0
        self.waits = False
        """Whether a function in it may wait for storage (sqlnode.bridge)."""

    def fresh(self, prefix: str) -> str:
        """An identifier not used before."""
        self._count += 1
        return f"_{prefix}_{self._count}"

    def bind(self, value: Any, prefix: str = "k") -> str:
        """A name for a value; the same object gets the same name."""
        known = self._bound.get(id(value))
        if known is None:
            known = self._bound[id(value)] = (self.fresh(prefix), value)
            self._names[known[0]] = value
        return known[0]

    def define(self, parameters: Sequence[str], text: str, prefix: str = "f") -> str:
        """Define a function that returns the expression `text`; its name."""
        name = self.fresh(prefix)
        source = f"def {name}({', '.join(parameters)}):\n return {text}\n"
        exec(_code(source), self._names)
        return name

    def function(self, parameters: Sequence[str], text: str) -> Callable[..., Any]:
        """Define a function of these parameters and the Runtime `rt`; the object itself."""
        name = self.fresh("f")
        used = sorted(set(_USED.findall(text)))
        setup = "".join(f" {local} = {_LOCALS[local]}\n" for local in used)
        source = f"def {name}({', '.join([*parameters, 'rt'])}):\n{setup} return {text}\n"
        exec(_code(source), self._names)
        made: Callable[..., Any] = self._names[name]
        return made
