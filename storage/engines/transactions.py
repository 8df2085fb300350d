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
"""

import sqlite3
from collections.abc import Sequence

from storage.engines.rows import Statement

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


def execute(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    """As one transaction. Raises OpenOutcome, sqlite3.Error."""
    if len(statements) == 1:
        _run_alone(connection, *statements[0])
    else:
        _run_all(connection, statements)


def _run_all(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, parameters in statements:
            connection.execute(statement, parameters)
        _commit(connection)
    except BaseException:
        _rollback(connection)
        raise


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
