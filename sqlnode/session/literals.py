"""Simple statements that differ only in their numbers share a plan.

A client of the simple protocol writes its values into the text, so that no text comes twice and
every statement would be planned anew. Here the integers of a text become parameters:

    UPDATE a SET b = b + -7 WHERE id = 42   →   UPDATE a SET b = b + $1 WHERE id = $2   (-7, 42)

This is sound because an int4 parameter and an int4 constant are the same to PostgreSQL's type
resolution, and because only texts are taken in which an integer can be nothing but a value: no
quotes, comments or casts, none of the clauses that give a bare integer another meaning (ORDER BY 1,
LIMIT, interval precision), no more than nine digits (so it is an int4). Where the grammar wants a
constant, the rewritten text does not parse; any error sends the caller back to the text as it came,
whose error then has the right position.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

TEXT_CHARACTERS_MAX = 2000
LITERALS_MAX = 16
_REFUSED_MAX = 1000

_PLAIN = re.compile(
    r"\s*(?:select|insert|update|delete)\s[A-Za-z0-9_\s.,()=<>+\-*/%]*", re.IGNORECASE
)
_POSITIONAL = re.compile(
    r"--|/\*|\b(?:order|group|limit|offset|fetch|interval|window|over|rows|distinct)\b",
    re.IGNORECASE,
)
_INTEGER = re.compile(r"(?:(?<=[=<>+\-*/(,])(\s*)(-))?(?<![\w.])(\d{1,9})(?![\w.])")


@dataclass(frozen=True, slots=True)
class Template:
    """A text with its integers taken out: `$1`, `$2` … stand for `values`."""

    text: str
    values: tuple[int, ...]


def template_of(text: str) -> Template | None:
    """The template of a text, or None where it has no integers or is not of the safe kind."""
    if len(text) > TEXT_CHARACTERS_MAX:
        return None
    text = text.rstrip().removesuffix(";")
    if _PLAIN.fullmatch(text) is None or _POSITIONAL.search(text) is not None:
        return None
    values: list[int] = []

    def take(match: re.Match[str]) -> str:
        space, sign, digits = match.groups()
        values.append(-int(digits) if sign else int(digits))
        return f"{space or ''}${len(values)}"

    shape = _INTEGER.sub(take, text)
    return Template(shape, tuple(values)) if 0 < len(values) <= LITERALS_MAX else None


class RefusedTemplates:
    """Shapes that did not work out, least recently met out first."""

    def __init__(self) -> None:
        self._shapes: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, shape: str) -> bool:
        return shape in self._shapes

    def add(self, shape: str) -> None:
        """Remember that a shape is of no use."""
        self._shapes[shape] = None
        if len(self._shapes) > _REFUSED_MAX:
            self._shapes.popitem(last=False)
