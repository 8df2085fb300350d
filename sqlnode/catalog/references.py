"""Relations named in stored expressions: kept as OIDs, so that a rename does not matter.

    DEFAULT nextval('s')     stored   nextval('16401'::regclass)     shown   nextval('s'::regclass)

A regclass constant in a stored expression always has this form (`sqlnode.ddl.defaults` writes it).
The same characters inside a string literal of the expression would have doubled quotes around the
number, which the pattern does not match.
"""

import re
from collections.abc import Callable

_CONSTANT = re.compile(r"(?<!')'(\d+)'::regclass\b")


def referenced(text: str | None) -> set[int]:
    """OIDs of the relations a stored expression names."""
    return {int(oid) for oid in _CONSTANT.findall(text or "")}


def with_names(text: str, name: Callable[[int], str | None]) -> str:
    """The expression with names in place of OIDs; one that is nobody's any more stays."""

    def shown(found: re.Match[str]) -> str:
        known = name(int(found[1]))
        return found[0] if known is None else f"{_literal(known)}::regclass"

    return _CONSTANT.sub(shown, text)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
