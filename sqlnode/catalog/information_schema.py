"""Rows of information_schema's views (ISO/IEC 9075-11; PostgreSQL manual, chapter 37)."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sqlnode.catalog.descriptors import Column, Table
from sqlnode.catalog.makers import Fact, Maker, all_tables, database_name, owner_name, user_tables
from sqlnode.catalog.sequence_views import identity_facts
from sqlnode.types.registry import by_oid, format_type

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.execute.api import Execution

_OCTETS_MAX = 1 << 30
_INTEGER_BITS = {"int2": 16, "int4": 32, "int8": 64}
_FLOAT_BITS = {"float4": 24, "float8": 53}
_TIMES = frozenset({"time", "timetz", "timestamp", "timestamptz", "interval"})


def _database(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    yield {"catalog_name": database_name(catalog, execution)}


def _schemata(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for schema in catalog.schemas.values():
        yield {
            "catalog_name": database_name(catalog, execution),
            "schema_name": schema.name,
            "schema_owner": owner_name(catalog, schema.owner, execution),
        }


def _tables(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for table, kind in all_tables(catalog):
        yield {
            "table_catalog": database_name(catalog, execution),
            "table_schema": table.schema,
            "table_name": table.name,
            "table_type": "VIEW" if kind == "v" else "BASE TABLE",
            "is_insertable_into": "NO" if table.virtual else "YES",
            "is_typed": "NO",
        }


def _columns(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    database = database_name(catalog, execution)
    for table, _kind in all_tables(catalog):
        for place, column in enumerate(table.live, 1):
            yield {
                "table_catalog": database,
                "table_schema": table.schema,
                "table_name": table.name,
                "column_name": column.name,
                "ordinal_position": column.number if not table.virtual else place,
                "column_default": _shown_default(catalog, column, execution),
                "is_nullable": "NO" if column.not_null else "YES",
                **_type_facts(column),
                "udt_catalog": database,
                "udt_schema": "pg_catalog",
                "udt_name": by_oid(column.type).name,
                "dtd_identifier": str(column.number),
                "is_self_referencing": "NO",
                **identity_facts(catalog.sequence_by_oid(column.sequence), column.identity),
                "is_generated": "NEVER",
                "is_updatable": "NO" if table.virtual else "YES",
            }


def _shown_default(catalog: "Catalog", column: Column, execution: "Execution") -> str | None:
    if column.default is None:
        return None
    return catalog.shown_expression(column.default, execution.functions.search_path())


def _type_facts(column: Column) -> dict[str, Any]:
    kind, typmod = by_oid(column.type), column.typmod
    found: dict[str, Any] = {
        "data_type": "ARRAY" if kind.category == "A" else format_type(column.type, -1)
    }
    if kind.name in ("varchar", "bpchar"):
        found["data_type"] = "character varying" if kind.name == "varchar" else "character"
        length = typmod - 4 if typmod > 0 else None
        found["character_maximum_length"] = length
        found["character_octet_length"] = _OCTETS_MAX if length is None else length * 4
    elif kind.name == "text":
        found["character_octet_length"] = _OCTETS_MAX
    elif kind.name in _INTEGER_BITS:
        found |= _precision(_INTEGER_BITS[kind.name], 2, 0)
    elif kind.name in _FLOAT_BITS:
        found |= _precision(_FLOAT_BITS[kind.name], 2, None)
    elif kind.name == "numeric":
        modifier = typmod - 4
        bounded = typmod > 0
        found |= _precision(
            modifier >> 16 if bounded else None, 10, modifier & 0x7FF if bounded else None
        )
    elif kind.name in _TIMES:
        found["datetime_precision"] = typmod if 0 <= typmod <= 6 else 6
    elif kind.name == "date":
        found["datetime_precision"] = 0
    return found


def _precision(precision: int | None, radix: int, scale: int | None) -> dict[str, Any]:
    return {
        "numeric_precision": precision,
        "numeric_precision_radix": radix,
        "numeric_scale": scale,
    }


def _table_constraints(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for table in user_tables(catalog):
        for index in table.indexes:
            if index.constraint_oid:
                kind = "PRIMARY KEY" if index.primary else "UNIQUE"
                yield {
                    **_constraint(catalog, execution, table, index.name),
                    "constraint_type": kind,
                    "nulls_distinct": None if index.primary else "YES",
                }
        for check in table.constraints:
            yield {
                **_constraint(catalog, execution, table, check.name),
                "constraint_type": "CHECK",
            }
        for column in table.live:
            if column.not_null:
                yield {
                    **_constraint(catalog, execution, table, _not_null(catalog, table, column)),
                    "constraint_type": "CHECK",
                }


def _not_null(catalog: "Catalog", table: Table, column: Column) -> str:
    return f"{catalog.schemas[table.schema].oid}_{table.oid}_{column.number}_not_null"


def _constraint(
    catalog: "Catalog", execution: "Execution", table: Table, name: str
) -> dict[str, Any]:
    database = database_name(catalog, execution)
    return {
        "constraint_catalog": database,
        "constraint_schema": table.schema,
        "constraint_name": name,
        "table_catalog": database,
        "table_schema": table.schema,
        "table_name": table.name,
        "is_deferrable": "NO",
        "initially_deferred": "NO",
        "enforced": "YES",
    }


def _key_columns(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    database = database_name(catalog, execution)
    for table in user_tables(catalog):
        names = {column.number: column.name for column in table.columns}
        for index in table.indexes:
            if not index.constraint_oid:
                continue
            for place, key in enumerate(index.columns, 1):
                yield {
                    "constraint_catalog": database,
                    "constraint_schema": table.schema,
                    "constraint_name": index.name,
                    "table_catalog": database,
                    "table_schema": table.schema,
                    "table_name": table.name,
                    "column_name": names[key.number],
                    "ordinal_position": place,
                }


def _constraint_columns(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for fact in _key_columns(catalog, execution):
        del fact["ordinal_position"]
        yield fact


MAKERS: Mapping[str, Maker] = {
    "columns": _columns,
    "constraint_column_usage": _constraint_columns,
    "information_schema_catalog_name": _database,
    "key_column_usage": _key_columns,
    "schemata": _schemata,
    "table_constraints": _table_constraints,
    "tables": _tables,
}
