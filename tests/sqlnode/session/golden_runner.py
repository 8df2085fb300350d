"""Runs a golden script against a server and writes down everything it answers.

python -m tests.sqlnode.session.golden_runner DSN     records every *.out; DSN is a PostgreSQL 15

A script is statements that end with `;` at the end of a line; data of COPY FROM STDIN follow it up
to `\\.`. Of every reply the columns with their types, rows, command tag and notices are written; of
every error its SQLSTATE, message, detail, hint, position and context. Object OIDs never appear.
"""

import re
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import pq
from psycopg.pq import DiagnosticField as Diag
from psycopg.pq import ExecStatus

FOLDER = Path(__file__).parent / "golden"
_COPY_IN = re.compile(r"copy\b.*\bfrom\s+stdin", re.IGNORECASE | re.DOTALL)
_ERROR_FIELDS = (
    ("DETAIL", Diag.MESSAGE_DETAIL),
    ("HINT", Diag.MESSAGE_HINT),
    ("POSITION", Diag.STATEMENT_POSITION),
    ("CONTEXT", Diag.CONTEXT),
    ("CONSTRAINT", Diag.CONSTRAINT_NAME),
)


def scripts() -> list[Path]:
    """All golden scripts."""
    return sorted(FOLDER.glob("*.sql"))


def steps(text: str) -> Iterator[tuple[str, bytes]]:
    """The statements of a script, each with the COPY data that follow it."""
    lines = iter(text.splitlines())
    pending: list[str] = []
    for line in lines:
        if not pending and (not line.strip() or line.startswith("--")):
            continue
        pending.append(line)
        if not line.endswith(";"):
            continue
        statement = "\n".join(pending)
        pending = []
        data: list[str] = []
        if _COPY_IN.match(statement):
            for piece in lines:
                if piece == "\\.":
                    break
                data.append(piece + "\n")
        yield statement, "".join(data).encode()


def play(dsn: str, text: str, *, extended: bool) -> str:
    """Everything the server answers to a script, by the simple or the extended protocol."""
    written: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        pgconn = connection.pgconn

        def notice(result: pq.abc.PGresult) -> None:
            severity = _field(result, Diag.SEVERITY_NONLOCALIZED)
            sqlstate, message = _field(result, Diag.SQLSTATE), _field(result, Diag.MESSAGE_PRIMARY)
            written.append(f"{severity} {sqlstate}: {message}")

        pgconn.notice_handler = notice
        for statement, data in steps(text):
            written.append(f"\n> {statement}")
            # A text of several statements is something only the simple protocol has.
            single = extended and statement.rstrip(";").count(";") == 0
            if single:
                pgconn.send_query_params(statement.rstrip(";").encode(), [])
            else:
                pgconn.send_query(statement.encode())
            while (result := _next_result(pgconn)) is not None:
                if result.status == ExecStatus.COPY_IN:
                    pgconn.put_copy_data(data)
                    pgconn.put_copy_end()
                elif result.status == ExecStatus.COPY_OUT:
                    written += _copied(pgconn)
                else:
                    written += described(result)
    return "\n".join(written).lstrip("\n") + "\n"


def _wait(pgconn: pq.abc.PGconn) -> None:
    """Wait for the server outside of libpq, which would keep the interpreter (and a server in the
    same process) waiting too."""
    select.select([pgconn.socket], [], [])
    pgconn.consume_input()


def _next_result(pgconn: pq.abc.PGconn) -> pq.abc.PGresult | None:
    while pgconn.is_busy():
        _wait(pgconn)
    return pgconn.get_result()


def _copied(pgconn: pq.abc.PGconn) -> Iterator[str]:
    while True:
        size, data = pgconn.get_copy_data(1)
        if size == 0:
            _wait(pgconn)
            continue
        if size < 0:
            return
        yield bytes(data).decode().removesuffix("\n")


def _field(result: pq.abc.PGresult, field: Diag) -> str:
    value = result.error_field(field)
    return value.decode() if value is not None else ""


def described(result: pq.abc.PGresult) -> Iterator[str]:
    if result.status == ExecStatus.FATAL_ERROR:
        severity = _field(result, Diag.SEVERITY_NONLOCALIZED)
        sqlstate, message = _field(result, Diag.SQLSTATE), _field(result, Diag.MESSAGE_PRIMARY)
        yield f"{severity} {sqlstate}: {message}"
        for name, field in _ERROR_FIELDS:
            if value := _field(result, field):
                yield f"  {name}: {value}"
        return
    if result.status == ExecStatus.TUPLES_OK:
        names = [
            f"{(result.fname(n) or b'').decode()}:{result.ftype(n)}"
            + (f"({result.fmod(n)})" if result.fmod(n) != -1 else "")
            for n in range(result.nfields)
        ]
        yield " | ".join(names)
        for row in range(result.ntuples):
            values = [result.get_value(row, n) for n in range(result.nfields)]
            yield " | ".join("∅" if v is None else bytes(v).decode() for v in values)
    tag = result.command_status
    yield f"= {tag.decode() if tag else ExecStatus(result.status).name}"


def record(dsn: str) -> None:
    """Write the answers of a PostgreSQL 15 next to every script."""
    for script in scripts():
        _fresh(dsn)
        answers = play(dsn, script.read_text(encoding="utf-8"), extended=False)
        script.with_suffix(".out").write_text(answers, encoding="utf-8")


def _fresh(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


if __name__ == "__main__":
    record(sys.argv[1])
