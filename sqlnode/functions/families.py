"""The families of implementations, one per file."""

from sqlnode.functions.family import Family

FAMILIES: tuple[Family, ...] = ()
