"""The families of implementations, one per file."""

from sqlnode.functions import (
    aggregates,
    anytexts,
    arrays,
    booleans,
    casts,
    comparison,
    datefields,
    datetimes,
    floats,
    integers,
    numerics,
    patterns,
    privileges,
    system,
    texts,
)
from sqlnode.functions.family import Family

FAMILIES: tuple[Family, ...] = (
    aggregates.FAMILY,
    anytexts.FAMILY,
    arrays.FAMILY,
    booleans.FAMILY,
    casts.FAMILY,
    comparison.FAMILY,
    datefields.FAMILY,
    datetimes.FAMILY,
    floats.FAMILY,
    integers.FAMILY,
    numerics.FAMILY,
    patterns.FAMILY,
    privileges.FAMILY,
    system.FAMILY,
    texts.FAMILY,
)
