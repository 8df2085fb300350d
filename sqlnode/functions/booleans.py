"""Booleans: the functions behind AND-like aggregates and NOT-like operators."""

from sqlnode.functions.family import Family

FAMILY = Family()
FAMILY.inlines(
    {},
    {
        "booland_statefunc": "({0} and {1})",
        "boolor_statefunc": "({0} or {1})",
    },
)
