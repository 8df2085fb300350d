"""A tenant's labels: a few names with values, for whoever sorts tenants. Pure."""

import re
from collections.abc import Mapping

LABELS_MAX = 32
NAME = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?")
VALUE_MAX = 128


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels, by name. Raises ValueError, with a sentence for who wrote them."""
    if len(labels) > LABELS_MAX:
        raise ValueError(f"at most {LABELS_MAX} labels; these are {len(labels)}")
    for name, value in labels.items():
        if not NAME.fullmatch(name):
            raise ValueError(
                "a label's name has 1 to 63 lower-case letters, digits and inner `.`, `_`, `-`, `/`"
            )
        if len(value) > VALUE_MAX or not (value.isascii() and value.isprintable()):
            raise ValueError(f"a label's value has at most {VALUE_MAX} printable ASCII characters")
    return dict(sorted(labels.items()))


def parse_filter(text: str) -> tuple[str, str | None]:
    """`name=value`, or `name` alone, for any value: name and value."""
    name, equals, value = text.partition("=")
    return name, value if equals else None
