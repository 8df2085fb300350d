"""What an application on psycopg 3 does: parameters, types, transactions, errors, COPY."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

Seen = dict[str, Any]


def run(url: str) -> Seen:
    """Run the script against `url` and answer what the application saw, as JSON values."""
    seen: Seen = {}
    with psycopg.connect(url, autocommit=True) as connection:
        _types(connection, seen)
        _transactions(connection, seen)
        _errors(connection, seen)
        _copy(connection, seen)
        _cursors(connection, seen)
        _numbered(connection, seen)
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int * 2", [n]) for n in range(4)]
            seen["pipeline"] = [cursor.fetchone() for cursor in cursors]
        connection.execute("DROP TABLE psycopg_items")
    return seen


def _types(connection: psycopg.Connection[Any], seen: Seen) -> None:
    connection.execute("DROP TABLE IF EXISTS psycopg_items")
    connection.execute(
        "CREATE TABLE psycopg_items (id bigint PRIMARY KEY, name varchar(20) NOT NULL,"
        " price numeric(10,2) DEFAULT 1.5, on_sale bool, day date, at timestamptz, tag char(3))"
    )
    values = (
        1,
        "naïve ☃",
        Decimal("12.5"),
        True,
        date(2024, 2, 29),
        datetime(2024, 5, 6, 7, 8, 9, 123456, UTC),
        "x",
    )
    insert = "INSERT INTO psycopg_items VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING *"
    cursor = connection.execute(insert, values)
    seen["status"] = cursor.statusmessage
    seen["types"] = [column.type_code for column in cursor.description or ()]
    seen["text"] = [str(value) for value in cursor.fetchone() or ()]
    binary = connection.cursor(binary=True).execute(
        "SELECT * FROM psycopg_items WHERE id = %s", [1]
    )
    seen["binary"] = [str(value) for value in binary.fetchone() or ()]
    with connection.cursor(row_factory=dict_row) as rows:
        rows.executemany(
            "INSERT INTO psycopg_items (id, name) VALUES (%s, %s)", [(2, "two"), (3, "three")]
        )
        seen["many"] = rows.rowcount
        rows.execute("SELECT id, price, on_sale FROM psycopg_items WHERE id = ANY(%s)", [[2, 3]])
        seen["any"] = [{key: str(value) for key, value in row.items()} for row in rows.fetchall()]


def _numbered(connection: psycopg.Connection[Any], seen: Seen) -> None:
    """What ORMs do with keys that the database makes."""
    connection.execute("DROP TABLE IF EXISTS psycopg_lines, psycopg_orders")
    connection.execute("CREATE TABLE psycopg_orders (id serial PRIMARY KEY, name text)")
    connection.execute(
        "CREATE TABLE psycopg_lines (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " order_id int NOT NULL, what text)"
    )
    order = connection.execute(
        "INSERT INTO psycopg_orders (name) VALUES (%s) RETURNING id", ["first"]
    ).fetchone()
    rows = [(order[0] if order else None, f"line {n}") for n in range(5)]
    with connection.cursor() as cursor:
        insert = "INSERT INTO psycopg_lines (order_id, what) VALUES (%s, %s) RETURNING id"
        cursor.executemany(insert, rows, returning=True)
        made = [cursor.fetchone()]
        while cursor.nextset():
            made.append(cursor.fetchone())
    seen["numbered"] = made
    with connection.cursor() as cursor:
        with cursor.copy("COPY psycopg_lines (order_id, what) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute("SELECT min(id), max(id), count(*) FROM psycopg_lines")
        seen["numbered by copy"] = cursor.fetchone()
    asked = "SELECT currval(pg_get_serial_sequence('psycopg_orders', 'id'))"
    seen["currval"] = connection.execute(asked).fetchone()
    connection.execute("DROP TABLE psycopg_lines, psycopg_orders")


def _transactions(connection: psycopg.Connection[Any], seen: Seen) -> None:
    def count() -> int:
        row = connection.execute("SELECT count(*) FROM psycopg_items").fetchone()
        assert row is not None
        return int(row[0])

    with connection.transaction(), connection.transaction(force_rollback=True):
        connection.execute("DELETE FROM psycopg_items WHERE id > 1")
        seen["inside"] = count()
    seen["outside"] = count()
    with connection.transaction():
        connection.execute("UPDATE psycopg_items SET price = price + 1 WHERE id = 2")
        try:
            with connection.transaction():
                connection.execute("INSERT INTO psycopg_items VALUES (1, 'again')")
        except psycopg.errors.UniqueViolation as error:
            seen["constraint"] = error.diag.constraint_name
            seen["detail"] = error.diag.message_detail
    row = connection.execute("SELECT price FROM psycopg_items WHERE id = 2").fetchone()
    seen["after savepoint"] = str(row)


def _errors(connection: psycopg.Connection[Any], seen: Seen) -> None:
    seen["errors"] = []
    for statement, parameters in (
        ("INSERT INTO psycopg_items VALUES (9, NULL)", None),
        ("INSERT INTO psycopg_items VALUES (9, %s)", ["x" * 21]),
        ("SELECT %s::int", ["seven"]),
        ("SELECT nothing FROM psycopg_items", None),
        ("SELECT id + name FROM psycopg_items", None),
        ("SELECT 2147483647::int + 1", None),
    ):
        try:
            connection.execute(statement, parameters)
        except psycopg.Error as error:
            diag = error.diag
            seen["errors"].append([type(error).__name__, diag.sqlstate, diag.message_primary])


def _copy(connection: psycopg.Connection[Any], seen: Seen) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY psycopg_items (id, name, day) FROM STDIN") as copy,
    ):
        for number in range(100, 110):
            copy.write_row((number, f"row {number}", None if number % 2 else date(2024, 1, 1)))
    row = connection.execute(
        "SELECT count(*), count(day), min(name), max(id) FROM psycopg_items WHERE id >= 100"
    ).fetchone()
    seen["copied"] = list(row or ())


def _cursors(connection: psycopg.Connection[Any], seen: Seen) -> None:
    with connection.transaction(), connection.cursor(name="page") as cursor:
        cursor.execute("SELECT id FROM psycopg_items WHERE id >= 100 ORDER BY id")
        seen["pages"] = [len(cursor.fetchmany(4)) for _ in range(4)]
