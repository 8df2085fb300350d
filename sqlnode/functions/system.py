"""System information: the session, the server, names and definitions of objects, comments."""

from collections.abc import Sequence

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.base import CatalogFunctions, FunctionContext
from sqlnode.functions.family import Family
from sqlnode.types import oids
from sqlnode.types.array import Array
from sqlnode.types.objects import (
    find_functions,
    find_procedure,
    find_relation,
    find_role,
    find_schema,
)
from sqlnode.types.registry import find, format_type
from sqlnode.types.typenames import find_type
from sqlnode.version import SERVER_VERSION

FAMILY = Family()
UTF8 = 6
_ENCODINGS = {0: "SQL_ASCII", UTF8: "UTF8", 8: "LATIN1", 16: "LATIN9"}
_PG_CLASS, _PG_DATABASE = 1259, 1262
_CATALOG_CLASSES = {
    "pg_class": _PG_CLASS, "pg_type": 1247, "pg_proc": 1255, "pg_namespace": 2615,
    "pg_constraint": 2606, "pg_database": _PG_DATABASE, "pg_authid": 1260, "pg_tablespace": 1213,
    "pg_operator": 2617, "pg_am": 2601, "pg_language": 2612, "pg_attrdef": 2604, "pg_trigger": 2620,
}  # fmt: skip
PG_CATALOG_OID = 11


def _catalog(context: FunctionContext) -> CatalogFunctions:
    catalog: CatalogFunctions = context.catalog
    return catalog


# --- session -----------------------------------------------------------------------------------

FAMILY.call(lambda: f"PostgreSQL {SERVER_VERSION}", "pgsql_version")
FAMILY.call(lambda: "UTF8", "getdatabaseencoding", "pg_client_encoding")
FAMILY.call(lambda c: c.current_database, "current_database", needs_context=True)
FAMILY.call(lambda c: c.current_user, "current_user", needs_context=True)
FAMILY.call(lambda c: c.session_user, "session_user", needs_context=True)
FAMILY.call(lambda c: c.backend_pid, "pg_backend_pid", needs_context=True)
FAMILY.call(lambda: False, "pg_is_in_recovery", "pg_is_wal_replay_paused")
FAMILY.call(lambda: 0, "pg_my_temp_schema")
FAMILY.call(lambda oid: False, "pg_is_other_temp_schema")
FAMILY.call(lambda pid: Array.of(()), "pg_blocking_pids", "pg_safe_snapshot_blocking_pids")
FAMILY.call(lambda code: _ENCODINGS.get(code, ""), "PG_encoding_to_char")
FAMILY.call(
    lambda name: next((k for k, v in _ENCODINGS.items() if v == name.upper()), -1),
    "PG_char_to_encoding",
)
FAMILY.call(lambda code: 4 if code == UTF8 else 1, "pg_encoding_max_length_sql")
# Row security does not exist here, so no table's rows are ever filtered.
FAMILY.call(lambda oid: False, "row_security_active")
FAMILY.call(lambda name: False, "row_security_active_name")
FAMILY.call(lambda: None, "inet_client_addr", "inet_client_port", "inet_server_addr")
FAMILY.call(lambda: None, "inet_server_port")


@FAMILY.function("current_schema", needs_context=True)
def current_schema(context: FunctionContext) -> str | None:
    """The first schema of the search path that is not implicit."""
    return next((name for name in context.search_path() if name != "pg_catalog"), None)


@FAMILY.function("current_schemas", needs_context=True)
def current_schemas(context: FunctionContext, implicit: bool) -> Array:
    """The search path, with or without pg_catalog."""
    path = context.search_path()
    return Array.of(name for name in path if implicit or name != "pg_catalog")


@FAMILY.function("show_config_by_name", needs_context=True)
def current_setting(context: FunctionContext, name: str) -> str:
    """current_setting(); 42704."""
    value = context.setting(name)
    if value is None:
        raise SqlError(sqlstate.UNDEFINED_OBJECT, f'unrecognized configuration parameter "{name}"')
    return value


@FAMILY.function("show_config_by_name_missing_ok", needs_context=True)
def current_setting_or_null(context: FunctionContext, name: str, missing_ok: bool) -> str | None:
    """current_setting(name, missing_ok)."""
    return context.setting(name) if missing_ok else current_setting(context, name)


@FAMILY.function("set_config_by_name", needs_context=True)
def set_config(
    context: FunctionContext, name: str | None, value: str | None, local: bool | None
) -> str | None:
    """set_config(name, value, is_local); 22004."""
    if name is None:
        raise SqlError(sqlstate.NULL_VALUE_NOT_ALLOWED, "SET requires parameter name")
    context.set_setting(name, value or "", local=bool(local))
    return context.setting(name)


@FAMILY.function("pg_typeof", needs_types=True)
def type_of(types: Sequence[int], value: object) -> int:
    """The type of the argument, as a regtype."""
    return types[0]


@FAMILY.function("pg_stat_statements_reset", needs_context=True)
def reset_statements(context: FunctionContext, user: int, database: int, query: int) -> str:
    """pg_stat_statements_reset(); 42501. A 0 means all of them, as in PostgreSQL's extension."""
    catalog, costs = context.catalog, context.statement_costs
    if catalog.owner and context.current_user != catalog.owner:
        text = "permission denied for function pg_stat_statements_reset"
        raise SqlError(sqlstate.INSUFFICIENT_PRIVILEGE, text)
    role = catalog.role_name(user) if user else None
    if costs is not None and (role or not user):
        costs.reset(role, query % (1 << 64) if query else None)
    return ""


# --- types and visibility ----------------------------------------------------------------------


@FAMILY.function("format_type")
def format_type_text(oid: int | None, typmod: int | None) -> str | None:
    """format_type()."""
    return None if oid is None else format_type(oid, typmod)


@FAMILY.function("pg_table_is_visible", needs_context=True)
def table_is_visible(context: FunctionContext, oid: int) -> bool | None:
    """Whether the search path leads to the relation by its bare name."""
    found = _catalog(context).relation_name(oid)
    if found is None:
        return None
    return _catalog(context).relation_oid(found[1], None, context.search_path()) == oid


FAMILY.call(lambda oid: None if find(oid) is None else True, "pg_type_is_visible")
# Built-in objects are all in pg_catalog, which is always on the search path.
FAMILY.call(
    lambda oid: True,
    "pg_function_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_opfamily_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_statistics_obj_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
)


@FAMILY.function("to_regclass", needs_context=True)
def to_regclass(context: FunctionContext, name: str) -> int | None:
    """A relation by name, NULL if there is none."""
    return find_relation(name, context)


FAMILY.call(find_type, "to_regtype")
FAMILY.call(lambda context, name: find_schema(name, context), "to_regnamespace", needs_context=True)
FAMILY.call(lambda context, name: find_role(name, context), "to_regrole", needs_context=True)


@FAMILY.function("to_regproc", needs_context=True)
def to_regproc(context: FunctionContext, name: str) -> int | None:
    """A function by its name, NULL if there is none or more than one."""
    found = find_functions(name, context)
    return found[0].oid if len(found) == 1 else None


FAMILY.call(
    lambda context, name: find_procedure(name, context), "to_regprocedure", needs_context=True
)

# --- definitions -------------------------------------------------------------------------------


@FAMILY.function("pg_get_userbyid", needs_context=True)
def user_by_id(context: FunctionContext, oid: int) -> str:
    """A role's name."""
    return _catalog(context).role_name(oid) or f"unknown (OID={oid})"


@FAMILY.function("pg_get_expr", needs_context=True)
def shown_expression(context: FunctionContext, expression: str, relation: int) -> str:
    """A stored expression, with names for OIDs."""
    return _catalog(context).shown_expression(expression, context.search_path())


@FAMILY.function("pg_get_expr_ext", needs_context=True)
def shown_expression_pretty(
    context: FunctionContext, expression: str, relation: int, pretty: bool
) -> str:
    """Likewise."""
    return shown_expression(context, expression, relation)


@FAMILY.function("pg_get_indexdef", needs_context=True)
def index_definition(context: FunctionContext, oid: int) -> str | None:
    """An index as CREATE INDEX."""
    return _catalog(context).index_definition(oid)


@FAMILY.function("pg_get_indexdef_ext", needs_context=True)
def index_part(context: FunctionContext, oid: int, column: int, pretty: bool) -> str | None:
    """The same, or one column of it."""
    if column == 0:
        return _catalog(context).index_definition(oid)
    return _catalog(context).index_column_definition(oid, column)


@FAMILY.function("pg_get_constraintdef", needs_context=True)
def constraint_definition(context: FunctionContext, oid: int) -> str | None:
    """A constraint as SQL."""
    return _catalog(context).constraint_definition(oid)


@FAMILY.function("pg_get_constraintdef_ext", needs_context=True)
def constraint_definition_pretty(context: FunctionContext, oid: int, pretty: bool) -> str | None:
    """A constraint as SQL."""
    return _catalog(context).constraint_definition(oid)


# Views, rules, triggers, partitions and statistics objects do not exist here: no OID names one.
FAMILY.call(
    lambda *_: None,
    "pg_get_viewdef",
    "pg_get_viewdef_ext",
    "pg_get_viewdef_wrap",
    "pg_get_ruledef",
    "pg_get_ruledef_ext",
    "pg_get_triggerdef",
    "pg_get_triggerdef_ext",
    "pg_get_partkeydef",
    "pg_get_partition_constraintdef",
    "pg_get_statisticsobjdef",
    "pg_get_statisticsobjdef_columns",
    "pg_get_function_sqlbody",
    "pg_get_functiondef",
    "pg_get_replica_identity_index",
)


@FAMILY.function("pg_get_serial_sequence", needs_context=True)
def serial_sequence(context: FunctionContext, table: str, column: str) -> str | None:
    """The sequence a column owns; 42P01, 42703."""
    relation = find_relation(table, context)
    if relation is None:
        raise SqlError(sqlstate.UNDEFINED_TABLE, f'relation "{table}" does not exist')
    if not _catalog(context).has_column(relation, column):
        raise SqlError(
            sqlstate.UNDEFINED_COLUMN,
            f'column "{column}" of relation "{table}" does not exist',
        )
    return _catalog(context).default_sequence(relation, column)


def _arguments(oid: int, *, defaults: bool) -> str | None:
    from sqlnode.functions.registry import find_function

    found = find_function(oid)
    if found is None:
        return None
    names = found.argument_names or ("",) * len(found.argument_types)
    words = []
    first_default = len(found.argument_types) - found.defaults
    for place, (name, type_oid) in enumerate(zip(names, found.argument_types, strict=False)):
        variadic = found.variadic and place == len(found.argument_types) - 1
        word = f"{'VARIADIC ' if variadic else ''}{f'{name} ' if name else ''}"
        word += format_type(type_oid)
        if defaults and place >= first_default and found.default_expressions:
            word += f" DEFAULT {found.default_expressions[place - first_default]}"
        words.append(word)
    if defaults and found.result_columns:
        words += [f"OUT {name} {format_type(oid)}" for name, oid in found.result_columns]
    return ", ".join(words)


FAMILY.call(lambda oid: _arguments(oid, defaults=True), "pg_get_function_arguments")
FAMILY.call(lambda oid: _arguments(oid, defaults=False), "pg_get_function_identity_arguments")


@FAMILY.function("pg_get_function_result")
def function_result(oid: int) -> str | None:
    """A function's result type."""
    from sqlnode.functions.registry import find_function

    found = find_function(oid)
    if found is None or found.kind == "p":
        return None
    return ("SETOF " if found.returns_set else "") + format_type(found.return_type)


# --- comments ----------------------------------------------------------------------------------


@FAMILY.function("obj_description(oid,name)", needs_context=True)
def object_comment(context: FunctionContext, oid: int, class_name: str) -> str | None:
    """The comment on an object of a system table."""
    class_oid = _CATALOG_CLASSES.get(class_name, 0)
    return _catalog(context).comment(oid, class_oid, 0)


FAMILY.call(object_comment, "shobj_description(oid,name)", needs_context=True)


@FAMILY.function("obj_description(oid)", needs_context=True)
def relation_comment(context: FunctionContext, oid: int) -> str | None:
    """The comment on an object whose system table is not told."""
    return _catalog(context).comment(oid, _PG_CLASS, 0)


@FAMILY.function("col_description(oid,int4)", needs_context=True)
def column_comment(context: FunctionContext, oid: int, column: int) -> str | None:
    """The comment on a column."""
    return _catalog(context).comment(oid, _PG_CLASS, column)


# --- sizes -------------------------------------------------------------------------------------

# Rows live in the storage service, which accounts for whole tenants and not for relations.
FAMILY.call(
    lambda *_: 0,
    "pg_relation_size",
    "pg_relation_size(regclass)",
    "pg_table_size",
    "pg_indexes_size",
    "pg_total_relation_size",
    "pg_database_size_name",
    "pg_database_size_oid",
)
FAMILY.call(lambda relation: relation, "pg_relation_filenode")
FAMILY.call(lambda tablespace: "", "pg_tablespace_location")  # as for the built-in ones
FAMILY.call(lambda relation, include: 28, "pg_relation_is_updatable")
FAMILY.call(lambda relation: False, "pg_relation_is_publishable")
_UNITS = (("bytes", 0), ("kB", 10), ("MB", 20), ("GB", 30), ("TB", 40), ("PB", 50))


@FAMILY.function("pg_size_pretty")
def size_pretty(size: int) -> str:
    """A number of bytes with a unit."""
    magnitude = abs(size)
    if magnitude < 10 * 1024:
        return f"{size} bytes"
    for unit, shift in _UNITS[1:]:
        rounded = ((magnitude >> (shift - 1)) + 1) >> 1
        if rounded < 20 * 1024 // 2 or unit == "PB":
            return f"{-rounded if size < 0 else rounded} {unit}"
    raise AssertionError


@FAMILY.function("pg_column_size", needs_types=True)
def column_size(types: Sequence[int], value: object) -> int:
    """Bytes of a value in binary form."""
    sql_type = find(types[0])
    if sql_type is None or types[0] == oids.UNKNOWN:
        return len(str(value)) + 1
    size = len(sql_type.binary_out(value))
    return sql_type.length if sql_type.length > 0 else size + (1 if size < 127 else 4)
