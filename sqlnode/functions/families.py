"""The families of implementations, one per file."""

from sqlnode.functions import comparison, integers, patterns, texts
from sqlnode.functions.family import Family

FAMILIES: tuple[Family, ...] = (comparison.FAMILY, integers.FAMILY, patterns.FAMILY, texts.FAMILY)
