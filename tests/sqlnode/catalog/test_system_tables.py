"""The system's tables as clients read them: psql 15's own queries, drivers' and ORMs' lookups.

`psql15.sql` holds what `psql -E` of PostgreSQL 15 prints for its commands, with the OIDs of the
table and its index left open.
"""

from pathlib import Path

import asyncpg.introspection

from sqlnode.catalog import system
from sqlnode.types.array import EMPTY
from tests.support.sqltenant import Sql, with_sql

_PSQL = Path(__file__).with_name("psql15.sql")
_TABLE = (
    "CREATE TABLE a (id int PRIMARY KEY, b text NOT NULL DEFAULT 'x', c varchar(10),"
    " UNIQUE (b, c)); CREATE INDEX ON a (c); COMMENT ON TABLE a IS 'hello'"
)


async def _answers(db: Sql) -> dict[str, list[list[tuple[object, ...]]]]:
    """The rows of every query, by psql command."""
    await db.run(_TABLE)
    table = db.catalog.tables["public", "a"]
    found: dict[str, list[list[tuple[object, ...]]]] = {}
    for part in _PSQL.read_text(encoding="utf-8").split("-- \\")[1:]:
        command, _, query = part.partition("\n")
        query = query.rstrip().removesuffix(";")
        query = query.replace("{table}", str(table.oid)).replace(
            "{index}", str(table.indexes[0].oid)
        )
        found.setdefault(command, []).append(await db.rows(query))
    return found


def test_psqls_commands() -> None:
    async def body(db: Sql) -> None:
        answers = await _answers(db)
        assert answers["d"] == [[("public", "a", "table", "demo")]]
        assert [row[1] for row in answers["di"][0]] == ["a_b_c_key", "a_c_idx", "a_pkey"]
        _names, facts, columns, indexes, *nothing = answers["d a"]
        assert facts[0][:3] == (0, "r", True)
        assert [row[:4] for row in columns] == [
            ("id", "integer", None, True),
            ("b", "text", "'x'::text", True),
            ("c", "character varying(10)", None, False),
        ]
        assert [(row[0], row[5], row[6]) for row in indexes] == [
            (
                "a_pkey",
                "CREATE UNIQUE INDEX a_pkey ON public.a USING btree (id)",
                "PRIMARY KEY (id)",
            ),
            (
                "a_b_c_key",
                "CREATE UNIQUE INDEX a_b_c_key ON public.a USING btree (b, c)",
                "UNIQUE (b, c)",
            ),
            ("a_c_idx", "CREATE INDEX a_c_idx ON public.a USING btree (c)", None),
        ]
        assert not any(nothing)
        assert answers["dt+"][0][0][-1] == "hello"
        assert answers["l"][0][0][:5] == ("demo", "demo", "UTF8", "C.UTF-8", "C.UTF-8")
        assert answers["dn+"] == [[("public", "pg_database_owner", None, "standard public schema")]]
        assert answers["du"] == [
            [("demo", False, True, False, False, True, -1, None, EMPTY, False, False)]
        ]
        assert answers["dT"] == answers["df nope"] == [[]]
        assert answers["dx"] == [[("pg_stat_statements", "1.10", "pg_catalog", None)]]
        assert answers["d a_pkey"][2] == [("id", "integer", "yes", "id")]

    with_sql(body)


def test_asyncpgs_type_introspection() -> None:
    async def body(db: Sql) -> None:
        query = asyncpg.introspection.INTRO_LOOKUP_TYPES.replace("$1", "'{1007}'")
        names = {row[2] for row in await db.rows(query)}
        assert names == {"int4", "_int4"}

    with_sql(body)


def test_every_system_table_can_be_read() -> None:
    async def body(db: Sql) -> None:
        await db.run(_TABLE)
        for schema, name in system.relations():
            await db.rows(f"SELECT * FROM {schema}.{name} LIMIT 1")

    with_sql(body)


def test_information_schema() -> None:
    async def body(db: Sql) -> None:
        await db.run(_TABLE)
        columns = await db.rows(
            "SELECT column_name, data_type, character_maximum_length, numeric_precision,"
            " is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY ordinal_position"
        )
        assert columns == [
            ("id", "integer", None, 32, "NO"),
            ("b", "text", None, None, "NO"),
            ("c", "character varying", 10, None, "YES"),
        ]
        keys = await db.rows(
            "SELECT constraint_type, column_name FROM information_schema.table_constraints"
            " JOIN information_schema.key_column_usage USING (constraint_name) ORDER BY 1, 2"
        )
        assert keys == [("PRIMARY KEY", "id"), ("UNIQUE", "b"), ("UNIQUE", "c")]

    with_sql(body)
