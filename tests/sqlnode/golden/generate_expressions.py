"""Writes expressions.out: what PostgreSQL 15 answers to each line of expressions.sql.

    python -m tests.sqlnode.golden.generate_expressions --dsn postgresql://…

Per statement: the statement, then a line per row with values between `|` (`\\N` for NULL), or
`ERROR` with SQLSTATE and message; then an empty line.
"""

import argparse
from pathlib import Path

import psycopg

HERE = Path(__file__).parent
SETTINGS = "SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'"


def main() -> None:
    """Ask the server and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", required=True)
    options = parser.parse_args()
    statements = (HERE / "expressions.sql").read_text(encoding="utf-8").splitlines()
    with psycopg.connect(options.dsn, autocommit=True) as connection:
        connection.execute(SETTINGS)
        blocks = [answer(connection, statement) for statement in statements]
    (HERE / "expressions.out").write_text("\n".join(blocks), encoding="utf-8")


def answer(connection: psycopg.Connection[tuple[str, ...]], statement: str) -> str:
    """One statement's block."""
    lines = [statement]
    try:
        result = connection.execute(statement.encode()).pgresult
        assert result is not None
        for row in range(result.ntuples):
            values = (result.get_value(row, column) for column in range(result.nfields))
            lines.append("|".join("\\N" if v is None else shown(v.decode()) for v in values))
    except psycopg.Error as error:
        lines.append(f"ERROR {error.sqlstate} {error.diag.message_primary}")
    return "\n".join(lines) + "\n"


def shown(text: str) -> str:
    """On one line."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


if __name__ == "__main__":
    main()
