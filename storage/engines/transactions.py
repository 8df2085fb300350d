"""A batch on its way into the SQLite file: one transaction, that of a small batch one statement.

    BEGIN, INSERT, DELETE ──▶ any error         nothing is there: without the last frame of its
                                                batch the log is as if it had not been written
    COMMIT ──▶ writes frames ──▶ no room, EIO   likewise: the last frame is the last to be written
           ──▶ fdatasync     ──▶ EIO            the batch is lost? the *log* holds it all the same
           ──▶ index (-shm)  ──▶ no room        likewise, and it is durable already
    one INSERT by itself     ──▶ by its name    all of this in one call: a page that cannot be
                                                read is of the first kind, what is not known to
                                                be of the first two counts as of the last ones

Most batches are one statement, which SQLite makes a transaction of: at BEGIN and COMMIT too other
threads would come in, and the writer wait for its turn.

A large one takes so long that others come meanwhile. What is small may join it until it commits,
and is durable with it, or not at all, instead of waiting for its end and then for a COMMIT of its
own:

    large   BEGIN ── INSERT ──────┬── INSERT ── COMMIT ──▶ both
    small              └ joins ───┘
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from threading import Lock

from storage.engines.rows import Statement

JOINABLE_KEYS, JOINABLE_BYTES = 32, 16 << 10
"""From so many keys, or bytes of values, on a batch is a transaction that others may join: it takes
15 µs a key until its COMMIT."""
_CERTAIN = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CORRUPT}
"""After these a COMMIT has not happened."""
_CERTAIN_ALONE = {*_CERTAIN, sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
"""Nor has a statement that is its own transaction: it reads before it commits."""
_CERTAIN_KINDS = {
    *(sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY),
    *(sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG),
}
"""Likewise, whatever the details: it has not even begun to write."""


class OpenOutcome(Exception):
    """A COMMIT failed in a way that leaves it open whether its batch is there."""


class BatchOnItsWay:
    """One batch, from the call that brings it until it is durable or has failed."""

    def __init__(self, *, joinable: bool) -> None:
        self.pages = 0
        """Of the log that it takes, about."""
        self._lock = Lock()
        self._joined: list[Statement] = []
        self._open = joinable

    def __repr__(self) -> str:
        return f"<BatchOnItsWay pages={self.pages} open={self._open}>"

    @property
    def open(self) -> bool:
        """Whether it can still be joined, most likely."""
        return self._open

    def join(self, statements: Sequence[Statement], pages: int) -> bool:
        """Become a part of it, on another thread than `run`; False: it is too late for that."""
        with self._lock:
            if self._open:
                self._joined += statements
                self.pages += pages
            return self._open

    def close(self) -> None:
        """Nobody joins any more."""
        with self._lock:
            self._open = False

    def run(
        self, connection: sqlite3.Connection, statements: Sequence[Statement], pages: int
    ) -> None:
        """Make one transaction of statements, and of those that join. Raises OpenOutcome,
        sqlite3.Error."""
        with self._lock:
            self.pages += pages
        if self._open or len(statements) > 1:
            self._run_all(connection, statements)
        else:
            for statement in statements:
                _run_alone(connection, *statement)

    def _run_all(self, connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for some in chain([statements], iter(self._take, [])):
                for statement, parameters in some:
                    connection.execute(statement, parameters)
            _commit(connection)
        except BaseException:
            _rollback(connection)
            raise

    def _take(self) -> list[Statement]:
        """What has joined; nobody does any more where there is nothing."""
        with self._lock:
            joined, self._joined = self._joined, []
            self._open = self._open and bool(joined)
        return joined


def _run_alone(connection: sqlite3.Connection, statement: str, parameters: Sequence[bytes]) -> None:
    """SQLite makes a transaction of it by itself."""
    try:
        connection.execute(statement, parameters)
    except sqlite3.Error as error:
        # Without a code it is Python's, which did not hand the statement on.
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or code in _CERTAIN_ALONE or code & 0xFF in _CERTAIN_KINDS:
            raise
        raise OpenOutcome(error.sqlite_errorname) from error


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if error.sqlite_errorcode in _CERTAIN:
            raise
        raise OpenOutcome(error.sqlite_errorname) from error


def _rollback(connection: sqlite3.Connection) -> None:
    # A full disk makes SQLite roll back by itself.
    if connection.in_transaction:
        connection.execute("ROLLBACK")
