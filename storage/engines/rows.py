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
from storage.engines.tables import Part, Tables

T = TypeVar("T")
Statement = tuple[str, Sequence[bytes]]
"""SQL and its parameters."""

_ROWS_AT_FIRST, _ROWS_AT_ONCE = 16, 512
"""Rows fetched before the first look at the size of a page, and between later ones."""
_PAGE_BYTES = 4096
_NAMED_BYTES = 9
"""Of a key that an error names: keyspace and tenant. What follows is the tenant's own."""


def no_text(text: bytes) -> NoReturn:
    """The `text_factory` of a connection: in this file nothing is text."""
    raise EngineDamaged(f"{len(text)} bytes of a row have changed their type")


class Rows:
    """What is asked of a file, on whichever connection. All of it raises EngineDamaged,
    sqlite3.Error."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def __repr__(self) -> str:
        return f"<Rows of {self._tables}>"

    def get(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `Engine.get`."""
        if len(keys) == 1:
            [key] = keys
            row = connection.execute(self._tables.of_key(key).get, keys).fetchone()
            return [None if row is None else _checked(key, *row)]
        found: dict[bytes, bytes] = {}
        with _Snapshot(connection):
            for table, some in self._tables.of_keys(keys).items():
                for statement, piece in _pieces(some, table.gets):
                    if rows := connection.execute(statement, piece).fetchall():
                        found.update(zip(*_checked_all(rows), strict=True))
        return [found.get(key) for key in keys]

    def scan(self, connection: sqlite3.Connection, ranges: Sequence[ScanRange]) -> list[Page]:
        """See `Engine.scan`."""
        return [self._scan_one(connection, each) for each in ranges]

    def _scan_one(self, connection: sqlite3.Connection, wanted: ScanRange) -> Page:
        parts = self._tables.of_range(wanted.start, wanted.end)
        if len(parts) == 1:
            rows, full = _scan_part(connection, parts[0], wanted, wanted.rows_max, wanted.bytes_max)
            return Page(rows, exhausted=not full)
        found: list[Row] = []
        size, full = 0, False
        with _Snapshot(connection):
            for part in reversed(parts) if wanted.reverse else parts:
                left = wanted.rows_max - len(found), wanted.bytes_max - size
                rows, full = _scan_part(connection, part, wanted, *left)
                found += rows
                size += sum(len(key) + len(value) for key, value in rows)
                if full:
                    break
        return Page(found, exhausted=not full)

    def measure(self, connection: sqlite3.Connection, start: bytes, end: bytes) -> Measure:
        """See `Engine.measure`. No value is read for it."""
        with _Snapshot(connection):
            found = [
                connection.execute(table.measure, (low, high)).fetchone()
                for table, low, high in self._tables.of_range(start, end)
            ]
        return Measure(sum(keys for keys, _ in found), sum(size for _, size in found))

    def statements(self, batch: Iterable[Write]) -> tuple[list[Statement], int]:
        """What writes a batch, and how many pages of the log that takes at most, about: rows may
        lie far from each other."""
        last = dict(batch)
        puts = [(key, value) for key, value in last.items() if value is not None]
        rows = [(key, value, digest(value, seed(key))) for key, value in puts]
        found: list[Statement] = [
            (statement, list(chain.from_iterable(some)))
            for statement, some in _pieces(rows, self._tables.puts(key for key, _ in puts))
        ]
        if len(puts) < len(last):
            gone = [key for key, value in last.items() if value is None]
            for table, keys in self._tables.of_keys(gone).items():
                found += _pieces(keys, table.deletes)
        return found, len(last) + sum([len(value) for _, value in puts]) // _PAGE_BYTES


def _scan_part(
    connection: sqlite3.Connection, part: Part, wanted: ScanRange, rows_max: int, bytes_max: int
) -> tuple[list[Row], bool]:
    """Rows of a part of a range, and whether there may be more that are too many."""
    statement = part.table.scans[wanted.reverse, wanted.keys_only]
    cursor = connection.execute(statement, (part.start, part.end, rows_max))
    # Closed however it ends: one that is kept with an error would keep its connection in the past.
    with closing(cursor):
        rows: list[Row] = []
        size, chunk = 0, _ROWS_AT_FIRST
        while some := cursor.fetchmany(chunk):
            keys, values = zip(*some, strict=True) if wanted.keys_only else _checked_all(some)
            rows += zip(keys, values, strict=True)
            size += sum(map(len, keys)) + sum(map(len, values))
            if size >= bytes_max:
                return rows, True
            # As many more as should fit, going by the rows so far.
            chunk = min(_ROWS_AT_ONCE, 1 + (bytes_max - size) * len(rows) // (size + 1))
    return rows, len(rows) == rows_max


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
