"""Writes what PostgreSQL 15 answers to each script of scripts/ next to it.

    python -m tests.sqlnode.golden.record DSN

DSN names a database of its own, with the locale C.UTF-8, whose schema `public` is made anew.
"""

import sys
from pathlib import Path

import psycopg

from tests.sqlnode.session.golden_runner import play

SCRIPTS = Path(__file__).parent / "scripts"


def scripts() -> list[Path]:
    """All scripts."""
    return sorted(SCRIPTS.glob("*.sql"))


def record(dsn: str) -> None:
    """Ask the server and write the files."""
    for script in scripts():
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        answers = play(dsn, script.read_text(encoding="utf-8"), extended=False)
        script.with_suffix(".out").write_text(answers, encoding="utf-8")


if __name__ == "__main__":
    record(sys.argv[1])
