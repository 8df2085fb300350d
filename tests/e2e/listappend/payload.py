"""Rows that come with some of the values, so many that their transaction is larger than a message.

Such a transaction is staged and rolled forward (storage/staging.py, storage/rollforward.py). Every
`EVERY`-th value has a payload, which takes the place of the one that its list had before:

    lists      k │ v                         payload      k │ part │ v  │ body
               3 │ 5 24 25 31 48 50                       3 │   0  │ 48 │ 0000048.000 0000048.000 …
                     ▲        ▲                           3 │   … │ 48 │ …
                     └────────┴── with a payload          3 │ 127  │ 48 │ 0000048.127 0000048.127 …

How many rows it has follows from the value, so one is inserted, written over, and removed in part.
Whoever reads a list and its payload in one statement finds all rows of the last such value, and no
other row: anything else is a transaction of which only a part is there.
"""

from collections.abc import Collection
from functools import lru_cache
from hashlib import md5
from typing import Any, NamedTuple

import psycopg

EVERY = 24
_PARTS = (34, 48, 128)
_REPEATED = 2700
_BITE_BYTES = 12
TABLE = "CREATE TABLE payload (k int, part int, v int, body text NOT NULL, PRIMARY KEY (k, part))"
_WRITE = (
    "INSERT INTO payload SELECT %(k)s, part, %(v)s,"
    "  repeat(lpad(%(v)s::text, 7, '0') || '.' || lpad(part::text, 3, '0') || ' ', %(repeated)s)"
    " FROM generate_series(0, %(parts)s - 1) AS part"
    " ON CONFLICT (k, part) DO UPDATE SET v = excluded.v, body = excluded.body"
)
_SHRINK = "DELETE FROM payload WHERE k = %(k)s AND part >= %(parts)s"
_READ = (
    "SELECT lists.v, part, payload.v, md5(body)"
    " FROM lists LEFT JOIN payload USING (k) WHERE lists.k = %s"
)
_LEFT = "SELECT DISTINCT k FROM payload WHERE k NOT IN (SELECT k FROM lists)"


class Row(NamedTuple):
    """A row of a payload, as it was read; `digest` is its body's."""

    part: int
    value: int
    digest: str


def has_payload(value: int) -> bool:
    """Whether a value comes with a payload."""
    return value % EVERY == 0


def size(value: int) -> int:
    """Bytes of the bodies of a value's payload."""
    return parts(value) * _REPEATED * _BITE_BYTES


def parts(value: int) -> int:
    """Rows of a value's payload."""
    return _PARTS[value // EVERY % len(_PARTS)]


def write(connection: psycopg.Connection[Any], key: int, value: int) -> None:
    """Put the payload of a value in the place of the one before."""
    named = {"k": key, "v": value, "parts": parts(value), "repeated": _REPEATED}
    connection.execute(_WRITE, named)
    connection.execute(_SHRINK, named)


def read(connection: psycopg.Connection[Any], key: int) -> tuple[str, list[Row]]:
    """A list and its payload, at one snapshot."""
    rows = connection.execute(_READ, [key]).fetchall()
    return rows[0][0] if rows else "", [Row(*rest) for _, *rest in rows if rest[0] is not None]


def without_list(connection: psycopg.Connection[Any]) -> list[int]:
    """Keys of payloads whose list is not there."""
    return [key for (key,) in connection.execute(_LEFT).fetchall()]


def wrong(values: Collection[int], found: Collection[Row]) -> str | None:
    """What is wrong with a payload beside a list of these values."""
    last = next((each for each in reversed(list(values)) if has_payload(each)), None)
    expected = rows(last) if last is not None else frozenset()
    if frozenset(found) == expected and len(found) == len(expected):
        return None
    written = sorted({row.value for row in found})
    strange = sum(row not in rows(row.value) for row in found)
    return (
        f"{len(found)} rows where {len(expected)} of {last} are expected:"
        f" of values {written}, {strange} of them with another body"
    )


@lru_cache(maxsize=128)
def rows(value: int) -> frozenset[Row]:
    """All rows of a value's payload."""

    def digest(part: int) -> str:
        return md5(f"{value:07}.{part:03} ".encode() * _REPEATED, usedforsecurity=False).hexdigest()

    return frozenset(Row(part, value, digest(part)) for part in range(parts(value)))
