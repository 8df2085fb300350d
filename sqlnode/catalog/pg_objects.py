"""Rows of pg_catalog's tables: namespaces, classes, attributes, indexes, constraints, roles."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sqlnode.builtins.facts import facts
from sqlnode.catalog import system
from sqlnode.catalog.catalog import sequence_table
from sqlnode.catalog.descriptors import Column, NumberSequence, Table
from sqlnode.catalog.makers import (
    BTREE,
    HEAP,
    Fact,
    Maker,
    all_tables,
    database_name,
    owner_name,
    schema_oid,
    user_indexes,
    user_sequences,
    user_tables,
)
from sqlnode.catalog.references import referenced
from sqlnode.types.array import Array
from sqlnode.types.registry import by_oid, find

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.execute.api import Execution

_UTF8 = 6
_DEFAULT_COLLATION = 100
_PAGE_BYTES = 8192
_ROWS_PER_PAGE = 60

# xmin and its like: number, name, type.
_SYSTEM_COLUMNS = (
    (-6, "tableoid", 26, 4),
    (-5, "cmax", 29, 4),
    (-4, "xmax", 28, 4),
    (-3, "cmin", 29, 4),
    (-2, "xmin", 28, 4),
    (-1, "ctid", 27, 6),
)


def _namespaces(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for schema in catalog.schemas.values():
        owner = owner_name(catalog, schema.owner, execution)
        yield {"oid": schema.oid, "nspname": schema.name, "nspowner": catalog.owner_oid(owner)}


def _classes(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for table, kind in all_tables(catalog):
        relation = system.by_oid().get(table.oid)
        yield {
            **_class_fact(catalog, table),
            "oid": table.oid,
            "relname": table.name,
            "reltype": relation.row_type if relation is not None else 0,
            "relam": HEAP if kind == "r" else 0,
            "relfilenode": table.oid if kind == "r" else 0,
            "reltuples": table.rows_estimate,
            "relpages": _pages(table),
            "relhasindex": bool(table.indexes),
            "relkind": kind,
            "relnatts": len(table.columns),
            "relchecks": len(table.constraints),
            "relhasrules": kind == "v",
            "relreplident": "n" if table.virtual else "d",
            "reloptions": Array.of(table.options) if table.options else None,
        }
    for table, index in user_indexes(catalog):
        yield {
            **_class_fact(catalog, table),
            "oid": index.oid,
            "relname": index.name,
            "relam": BTREE,
            "relfilenode": index.oid,
            "reltuples": table.rows_estimate,
            "relkind": "i",
            "relnatts": len(index.columns),
            "relreplident": "n",
        }
    for sequence in user_sequences(catalog):
        yield {
            **_class_fact(catalog, sequence),
            "oid": sequence.oid,
            "relname": sequence.name,
            "relfilenode": sequence.oid,
            "reltuples": 1.0,
            "relpages": 1,
            "relkind": "S",
            "relnatts": 3,
            "relreplident": "n",
        }
    del execution


def _class_fact(catalog: "Catalog", table: Table | NumberSequence) -> Fact:
    return {
        "relnamespace": schema_oid(catalog, table.schema),
        "relowner": catalog.owner_oid(table.owner),
        "relpersistence": "p",
        "relispopulated": True,
    }


def _pages(table: Table) -> int:
    return 0 if table.rows_estimate <= 0 else int(table.rows_estimate / _ROWS_PER_PAGE) + 1


def _attributes(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for table, kind in all_tables(catalog):
        for column in table.columns:
            yield _attribute(table.oid, column)
        if kind == "r":
            yield from _system_attributes(table.oid)
    for sequence in user_sequences(catalog):
        for column in sequence_table(sequence).columns:
            yield _attribute(sequence.oid, column)
        yield from _system_attributes(sequence.oid)
    for table, index in user_indexes(catalog):
        by_number = {column.number: column for column in table.columns}
        for place, key in enumerate(index.columns, 1):
            column = by_number[key.number]
            yield {
                **_attribute(index.oid, column),
                "attnum": place,
                "attnotnull": False,
                "atthasdef": False,
            }
    del execution


def _attribute(relation: int, column: Column) -> Fact:
    if column.dropped:
        return {
            "attrelid": relation,
            "attname": f"........pg.dropped.{column.number}........",
            "attnum": column.number,
            "attisdropped": True,
            "atttypmod": -1,
            "attcacheoff": -1,
            "attislocal": True,
        }
    kind = by_oid(column.type)
    return {
        "attrelid": relation,
        "attname": column.name,
        "atttypid": column.type,
        "attstattarget": -1,
        "attlen": kind.length,
        "attnum": column.number,
        "attndims": 1 if kind.category == "A" else 0,
        "attcacheoff": -1,
        "atttypmod": column.typmod,
        "attbyval": kind.by_value,
        "attalign": _alignment(kind.oid),
        "attstorage": "p" if kind.length > 0 else "m" if kind.name == "numeric" else "x",
        "attnotnull": column.not_null,
        "atthasdef": column.default is not None,
        "attidentity": column.identity,
        "atthasmissing": column.missing is not None,
        "attislocal": True,
        "attcollation": _collation(kind.oid),
    }


def _system_attributes(relation: int) -> Iterator[Fact]:
    for number, name, type_oid, length in _SYSTEM_COLUMNS:
        yield _system_attribute(relation, number, name, type_oid, length)


def _system_attribute(relation: int, number: int, name: str, type_oid: int, length: int) -> Fact:
    return {
        "attrelid": relation,
        "attname": name,
        "atttypid": type_oid,
        "attlen": length,
        "attnum": number,
        "attcacheoff": -1,
        "atttypmod": -1,
        "attbyval": name != "ctid",
        "attalign": "s" if name == "ctid" else "i",
        "attstorage": "p",
        "attnotnull": True,
        "attislocal": True,
    }


_alignments: dict[int, str] = {}
_collations: dict[int, int] = {}


def _alignment(type_oid: int) -> str:
    if not _alignments:
        _read_type_facts()
    return _alignments.get(type_oid, "i")


def _collation(type_oid: int) -> int:
    if not _collations:
        _read_type_facts()
    return _collations.get(type_oid, 0)


def _read_type_facts() -> None:
    source = facts("pg_type")
    oid, align, collation = map(source.position, ("oid", "typalign", "typcollation"))
    for row in source.rows:
        number = int(row[oid] or 0)
        _alignments[number] = row[align] or "i"
        _collations[number] = int(row[collation] or 0)


def _defaults(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for table in user_tables(catalog):
        for column in table.live:
            if column.default is not None:
                yield {
                    # A default has no OID of its own here; this one is unique within the table.
                    "oid": _default_oid(table, column),
                    "adrelid": table.oid,
                    "adnum": column.number,
                    "adbin": column.default,
                }
    del execution


def _default_oid(table: Table, column: Column) -> int:
    return table.oid * 2048 % (1 << 31) + column.number


def _dependencies(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    """Of sequences, which is where psql and drivers look: on the columns that own them, and of the
    defaults that use them."""
    for sequence in user_sequences(catalog):
        if sequence.table:
            yield {
                **_dependency(system.PG_CLASS, sequence.oid, sequence.table, sequence.column),
                "deptype": "i" if sequence.identity else "a",
            }
    for table in user_tables(catalog):
        for column in table.live:
            for oid in sorted(referenced(column.default)):
                default = _default_oid(table, column)
                yield {**_dependency(system.PG_ATTRDEF, default, oid, 0), "deptype": "n"}
    del execution


def _dependency(class_oid: int, oid: int, relation: int, column: int) -> Fact:
    return {
        "classid": class_oid,
        "objid": oid,
        "refclassid": system.PG_CLASS,
        "refobjid": relation,
        "refobjsubid": column,
    }


def _indexes(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for table, index in user_indexes(catalog):
        types = {column.number: column.type for column in table.columns}
        keys = [key.number for key in index.columns]
        yield {
            "indexrelid": index.oid,
            "indrelid": table.oid,
            "indnatts": len(keys),
            "indnkeyatts": len(keys),
            "indisunique": index.unique,
            "indisprimary": index.primary,
            "indimmediate": True,
            "indisvalid": True,
            "indisready": True,
            "indislive": True,
            "indkey": Array.vector(keys),
            "indcollation": Array.vector([_collation(types[key]) for key in keys]),
            "indclass": Array.vector([_operator_class(types[key]) for key in keys]),
            "indoption": Array.vector(
                [key.descending * 1 + key.nulls_first * 2 for key in index.columns]
            ),
        }
    del execution


_classes_by_type: dict[int, int] = {}


def _operator_class(type_oid: int) -> int:
    """OID of the default btree operator class of a type."""
    if not _classes_by_type:
        source = facts("pg_opclass")
        places = map(source.position, ("oid", "opcmethod", "opcintype", "opcdefault"))
        oid, method, input_type, default = places
        for row in source.rows:
            if int(row[method] or 0) == BTREE and row[default] == "t":
                _classes_by_type[int(row[input_type] or 0)] = int(row[oid] or 0)
    kind = find(type_oid)
    aliases = {"varchar": 25}
    return _classes_by_type.get(aliases.get(kind.name, type_oid) if kind else type_oid, 0)


def _constraints(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for table, index in user_indexes(catalog):
        if index.constraint_oid:
            keys = [key.number for key in index.columns]
            yield {
                **_constraint_fact(catalog, table, index.constraint_oid, index.name, keys),
                "contype": "p" if index.primary else "u",
                "conindid": index.oid,
                "connoinherit": True,
            }
    for table in user_tables(catalog):
        for check in table.constraints:
            yield {
                **_constraint_fact(catalog, table, check.oid, check.name, list(check.columns)),
                "contype": check.kind,
                "conbin": check.expression,
            }
    del execution


def _constraint_fact(
    catalog: "Catalog", table: Table, oid: int, name: str, columns: list[int]
) -> Fact:
    return {
        "oid": oid,
        "conname": name,
        "connamespace": schema_oid(catalog, table.schema),
        "convalidated": True,
        "conrelid": table.oid,
        "confupdtype": " ",
        "confdeltype": " ",
        "confmatchtype": " ",
        "conislocal": True,
        "conkey": Array.of(columns),
    }


def _descriptions(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for schema in catalog.schemas.values():
        if schema.comment is not None:
            yield _description(schema.oid, system.PG_NAMESPACE, 0, schema.comment)
    for table in user_tables(catalog):
        if table.comment is not None:
            yield _description(table.oid, system.PG_CLASS, 0, table.comment)
        for column in table.live:
            if column.comment is not None:
                yield _description(table.oid, system.PG_CLASS, column.number, column.comment)
    for sequence in user_sequences(catalog):
        if sequence.comment is not None:
            yield _description(sequence.oid, system.PG_CLASS, 0, sequence.comment)
    del execution


def _description(oid: int, class_oid: int, column: int, text: str) -> Fact:
    return {"objoid": oid, "classoid": class_oid, "objsubid": column, "description": text}


def _databases(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    yield {
        "oid": system.DATABASE_OID,
        "datname": database_name(catalog, execution),
        "datdba": system.OWNER_OID,
        "encoding": _UTF8,
        "datlocprovider": "c",
        "datallowconn": True,
        "datconnlimit": -1,
        "datfrozenxid": 0,
        "dattablespace": system.DEFAULT_TABLESPACE_OID,
        "datcollate": "C.UTF-8",
        "datctype": "C.UTF-8",
    }


def roles(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    """Rows of pg_authid: the tenant's first role, then PostgreSQL's predefined ones."""
    yield {
        "oid": system.OWNER_OID,
        "rolname": owner_name(catalog, "", execution),
        "rolinherit": True,
        "rolcanlogin": True,
        "rolconnlimit": -1,
    }
    for oid, name in system.ROLES.items():
        yield {"oid": oid, "rolname": name, "rolinherit": True, "rolconnlimit": -1}


def _tablespaces(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    del catalog, execution
    for oid, name in ((system.DEFAULT_TABLESPACE_OID, "pg_default"), (1664, "pg_global")):
        yield {"oid": oid, "spcname": name, "spcowner": system.OWNER_OID}


MAKERS: Mapping[str, Maker] = {
    "pg_attrdef": _defaults,
    "pg_attribute": _attributes,
    "pg_authid": roles,
    "pg_class": _classes,
    "pg_constraint": _constraints,
    "pg_database": _databases,
    "pg_depend": _dependencies,
    "pg_description": _descriptions,
    "pg_index": _indexes,
    "pg_namespace": _namespaces,
    "pg_tablespace": _tablespaces,
}
