"""CREATE, ALTER, DROP: what PostgreSQL 15 answers, and what happens to rows."""

import pytest

from dormouse.base.tasks import spawn
from sqlnode.errors import SqlError
from tests.support.sqltenant import Sql, with_sql

# (statement, SQLSTATE, message, detail) as PostgreSQL 15 gives them over table a below.
_TABLE = (
    "CREATE TABLE a (id int PRIMARY KEY, b text NOT NULL DEFAULT 'x', c varchar(10), UNIQUE (b, c))"
)
_ERRORS = [
    ("CREATE TABLE a (x int)", "42P07", 'relation "a" already exists', None),
    ("CREATE TABLE q (x int, x int)", "42701", 'column "x" specified more than once', None),
    (
        "CREATE TABLE q (x int PRIMARY KEY, y int PRIMARY KEY)",
        "42P16",
        'multiple primary keys for table "q" are not allowed',
        None,
    ),
    (
        "CREATE TABLE q (x int, PRIMARY KEY (z))",
        "42703",
        'column "z" named in key does not exist',
        None,
    ),
    (
        "CREATE TABLE q (x int, PRIMARY KEY (x, x))",
        "42701",
        'column "x" appears twice in primary key constraint',
        None,
    ),
    (
        "CREATE TABLE q (x int NOT NULL NULL)",
        "42601",
        'conflicting NULL/NOT NULL declarations for column "x" of table "q"',
        None,
    ),
    ("CREATE TABLE nos.q (x int)", "3F000", 'schema "nos" does not exist', None),
    ("CREATE TABLE q (x int) WITH (foo = 5)", "22023", 'unrecognized parameter "foo"', None),
    (
        "CREATE TABLE q (x int) WITH (fillfactor = 5)",
        "22023",
        'value 5 out of bounds for option "fillfactor"',
        'Valid values are between "10" and "100".',
    ),
    (
        "CREATE TABLE pg_catalog.x (a int)",
        "42501",
        'permission denied to create "pg_catalog.x"',
        "System catalog modifications are currently disallowed.",
    ),
    ("DROP TABLE nope", "42P01", 'table "nope" does not exist', None),
    ("DROP INDEX nope", "42704", 'index "nope" does not exist', None),
    ("DROP TABLE a_pkey", "42809", '"a_pkey" is not a table', None),
    ("DROP INDEX a", "42809", '"a" is not an index', None),
    (
        "DROP INDEX a_pkey",
        "2BP01",
        "cannot drop index a_pkey because constraint a_pkey on table a requires it",
        None,
    ),
    (
        "DROP TABLE pg_class",
        "42501",
        'permission denied: "pg_class" is a system catalog',
        None,
    ),
    (
        "DROP SCHEMA public",
        "2BP01",
        "cannot drop schema public because other objects depend on it",
        "table a depends on schema public",
    ),
    ("CREATE SCHEMA public", "42P06", 'schema "public" already exists', None),
    (
        "CREATE SCHEMA pg_foo",
        "42939",
        'unacceptable schema name "pg_foo"',
        'The prefix "pg_" is reserved for system schemas.',
    ),
    ("DROP SCHEMA nope", "3F000", 'schema "nope" does not exist', None),
    ("CREATE INDEX a_pkey ON a (c)", "42P07", 'relation "a_pkey" already exists', None),
    ("CREATE INDEX ON nope (c)", "42P01", 'relation "nope" does not exist', None),
    ("CREATE INDEX ON a (nope)", "42703", 'column "nope" does not exist', None),
    (
        "ALTER TABLE a ADD PRIMARY KEY (c)",
        "42P16",
        'multiple primary keys for table "a" are not allowed',
        None,
    ),
    (
        "ALTER TABLE a ADD COLUMN c int",
        "42701",
        'column "c" of relation "a" already exists',
        None,
    ),
    (
        "ALTER TABLE a DROP COLUMN nope",
        "42703",
        'column "nope" of relation "a" does not exist',
        None,
    ),
    (
        "ALTER TABLE a ADD COLUMN z int NOT NULL",
        "23502",
        'column "z" of relation "a" contains null values',
        None,
    ),
    (
        "ALTER TABLE a ALTER COLUMN id DROP NOT NULL",
        "42P16",
        'column "id" is in a primary key',
        None,
    ),
    (
        "ALTER TABLE a ADD CONSTRAINT a_pkey UNIQUE (c)",
        "42P07",
        'relation "a_pkey" already exists',
        None,
    ),
    ("TRUNCATE nope", "42P01", 'relation "nope" does not exist', None),
    ("ANALYZE nope", "42P01", 'relation "nope" does not exist', None),
    ("ALTER TABLE nope ADD COLUMN c int", "42P01", 'relation "nope" does not exist', None),
    ("ALTER TABLE a RENAME id TO b", "42701", 'column "b" of relation "a" already exists', None),
]


def test_errors_are_postgresqls() -> None:
    async def body(db: Sql) -> None:
        await db.run(_TABLE)
        await db.run("INSERT INTO a VALUES (1, 'a', 'b')")
        for statement, sqlstate, message, detail in _ERRORS:
            with pytest.raises(SqlError) as error:
                await db.run(statement)
            assert (error.value.sqlstate, error.value.message, error.value.detail) == (
                sqlstate,
                message,
                detail,
            ), statement
        assert await db.rows("SELECT * FROM a") == [(1, "a", "b")]

    with_sql(body)


def test_notices_are_postgresqls() -> None:
    async def body(db: Sql) -> None:
        await db.run(_TABLE)
        await db.run("CREATE TABLE IF NOT EXISTS a (x int)")
        await db.run("DROP TABLE IF EXISTS nope, nos.nope")
        await db.run("CREATE SCHEMA IF NOT EXISTS public")
        await db.run("ALTER TABLE a ADD COLUMN IF NOT EXISTS c int")
        await db.run("ALTER TABLE IF EXISTS nope ADD COLUMN c int")
        await db.run("CREATE SCHEMA s; CREATE TABLE s.t (a int); DROP SCHEMA s CASCADE")
        assert db.notices == [
            'relation "a" already exists, skipping',
            'table "nope" does not exist, skipping',
            'schema "nos" does not exist, skipping',
            'schema "public" already exists, skipping',
            'column "c" of relation "a" already exists, skipping',
            'relation "nope" does not exist, skipping',
            "drop cascades to table s.t",
        ]

    with_sql(body)


def test_columns_come_and_go_over_old_rows() -> None:
    async def body(db: Sql) -> None:
        await db.run("CREATE TABLE t (a int PRIMARY KEY, b text, c int)")
        await db.run("INSERT INTO t VALUES (1, 'one', 10), (2, 'two', 20)")
        await db.run("CREATE INDEX ON t (b)")
        await db.run("ALTER TABLE t ADD COLUMN d numeric(5,2) DEFAULT 1.5 NOT NULL")
        await db.run("INSERT INTO t (a, c) VALUES (3, 30)")
        await db.run("ALTER TABLE t DROP COLUMN b")
        await db.run("ALTER TABLE t RENAME COLUMN c TO cc")
        await db.run("ALTER TABLE t ALTER COLUMN cc SET DEFAULT 7")
        await db.run("INSERT INTO t (a) VALUES (4)")
        shown = [tuple(map(str, row)) for row in await db.rows("SELECT * FROM t ORDER BY a")]
        assert shown == [
            ("1", "10", "1.50"),
            ("2", "20", "1.50"),
            ("3", "30", "1.50"),
            ("4", "7", "1.50"),
        ]
        fresh = await Sql.open(db.client)
        assert await fresh.rows("SELECT cc FROM t WHERE a = 2") == [(20,)]
        table = fresh.catalog.tables["public", "t"]
        assert [index.name for index in table.indexes] == ["t_pkey"]

    with_sql(body)


def test_primary_keys_move_rows_and_come_off_again() -> None:
    async def body(db: Sql) -> None:
        await db.run("CREATE TABLE t (id int, v text)")
        await db.run("CREATE INDEX ON t (v)")
        await db.run("INSERT INTO t VALUES (2, 'b'), (1, 'a'), (2, 'c'), (NULL, 'd')")
        with pytest.raises(SqlError) as error:
            await db.run("ALTER TABLE t ADD PRIMARY KEY (id)")
        assert error.value.sqlstate in ("23505", "23502")
        await db.run("DELETE FROM t WHERE v = 'c'")
        with pytest.raises(SqlError) as error:
            await db.run("ALTER TABLE t ADD PRIMARY KEY (id)")
        assert error.value.message == 'column "id" of relation "t" contains null values'
        await db.run("DELETE FROM t WHERE id IS NULL")
        await db.run("ALTER TABLE t ADD PRIMARY KEY (id)")
        assert await db.rows("SELECT * FROM t WHERE id = 2") == [(2, "b")]
        assert await db.rows("SELECT id FROM t WHERE v = 'a'") == [(1,)]
        with pytest.raises(SqlError) as error:
            await db.run("INSERT INTO t VALUES (1, 'again')")
        assert error.value.constraint == "t_pkey"
        await db.run("ALTER TABLE t DROP CONSTRAINT t_pkey")
        await db.run("INSERT INTO t VALUES (1, 'again')")
        assert await db.rows("SELECT count(*) FROM t WHERE id = 1") == [(2,)]

    with_sql(body)


def test_unique_indexes_are_built_and_checked() -> None:
    async def body(db: Sql) -> None:
        await db.run("CREATE TABLE t (id int, v text)")
        await db.run("INSERT INTO t VALUES (1, 'x'), (1, 'y'), (NULL, 'z'), (NULL, 'z')")
        with pytest.raises(SqlError) as error:
            await db.run("CREATE UNIQUE INDEX u ON t (id)")
        assert error.value.message == 'could not create unique index "u"'
        assert error.value.detail == "Key (id)=(1) is duplicated."
        await db.run("UPDATE t SET id = 2 WHERE v = 'y'")
        await db.run("CREATE UNIQUE INDEX u ON t (id DESC)")
        assert await db.rows("SELECT v FROM t WHERE id = 2") == [("y",)]
        [(definition,)] = await db.rows("SELECT indexdef FROM pg_indexes WHERE indexname = 'u'")
        assert definition == "CREATE UNIQUE INDEX u ON public.t USING btree (id DESC)"
        with pytest.raises(SqlError):
            await db.run("INSERT INTO t VALUES (2, 'w')")

    with_sql(body)


def test_ddl_is_transactional() -> None:
    async def body(db: Sql) -> None:
        await db.run("CREATE TABLE t (a int)")
        await db.run("INSERT INTO t VALUES (1)")
        db.begin()
        await db.run("TRUNCATE t")
        await db.run("INSERT INTO t VALUES (2)")
        await db.run("CREATE TABLE u (a int)")
        assert await db.rows("SELECT * FROM t") == [(2,)]
        other = await Sql.open(db.client)
        reading = spawn(other.rows("SELECT * FROM t"), name="reader")
        assert await db.rows("SELECT * FROM t") == [(2,)]
        assert not reading.done()
        db.rollback()
        assert await reading == [(1,)]
        assert await db.rows("SELECT * FROM t") == [(1,)]
        with pytest.raises(SqlError):
            await db.run("SELECT * FROM u")
        await db.run("TRUNCATE t")
        assert await db.rows("SELECT * FROM t") == []

    with_sql(body)


def test_another_pod_meets_the_new_catalog() -> None:
    async def body(db: Sql) -> None:
        await db.run("CREATE TABLE t (a int)")
        other = await Sql.open(db.client)
        await db.run("ALTER TABLE t ADD COLUMN b int DEFAULT 5")
        await other.run("INSERT INTO t VALUES (1)")
        assert await other.rows("SELECT * FROM t") == [(1, 5)]
        await other.run("CREATE TABLE u (a int)")
        await db.run("CREATE TABLE v (a int)")
        oids = [table.oid for table in db.catalog.tables.values()]
        assert len(set(oids)) == 3

    with_sql(body)


def test_a_change_waits_for_a_writer_of_which_storage_has_heard_nothing() -> None:
    async def body(db: Sql) -> None:
        await db.run("CREATE TABLE t (a int)")
        writer = await Sql.open(db.client)
        writer.begin()
        await writer.run("INSERT INTO t VALUES (1)")
        changing = spawn(db.run("ALTER TABLE t ADD COLUMN b int DEFAULT 5"), name="change")
        await writer.run("INSERT INTO t VALUES (2)")
        assert await writer.rows("SELECT * FROM t") == [(1,), (2,)]
        assert not changing.done()
        await writer.commit()
        await changing
        assert await db.rows("SELECT * FROM t") == [(1, 5), (2, 5)]

    with_sql(body)
