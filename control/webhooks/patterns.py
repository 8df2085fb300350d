"""What events a webhook wants: kinds, families of kinds (`invoice.*`), or all (`*`). Pure."""

from collections.abc import Iterable

ALL = "*"


def patterns_of(kind: str) -> tuple[str, ...]:
    """Every pattern that this kind of event answers to."""
    family, _, _ = kind.partition(".")
    return ALL, f"{family}.*", kind


def known_patterns(kinds: Iterable[str]) -> frozenset[str]:
    """Every pattern that some kind answers to; any other would wait for nothing."""
    return frozenset(pattern for kind in kinds for pattern in patterns_of(kind))
