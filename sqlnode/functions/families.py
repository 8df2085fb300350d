"""The families of implementations, one per file."""

from sqlnode.functions import (
    aggregates,
    booleans,
    casts,
    comparison,
    datetimes,
    floats,
    integers,
    numerics,
    patterns,
    texts,
)
from sqlnode.functions.family import Family

FAMILIES: tuple[Family, ...] = (
    aggregates.FAMILY,
    booleans.FAMILY,
    casts.FAMILY,
    comparison.FAMILY,
    datetimes.FAMILY,
    floats.FAMILY,
    integers.FAMILY,
    numerics.FAMILY,
    patterns.FAMILY,
    texts.FAMILY,
)
