"""The system's own tables and views: PostgreSQL 15's names, OIDs and columns.

`data/columns.tsv` is written by `sqlnode.catalog.generate` and never edited. Every table of
pg_catalog and information_schema is there, so that a query over one that Dormouse has nothing for
finds it, with its columns, empty. `data/own_columns.tsv` has those that PostgreSQL gets from an
extension.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from sqlnode.catalog.descriptors import Column, Table

_DATA = Path(__file__).parent / "data"
_COLUMNS = (_DATA / "columns.tsv", _DATA / "own_columns.tsv")

PG_CATALOG_OID = 11
TOAST_OID = 99
PUBLIC_OID = 2200
INFORMATION_SCHEMA_OID = 13207
OWNER_OID = 10
"""The tenant's first role."""
DATABASE_OWNER_OID = 6171
FIRST_USER_OID = 16384
DATABASE_OID = 16383
"""Below what is handed out, so that no table has it."""
DEFAULT_TABLESPACE_OID = 1663
STATEMENTS_EXTENSION_OID = 16365
"""pg_stat_statements, which is always there."""

PG_CLASS, PG_ATTRIBUTE, PG_PROC, PG_TYPE = 1259, 1249, 1255, 1247
PG_NAMESPACE, PG_CONSTRAINT, PG_AUTHID, PG_DATABASE = 2615, 2606, 1260, 1262
PG_ATTRDEF = 2604
"""OIDs of the system tables themselves."""

ROLES: Mapping[int, str] = {
    DATABASE_OWNER_OID: "pg_database_owner",
    6181: "pg_read_all_data",
    6182: "pg_write_all_data",
    3373: "pg_monitor",
    3374: "pg_read_all_settings",
    3375: "pg_read_all_stats",
    3377: "pg_stat_scan_tables",
    4569: "pg_read_server_files",
    4570: "pg_write_server_files",
    4571: "pg_execute_server_program",
    4200: "pg_signal_backend",
    4544: "pg_checkpoint",
}
"""PostgreSQL's predefined roles."""


@dataclass(frozen=True, slots=True)
class SystemRelation:
    """A system table with what pg_class says of it beyond its descriptor."""

    table: Table
    kind: str
    """r table, v view."""
    row_type: int


@cache
def relations() -> Mapping[tuple[str, str], SystemRelation]:
    """All system tables and views by (schema, name)."""
    lines = [
        line.split("\t")
        for file in _COLUMNS
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return {
        (schema, name): _relation(schema, name, list(rows))
        for (schema, name), rows in groupby(lines, key=lambda fields: (fields[0], fields[1]))
    }


@cache
def by_oid() -> Mapping[int, SystemRelation]:
    """All system tables and views by OID."""
    return {relation.table.oid: relation for relation in relations().values()}


def _relation(schema: str, name: str, rows: list[list[str]]) -> SystemRelation:
    oid = int(rows[0][2])
    columns = tuple(
        Column(column, number, int(type_oid), int(typmod), not_null == "1")
        for number, (*_, column, type_oid, typmod, not_null) in enumerate(rows, 1)
    )
    table = Table(oid, name, schema, oid, columns, virtual=True)
    return SystemRelation(table, rows[0][3], int(rows[0][4]))
