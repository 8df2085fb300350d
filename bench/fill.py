"""Many tenants at once: rows as the API leaves them, written straight into the registry's file.

One tenant that the API has made is the pattern. Its row, its labels and its entry in the audit log
are copied under other names, so that the tables and their indexes are as large as if each had been
made by a request, which would take minutes.
"""

import sqlite3
from pathlib import Path

_CHUNK = 5_000
"""Tenants in a transaction: whoever else writes waits no longer than for that."""

GROUPS = 1_000
"""Each tenant has the label `group`, one of so many values, and `stage=test`."""


def fill(file: Path, pattern: int, count: int) -> None:
    """Add `count` tenants named `many-<n>`, like the living tenant with the id `pattern`."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=30)
    try:
        first = 1 + connection.execute("SELECT max(id) FROM tenants").fetchone()[0]
        for start in range(first, first + count, _CHUNK):
            end = min(start + _CHUNK, first + count)
            connection.execute("BEGIN IMMEDIATE")
            _copy(connection, pattern, start, end)
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _copy(connection: sqlite3.Connection, pattern: int, start: int, end: int) -> None:
    """Ids from `start` to before `end`."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2) "
    labels = f"json_object('group', 'g' || (i % {GROUPS}), 'stage', 'test')"
    own = {"id": "i", "name": "'many-' || i", "database": "'many-' || i", "labels": labels}
    connection.execute(
        _insert_like(connection, "tenants", own, numbers) + " FROM n, tenants WHERE id = ?3",
        (start, end, pattern),
    )
    connection.execute(
        "INSERT INTO tenant_labels (name, value, tenant_id) SELECT each.key, each.value, tenants.id"
        " FROM tenants, json_each(labels) AS each WHERE tenants.id >= ? AND tenants.id < ?",
        (start, end),
    )
    noted = {"id": "NULL", "tenant_id": "i", "resource": "'tenants/' || i"}
    connection.execute(
        _insert_like(connection, "audit", noted, numbers)
        + " FROM n, audit WHERE tenant_id = ?3 AND action = 'tenant.create'",
        (start, end, pattern),
    )


def _insert_like(
    connection: sqlite3.Connection, table: str, own: dict[str, str], numbers: str
) -> str:
    """An INSERT of all columns of a table, with `own` expressions for some of them."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(own.get(column, f'"{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    return f"INSERT INTO {table} ({names}) {numbers}SELECT {values}"
