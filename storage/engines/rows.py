"""The rows of the SQLite file, each with a checksum that is looked at whenever the row is read.

    k  key     v  value     c  XXH3 of both, 64 bits; NULL: written before there were checksums

SQLite sees damage to its own structure: the header of a page, the places and sizes of cells, the
tree. What lies inside a key or a value it hands out as it is. So the writer adds up both as they
were given to it, and whoever reads a row adds up what came back. In a column of its own, and not in
the value: a file of before can be opened as it is, and nothing has to be cut off every value, which
would copy it.

Looked at are a few hundred rows in three calls, for a Python loop over them would take as long as
reading them. zlib's CRC-32 is there for nothing and takes three times as long as XXH3.

A row that is whole and of yesterday, because the disk has lost a write, has a checksum that is
right. That is beyond this.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import NoReturn, TypeVar

from xxhash import xxh3_64_digest as digest
from xxhash import xxh3_64_intdigest as seed

from storage.engines.interface import EngineDamaged, Measure, Page, Row, ScanRange, Write

T = TypeVar("T")
Statement = tuple[str, Sequence[bytes]]
"""SQL and its parameters."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL, c BLOB) "
    "WITHOUT ROWID"
)
_HAS_SUMS = "SELECT 1 FROM pragma_table_info('kv') WHERE name = 'c'"
_ADD_SUMS = "ALTER TABLE kv ADD COLUMN c BLOB"
_AT_ONCE = (128, 64, 32, 16, 8, 4, 2, 1)
"""How many keys one statement reads or removes, the largest first. Python lets other threads in
three or four times in a statement and then waits for its turn again, so one statement with many
keys is worth several times as much as many with one."""
_PUTS_AT_ONCE = (128, *range(64, 0, -1))
"""How many rows one writes: what most commits have fits into a single one."""
_PUTS = {
    count: f"INSERT INTO kv (k, v, c) VALUES {', '.join(['(?, ?, ?)'] * count)} "
    "ON CONFLICT (k) DO UPDATE SET v = excluded.v, c = excluded.c"
    for count in _PUTS_AT_ONCE
}
_GETS = {
    count: f"SELECT k, v, c FROM kv WHERE k IN ({', '.join('?' * count)})" for count in _AT_ONCE
}
_DELETES = {count: f"DELETE FROM kv WHERE k IN ({', '.join('?' * count)})" for count in _AT_ONCE}
_GET = "SELECT v, c FROM kv WHERE k = ?"
_FORWARD = "SELECT {} FROM kv WHERE k >= ? AND k < ? ORDER BY k LIMIT ?"
_BACKWARD = "SELECT {} FROM kv WHERE k >= ? AND k < ? ORDER BY k DESC LIMIT ?"
_SCANS = {
    (reverse, keys_only): (_BACKWARD if reverse else _FORWARD).format(columns)
    for reverse in (False, True)
    for keys_only, columns in ((False, "k, v, c"), (True, "k, x''"))
}
_MEASURE = "SELECT count(*), coalesce(sum(length(k) + length(v)), 0) FROM kv WHERE k >= ? AND k < ?"

_ROWS_AT_FIRST, _ROWS_AT_ONCE = 16, 512
"""Rows fetched before the first look at the size of a page, and between later ones."""
_PAGE_BYTES = 4096
_NAMED_BYTES = 9
"""Of a key that an error names: keyspace and tenant. What follows is the tenant's own."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the table, or add to one of before what it lacks, which takes no time."""
    connection.execute(_SCHEMA)
    if not connection.execute(_HAS_SUMS).fetchall():
        connection.execute(_ADD_SUMS)


def no_text(text: bytes) -> NoReturn:
    """The `text_factory` of a connection: in this file nothing is text."""
    raise EngineDamaged(f"{len(text)} bytes of a row have changed their type")


def get(connection: sqlite3.Connection, keys: Sequence[bytes]) -> list[bytes | None]:
    """See `Engine.get`. Raises EngineDamaged, sqlite3.Error; so do the others."""
    if len(keys) == 1:
        row = connection.execute(_GET, keys).fetchone()
        return [None if row is None else _checked(keys[0], *row)]
    found: dict[bytes, bytes] = {}
    with _Snapshot(connection):
        for statement, some in _pieces(keys, _GETS):
            if rows := connection.execute(statement, some).fetchall():
                found.update(zip(*_checked_all(rows), strict=True))
    return [found.get(key) for key in keys]


def scan(connection: sqlite3.Connection, ranges: Sequence[ScanRange]) -> list[Page]:
    """See `Engine.scan`."""
    return [_scan_one(connection, each) for each in ranges]


def _scan_one(connection: sqlite3.Connection, wanted: ScanRange) -> Page:
    statement = _SCANS[wanted.reverse, wanted.keys_only]
    cursor = connection.execute(statement, (wanted.start, wanted.end, wanted.rows_max))
    # Closed however it ends: one that is kept with an error would keep its connection in the past.
    with closing(cursor):
        rows: list[Row] = []
        size, chunk = 0, _ROWS_AT_FIRST
        while some := cursor.fetchmany(chunk):
            keys, values = zip(*some, strict=True) if wanted.keys_only else _checked_all(some)
            rows += zip(keys, values, strict=True)
            size += sum(map(len, keys)) + sum(map(len, values))
            if size >= wanted.bytes_max:
                return Page(rows, exhausted=False)
            # As many more as should fit, going by the rows so far.
            chunk = min(_ROWS_AT_ONCE, 1 + (wanted.bytes_max - size) * len(rows) // (size + 1))
    return Page(rows, exhausted=len(rows) < wanted.rows_max)


def measure(connection: sqlite3.Connection, start: bytes, end: bytes) -> Measure:
    """See `Engine.measure`. No value is read for it."""
    keys, size = connection.execute(_MEASURE, (start, end)).fetchone()
    return Measure(keys, size)


def statements(batch: Iterable[Write]) -> tuple[list[Statement], int]:
    """What writes a batch, and how many pages of the log that takes at most, about: rows may lie
    far from each other."""
    last = dict(batch)
    puts = [(key, value) for key, value in last.items() if value is not None]
    rows = [(key, value, digest(value, seed(key))) for key, value in puts]
    found: list[Statement] = [
        (statement, list(chain.from_iterable(some))) for statement, some in _pieces(rows, _PUTS)
    ]
    if len(puts) < len(last):
        found += _pieces([key for key, value in last.items() if value is None], _DELETES)
    return found, len(last) + sum([len(value) for _, value in puts]) // _PAGE_BYTES


def _checked(key: bytes, value: bytes, wanted: bytes | None) -> bytes:
    """The value, if it is what was written. Raises EngineDamaged."""
    try:
        # What is damaged may have another type as well.
        well = digest(value, seed(key)) == wanted or (wanted is None and type(value) is bytes)
    except TypeError:
        well = False
    if not well:
        raise EngineDamaged(f"a row of {key[:_NAMED_BYTES].hex()} is not what was written")
    return value


def _checked_all(
    rows: Sequence[tuple[bytes, bytes, bytes | None]],
) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Keys and values of one row or more, if they are what was written. Raises EngineDamaged."""
    keys, values, sums = zip(*rows, strict=True)
    try:
        well = tuple(map(digest, values, map(seed, keys))) == sums
    except TypeError as error:
        raise EngineDamaged("a part of a row has changed its type") from error
    if not well:
        for row in rows:
            _checked(*row)
    return keys, values


def _pieces(items: Sequence[T], statements: dict[int, str]) -> Iterator[tuple[str, Sequence[T]]]:
    """All items, cut into pieces that there are statements for."""
    at = 0
    for count, statement in statements.items():
        while len(items) - at >= count:
            yield statement, items[at : at + count]
            at += count


class _Snapshot:
    """A read transaction: every statement inside sees one state."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN")

    def __exit__(self, *_exception: object) -> None:
        self._connection.execute("COMMIT")
