"""Records what PostgreSQL 15 answers to the golden scripts.

    python -m tests.sqlnode.execute.regenerate postgresql://…/database

The database is written to: schema `golden` is dropped and made anew for every script.
"""

import sys
from pathlib import Path

import psycopg
from psycopg.pq import ExecStatus

from tests.support.sqlrig import show_error, statements

GOLDEN = Path(__file__).parents[1] / "golden" / "statements"


def record(dsn: str, script: Path) -> str:
    """The .out text of a script."""
    parts = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET client_min_messages = error")
        connection.execute("DROP SCHEMA IF EXISTS golden CASCADE")
        connection.execute("CREATE SCHEMA golden")
        connection.execute("SET search_path = golden")
        connection.execute("SET timezone = 'UTC'")
        # Hash orders are no promise; what the scripts leave unordered must not depend on them.
        for statement in statements((GOLDEN / "schema.sql").read_text()):
            connection.execute(statement.encode())
        parts += [
            f"{statement};\n{shown(connection, statement)}\n"
            for statement in statements(script.read_text())
        ]
    return "\n".join(parts)


def shown(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> str:
    """One statement's answer."""
    result = connection.pgconn.exec_(statement.encode())
    if result.status == ExecStatus.FATAL_ERROR:
        state, message, detail = (
            result.error_field(code) for code in (ord("C"), ord("M"), ord("D"))
        )
        return show_error(
            (state or b"").decode(),
            (message or b"").decode(),
            None if detail is None else detail.decode(),
        )
    lines = []
    if result.nfields:
        lines.append(" | ".join((result.fname(i) or b"").decode() for i in range(result.nfields)))
        for row in range(result.ntuples):
            values = [result.get_value(row, i) for i in range(result.nfields)]
            lines.append(" | ".join("∅" if v is None else v.decode() for v in values))
    lines.append((result.command_status or b"").decode())
    return "\n".join(lines)


def main() -> None:
    """Write every script's .out file."""
    (dsn,) = sys.argv[1:]
    for script in sorted(GOLDEN.glob("*.sql")):
        if script.name != "schema.sql":
            script.with_suffix(".out").write_text(record(dsn, script))


if __name__ == "__main__":
    main()
