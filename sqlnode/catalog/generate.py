"""Writes the columns of PostgreSQL 15's own system tables and views.

    python -m sqlnode.catalog.generate --dsn postgresql://…

`--dsn` names a database of a freshly made cluster. Domains (information_schema.sql_identifier and
the like) are written as the types they are over. Needs psycopg, a development dependency.
"""

import argparse
from pathlib import Path

import psycopg

TARGET = Path(__file__).parent / "data" / "columns.tsv"

_QUERY = """
SELECT n.nspname, c.relname, c.oid, c.relkind::text, c.reltype, a.attname,
       CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END,
       CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END,
       CASE WHEN a.attnotnull THEN 1 ELSE 0 END
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid
  JOIN pg_type t ON t.oid = a.atttypid
 WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v')
   AND c.oid < 16384 AND a.attnum > 0
 ORDER BY n.nspname, c.relname, a.attnum
"""


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", required=True)
    options = parser.parse_args()
    with psycopg.connect(options.dsn) as connection:
        rows = connection.execute(_QUERY).fetchall()
    TARGET.parent.mkdir(exist_ok=True)
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
