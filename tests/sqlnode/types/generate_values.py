"""Writes values.tsv: how PostgreSQL 15 reads and prints texts of every type.

    python -m tests.sqlnode.types.generate_values --dsn postgresql://…

A line is type, text, `=` and the output with the binary form in hexadecimal, or `!` and the
SQLSTATE and message.
"""

import argparse
from pathlib import Path

import psycopg
from psycopg import sql

from tests.sqlnode.types.texts import TEXTS

OUTPUT = Path(__file__).parent / "values.tsv"
SETTINGS = (
    "SET timezone = 'America/New_York'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'"
)


def escape(text: str) -> str:
    """Without tabs and line ends."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def main() -> None:
    """Ask the server and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", required=True)
    options = parser.parse_args()
    lines = []
    with psycopg.connect(options.dsn, autocommit=True) as connection:
        connection.execute(SETTINGS)
        for type_name, texts in TEXTS.items():
            lines += [ask(connection, type_name, text) for text in texts]
    OUTPUT.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def ask(connection: psycopg.Connection[tuple[str, ...]], type_name: str, text: str) -> str:
    """One line of the file."""
    query = sql.SQL("SELECT {}::{}").format(sql.Literal(text), sql.SQL(type_name))
    try:
        shown = connection.execute(query).pgresult
        packed = connection.execute(query, binary=True).pgresult
        assert shown is not None
        assert packed is not None
        printed = (shown.get_value(0, 0) or b"").decode()
        data = packed.get_value(0, 0) or b""
        outcome = f"={escape(printed)}\t{data.hex()}"
    except psycopg.Error as error:
        outcome = f"!{error.sqlstate} {escape(error.diag.message_primary or '')}\t"
    return f"{type_name}\t{escape(text)}\t{outcome}"


if __name__ == "__main__":
    main()
