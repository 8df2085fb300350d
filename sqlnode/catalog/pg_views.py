"""Rows of pg_catalog's views."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sqlnode.catalog import deparse, system
from sqlnode.catalog.makers import (
    Fact,
    Maker,
    all_tables,
    database_name,
    owner_name,
    user_indexes,
    user_tables,
)
from sqlnode.catalog.pg_objects import roles
from sqlnode.session.guc import SETTINGS, Context, Kind
from sqlnode.types.array import Array

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.execute.api import Execution


def _tables(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for table, kind in all_tables(catalog):
        if kind == "r":
            yield {
                "schemaname": table.schema,
                "tablename": table.name,
                "tableowner": owner_name(catalog, table.owner, execution),
                "hasindexes": bool(table.indexes),
                "hasrules": False,
                "hastriggers": False,
                "rowsecurity": False,
            }


def _indexes(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    del execution
    for table, index in user_indexes(catalog):
        yield {
            "schemaname": table.schema,
            "tablename": table.name,
            "indexname": index.name,
            "indexdef": deparse.index_definition(table, index),
        }


def _roles(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for role in roles(catalog, execution):
        yield {
            "rolsuper": False,
            "rolcreaterole": False,
            "rolcreatedb": False,
            "rolcanlogin": False,
            "rolreplication": False,
            "rolbypassrls": False,
            "rolpassword": "********",
            **role,
        }


def _users(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    yield {
        "usename": owner_name(catalog, "", execution),
        "usesysid": system.OWNER_OID,
        "usecreatedb": False,
        "usesuper": False,
        "userepl": False,
        "usebypassrls": False,
        "passwd": "********",
    }


def _groups(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    del catalog, execution
    for oid, name in system.ROLES.items():
        yield {"groname": name, "grosysid": oid}


def _activity(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    """The asking session; the others' states are their own business here."""
    functions = execution.functions
    yield {
        "datid": system.DATABASE_OID,
        "datname": database_name(catalog, execution),
        "pid": functions.backend_pid,
        "usesysid": system.OWNER_OID,
        "usename": functions.session_user,
        "application_name": functions.setting("application_name") or "",
        "xact_start": functions.now_micros(),
        "query_start": functions.statement_micros(),
        "state": "active",
        "backend_type": "client backend",
    }


def _user_tables(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    del execution
    for table in user_tables(catalog):
        yield {
            "relid": table.oid,
            "schemaname": table.schema,
            "relname": table.name,
            "n_live_tup": max(int(table.rows_estimate), 0),
        }


_CONTEXTS = {Context.SUPERUSER: "superuser", Context.INTERNAL: "internal"}


def _settings(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    """What SHOW ALL shows. `setting` is SHOW's text: a unit, where there is one, is part of it."""
    del catalog
    for setting in SETTINGS.values():
        if setting.hidden:
            continue
        bounded = setting.kind in (Kind.INTEGER, Kind.REAL)
        yield {
            "name": setting.name,
            "setting": execution.functions.setting(setting.name),
            "category": "Dormouse",
            "short_desc": setting.description,
            "context": _CONTEXTS.get(setting.context, "user"),
            "vartype": setting.kind.value,
            "source": "default",
            "min_val": f"{setting.minimum:g}" if bounded else None,
            "max_val": f"{setting.maximum:g}" if bounded else None,
            "enumvals": Array.of(setting.values) if setting.values else None,
            "boot_val": setting.default,
            "reset_val": setting.default,
            "pending_restart": False,
        }


MAKERS: Mapping[str, Maker] = {
    "pg_group": _groups,
    "pg_indexes": _indexes,
    "pg_roles": _roles,
    "pg_settings": _settings,
    "pg_stat_activity": _activity,
    "pg_stat_all_tables": _user_tables,
    "pg_stat_user_tables": _user_tables,
    "pg_tables": _tables,
    "pg_user": _users,
}
