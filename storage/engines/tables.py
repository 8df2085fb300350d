"""The two tables of the SQLite file, and what is asked of them.

Most rows are read in the order of their keys, so their table is the tree of the keys itself
(`WITHOUT ROWID`). A row has a quarter of a page there: what is larger has another one of its own.
History is written with every commit, goes in the order of time, and is hardly ever read. So it has
a table of its own, in the order in which it came, and beside it a tree of its keys:

    kv    ─┬─ a…c ─┬─ d…f ─┬─ g…i ─┬─ …     a commit of 20 rows of 1 kB writes 40 pages here
    past  ── … ── 17 ── 18 ── 19 ── 20      and of the 20 they supersede 7 here, 20 of the tree

With the rest that makes 68 pages. With all in one tree it was 109, 1.6 times the CPU, 1.7 times the
file, and the collection took 2.5 times as long. Rows of 100 bytes: 41 pages and 50, the same CPU.

Whoever asks need not know of it: a key has one place, and a range of both has its parts in order.
A file from before there was `past` is opened as it is and has no second table.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from storage.layout import HISTORY_SPAN

_PAST, _PAST_END = HISTORY_SPAN

_AT_ONCE = (128, 64, 32, 16, 8, 4, 2, 1)
"""How many keys one statement reads or removes, the largest first. Python lets other threads in
three or four times in a statement and then waits for its turn again, so one statement with many
keys is worth several times as much as many with one."""
_PUTS_AT_ONCE = (128, *range(64, 0, -1))
"""How many rows one writes: what most commits have fits into a single one."""

_SCHEMA = (
    "BEGIN IMMEDIATE",
    "CREATE TABLE kv (k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL, c BLOB) WITHOUT ROWID",
    "CREATE TABLE past (k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL, c BLOB)",
    "COMMIT",
)
_HAS = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
_HAS_SUMS = "SELECT count(*) FROM pragma_table_info('kv') WHERE name = 'c'"
_ADD_SUMS = "ALTER TABLE kv ADD COLUMN c BLOB"
_INSERT = "INSERT INTO {} (k, v, c) VALUES {}"
_OR_UPDATE = " ON CONFLICT (k) DO UPDATE SET v = excluded.v, c = excluded.c"
_FORWARD = "SELECT {} FROM {} WHERE k >= ? AND k < ? ORDER BY k LIMIT ?"
_BACKWARD = "SELECT {} FROM {} WHERE k >= ? AND k < ? ORDER BY k DESC LIMIT ?"
_IS_PAST = f"new.k >= x'{_PAST.hex()}' AND new.k < x'{_PAST_END.hex()}'"
_BOTH = (
    "CREATE TEMP VIEW both AS SELECT k, v, c FROM kv",
    *(
        f"CREATE TEMP TRIGGER into_{table} INSTEAD OF INSERT ON both WHEN {when} BEGIN "
        f"{_INSERT.format(table, '(new.k, new.v, new.c)')}{_OR_UPDATE}; END"
        for table, when in (("kv", f"NOT ({_IS_PAST})"), ("past", _IS_PAST))
    ),
)
"""So that a batch for both tables is one statement, and SQLite makes a transaction of it."""


class Table:
    """The statements about one table, by how many keys they have."""

    def __init__(self, name: str) -> None:
        marks = {count: ", ".join("?" * count) for count in _AT_ONCE}
        self.get = f"SELECT v, c FROM {name} WHERE k = ?"
        self.gets = {
            count: f"SELECT k, v, c FROM {name} WHERE k IN ({some})"
            for count, some in marks.items()
        }
        self.deletes = {
            count: f"DELETE FROM {name} WHERE k IN ({some})" for count, some in marks.items()
        }
        self.scans = {
            (reverse, keys_only): (_BACKWARD if reverse else _FORWARD).format(columns, name)
            for reverse in (False, True)
            for keys_only, columns in ((False, "k, v, c"), (True, "k, x''"))
        }
        """By `reverse` and `keys_only`."""
        self.measure = (
            f"SELECT count(*), coalesce(sum(length(k) + length(v)), 0) FROM {name} "
            "WHERE k >= ? AND k < ?"
        )


_KV, _PAST_TABLE = Table("kv"), Table("past")
_ROWS = {count: ", ".join(["(?, ?, ?)"] * count) for count in _PUTS_AT_ONCE}
_PUTS = {count: _INSERT.format("kv", rows) + _OR_UPDATE for count, rows in _ROWS.items()}
_PUTS_BOTH = {count: _INSERT.format("both", rows) for count, rows in _ROWS.items()}
STATEMENTS_MAX = 2 * len(_ROWS) + 32
"""What a connection may keep compiled: all of these, and the others."""


class Part(NamedTuple):
    """What of a range lies in one table."""

    table: Table
    start: bytes
    end: bytes


class Tables:
    """Which rows of a file lie where."""

    def __init__(self, *, two: bool) -> None:
        self._two = two

    def __repr__(self) -> str:
        return f"<Tables {'kv, past' if self._two else 'kv'}>"

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> Self:
        """Those of a file that has been `prepare`d."""
        return cls(two=_count(connection, _HAS, ["past"]) > 0)

    def of_key(self, key: bytes) -> Table:
        """Where a key lies."""
        return _PAST_TABLE if self._two and _PAST <= key < _PAST_END else _KV

    def of_keys(self, keys: Iterable[bytes]) -> dict[Table, list[bytes]]:
        """Keys by where they lie."""
        found: dict[Table, list[bytes]] = {}
        for key in keys:
            found.setdefault(self.of_key(key), []).append(key)
        return found

    def puts(self, keys: Iterable[bytes]) -> dict[int, str]:
        """What writes rows with these keys, by how many one statement has."""
        # The triggers cost 1 µs a row.
        is_mixed = self._two and any(_PAST <= key < _PAST_END for key in keys)
        return _PUTS_BOTH if is_mixed else _PUTS

    def of_range(self, start: bytes, end: bytes) -> list[Part]:
        """The parts of a range, in their order."""
        if not self._two or end <= _PAST or start >= _PAST_END:
            return [Part(_KV, start, end)]
        parts = [
            Part(_KV, start, min(end, _PAST)),
            Part(_PAST_TABLE, max(start, _PAST), min(end, _PAST_END)),
            Part(_KV, max(start, _PAST_END), end),
        ]
        return [part for part in parts if part.start < part.end]


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or add to one of before what it lacks, which takes no time; and what of
    `Tables.puts` belongs to the connection that writes."""
    if not _count(connection, _HAS, ["kv"]):
        for statement in _SCHEMA:
            connection.execute(statement)
    elif not _count(connection, _HAS_SUMS):
        connection.execute(_ADD_SUMS)
    if _count(connection, _HAS, ["past"]):
        for statement in _BOTH:
            connection.execute(statement)


def _count(connection: sqlite3.Connection, query: str, parameters: Sequence[str] = ()) -> int:
    [(count,)] = connection.execute(query, parameters).fetchall()
    return int(count)
