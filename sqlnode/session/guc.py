"""The session settings that exist: PostgreSQL's names, defaults, units, bounds and descriptions.

Values are kept as the text SHOW prints. A setting that has no meaning here (a planner switch, a
cost) is accepted and shown, because clients and dumps set it, and does nothing. One whose other
values we would have to honour and do not is `fixed`: setting it to its own value is fine, to any
other is refused.

`deadlock_timeout` is shown and waits for nothing: circles are found at the moment of waiting.
"""

from dataclasses import dataclass
from enum import Enum

from sqlnode.version import POSTGRESQL_NUMBER, SERVER_VERSION


class Kind(Enum):
    """How a value is read and printed."""

    BOOL = "bool"
    INTEGER = "integer"
    REAL = "real"
    ENUM = "enum"
    STRING = "string"


class Context(Enum):
    """Who may change a setting."""

    USER = "user"
    FIXED = "fixed"
    """Only to the value it has (0A000 otherwise)."""
    SUPERUSER = "superuser"
    """Not by a tenant's roles (42501)."""
    INTERNAL = "internal"
    """Never (55P02)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `default` is canonical text; `minimum`, `maximum` count in `unit`."""

    name: str
    default: str
    kind: Kind
    description: str
    context: Context = Context.USER
    unit: str = ""
    minimum: float = 0
    maximum: float = 2**31 - 1
    values: tuple[str, ...] = ()
    reported: bool = False
    hidden: bool = False
    """Not in SHOW ALL."""


INT_MAX = 2**31 - 1
_U, _F, _S, _I = Context


def _bool(
    name: str, default: str, description: str, context: Context = _U, *, reported: bool = False
) -> Setting:
    return Setting(name, default, Kind.BOOL, description, context, reported=reported)


def _string(
    name: str, default: str, description: str, context: Context = _U, *, reported: bool = False
) -> Setting:
    return Setting(name, default, Kind.STRING, description, context, reported=reported)


def _enum(name: str, default: str, values: str, description: str, context: Context = _U) -> Setting:
    return Setting(name, default, Kind.ENUM, description, context, values=tuple(values.split(",")))


def _number(
    name: str,
    default: str,
    unit: str,
    bounds: tuple[float, float],
    description: str,
    context: Context = _U,
) -> Setting:
    low, high = bounds
    return Setting(name, default, Kind.INTEGER, description, context, unit, low, high)


def _real(name: str, default: str, high: float, description: str) -> Setting:
    return Setting(name, default, Kind.REAL, description, _U, "", 0, high)


_TIME = (0, INT_MAX)
_ISOLATIONS = "serializable,repeatable read,read committed,read uncommitted"
_MESSAGES = "debug5,debug4,debug3,debug2,debug1,log,notice,warning,error"
_SCANS = {
    "bitmapscan": "bitmap-scan plans",
    "gathermerge": "gather merge plans",
    "hashagg": "hashed aggregation plans",
    "hashjoin": "hash join plans",
    "incremental_sort": "incremental sort steps",
    "indexonlyscan": "index-only-scan plans",
    "indexscan": "index-scan plans",
    "material": "materialization",
    "memoize": "memoization",
    "mergejoin": "merge join plans",
    "nestloop": "nested-loop join plans",
    "parallel_append": "parallel append plans",
    "parallel_hash": "parallel hash plans",
    "seqscan": "sequential-scan plans",
    "sort": "explicit sort steps",
    "tidscan": "TID scan plans",
}

# fmt: off
# ruff: noqa: E501
_ALL = (
    _string("application_name", "", "Sets the application name to be reported in statistics and logs.", reported=True),
    _bool("array_nulls", "on", "Enable input of NULL elements in arrays.", _F),
    _enum("backslash_quote", "safe_encoding", "safe_encoding,on,off", 'Sets whether "\\\'" is allowed in string literals.'),
    _number("block_size", "8192", "", (8192, 8192), "Shows the size of a disk block.", _I),
    _enum("bytea_output", "hex", "escape,hex", "Sets the output format for bytea."),
    _bool("check_function_bodies", "on", "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE."),
    Setting("client_encoding", "UTF8", Kind.STRING, "Sets the client's character set encoding.", reported=True),
    _enum("client_min_messages", "notice", _MESSAGES, "Sets the message levels that are sent to the client."),
    _enum("constraint_exclusion", "partition", "partition,on,off", "Enables the planner to use constraints to optimize queries."),
    _real("cursor_tuple_fraction", "0.1", 1, "Sets the planner's estimate of the fraction of a cursor's rows that will be retrieved."),
    _string("dormouse.as_of", "", "Sets the time in the past that transactions read, which are read-only then."),
    _string("DateStyle", "ISO, MDY", "Sets the display format for date and time values.", reported=True),
    _number("deadlock_timeout", "1s", "ms", (1, INT_MAX), "Sets the time to wait on a lock before checking for deadlock.", _S),
    _string("default_table_access_method", "heap", "Sets the default table access method for new tables.", _F),
    _string("default_tablespace", "", "Sets the default tablespace to create tables and indexes in.", _F),
    _string("default_text_search_config", "pg_catalog.english", "Sets default text search configuration."),
    _bool("default_transaction_deferrable", "off", "Sets the default deferrable status of new transactions."),
    _enum("default_transaction_isolation", "read committed", _ISOLATIONS, "Sets the transaction isolation level of each new transaction."),
    _bool("default_transaction_read_only", "off", "Sets the default read-only status of new transactions.", reported=True),
    _number("effective_cache_size", "4GB", "8kB", (1, INT_MAX), "Sets the planner's assumption about the total size of the data caches."),
    *(_bool(f"enable_{name}", "on", f"Enables the planner's use of {what}.") for name, what in _SCANS.items()),
    _bool("escape_string_warning", "on", "Warn about backslash escapes in ordinary string literals."),
    _number("extra_float_digits", "1", "", (-15, 3), "Sets the number of digits displayed for floating-point values."),
    _enum("force_parallel_mode", "off", "off,on,regress", "Forces use of parallel query facilities."),
    _number("from_collapse_limit", "8", "", (1, INT_MAX), "Sets the FROM-list size beyond which subqueries are not collapsed."),
    _bool("geqo", "on", "Enables genetic query optimization."),
    _number("idle_in_transaction_session_timeout", "0", "ms", _TIME, "Sets the maximum allowed idle time between queries, when in a transaction."),
    _number("idle_session_timeout", "0", "ms", _TIME, "Sets the maximum allowed idle time between queries, when not in a transaction."),
    _bool("in_hot_standby", "off", "Shows whether hot standby is currently active.", _I, reported=True),
    _bool("integer_datetimes", "on", "Shows whether datetimes are integer based.", _I, reported=True),
    Setting("IntervalStyle", "postgres", Kind.ENUM, "Sets the display format for interval values.", values=("postgres", "postgres_verbose", "sql_standard", "iso_8601"), reported=True),
    _bool("is_superuser", "off", "Shows whether the current user is a superuser.", _I, reported=True),
    _bool("jit", "off", "Allow JIT compilation."),
    _number("join_collapse_limit", "8", "", (1, INT_MAX), "Sets the FROM-list size beyond which JOIN constructs are not flattened."),
    _string("lc_collate", "C.UTF-8", "Shows the collation order locale.", _I),
    _string("lc_ctype", "C.UTF-8", "Shows the character classification and case conversion locale.", _I),
    _string("lc_messages", "C.UTF-8", "Sets the language in which messages are displayed."),
    _string("lc_monetary", "C.UTF-8", "Sets the locale for formatting monetary amounts."),
    _string("lc_numeric", "C.UTF-8", "Sets the locale for formatting numbers."),
    _string("lc_time", "C.UTF-8", "Sets the locale for formatting date and time values."),
    _number("lock_timeout", "0", "ms", _TIME, "Sets the maximum allowed duration of any wait for a lock."),
    _bool("lo_compat_privileges", "off", "Enables backward compatibility mode for privilege checks on large objects."),
    _number("maintenance_work_mem", "64MB", "kB", (1024, INT_MAX), "Sets the maximum memory to be used for maintenance operations."),
    _number("max_connections", "100", "", (1, 262143), "Sets the maximum number of concurrent connections.", _I),
    _number("max_identifier_length", "63", "", (63, 63), "Shows the maximum identifier length.", _I),
    _number("max_index_keys", "32", "", (32, 32), "Shows the maximum number of index keys.", _I),
    _number("max_parallel_workers_per_gather", "0", "", (0, 1024), "Sets the maximum number of parallel processes per executor node."),
    _number("max_prepared_transactions", "0", "", (0, 262143), "Sets the maximum number of simultaneously prepared transactions.", _I),
    _enum("password_encryption", "scram-sha-256", "md5,scram-sha-256", "Chooses the algorithm for encrypting passwords.", _F),
    _enum("plan_cache_mode", "auto", "auto,force_generic_plan,force_custom_plan", "Controls the planner's selection of custom or generic plan."),
    _bool("quote_all_identifiers", "off", "When generating SQL fragments, quote all identifiers."),
    _real("random_page_cost", "4", 1e308, "Sets the planner's estimate of the cost of a nonsequentially fetched disk page."),
    _string("role", "none", "Sets the current role.", _F),
    _bool("row_security", "on", "Enable row security."),
    _string("search_path", '"$user", public', "Sets the schema search order for names that are not schema-qualified."),
    _real("seq_page_cost", "1", 1e308, "Sets the planner's estimate of the cost of a sequentially fetched disk page."),
    _string("server_encoding", "UTF8", "Shows the server (database) character set encoding.", _I, reported=True),
    _string("server_version", SERVER_VERSION, "Shows the server version.", _I, reported=True),
    _number("server_version_num", str(POSTGRESQL_NUMBER), "", (POSTGRESQL_NUMBER, POSTGRESQL_NUMBER), "Shows the server version as an integer.", _I),
    _string("session_authorization", "", "Sets the session user name.", _F, reported=True),
    _enum("session_replication_role", "origin", "origin,replica,local", "Sets the session's behavior for triggers and rewrite rules.", _F),
    _bool("ssl", "on", "Enables SSL connections.", _I),
    _bool("standard_conforming_strings", "on", "Causes '...' strings to treat backslashes literally.", _F, reported=True),
    _number("statement_timeout", "0", "ms", _TIME, "Sets the maximum allowed duration of any statement."),
    _enum("synchronous_commit", "on", "local,remote_write,remote_apply,on,off", "Sets the current transaction's synchronization level."),
    _bool("synchronize_seqscans", "on", "Enable synchronized sequential scans."),
    _number("tcp_keepalives_count", "0", "", (0, INT_MAX), "Maximum number of TCP keepalive retransmits."),
    _number("tcp_keepalives_idle", "0", "s", (0, INT_MAX), "Time between issuing TCP keepalives."),
    _number("tcp_keepalives_interval", "0", "s", (0, INT_MAX), "Time between TCP keepalive retransmits."),
    _number("temp_buffers", "8MB", "8kB", (100, INT_MAX // 2), "Sets the maximum number of temporary buffers used by each session."),
    _string("temp_tablespaces", "", "Sets the tablespace(s) to use for temporary tables and sort files."),
    _string("TimeZone", "Etc/UTC", "Sets the time zone for displaying and interpreting time stamps.", reported=True),
    _string("timezone_abbreviations", "Default", "Selects a file of time zone abbreviations.", _F),
    _bool("track_activities", "on", "Collects information about executing commands."),
    _bool("transaction_deferrable", "off", "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures."),
    _enum("transaction_isolation", "read committed", _ISOLATIONS, "Sets the current transaction's isolation level."),
    _bool("transaction_read_only", "off", "Sets the current transaction's read-only status."),
    _bool("transform_null_equals", "off", 'Treats "expr=NULL" as "expr IS NULL".', _F),
    _string("wal_level", "replica", "Sets the level of information written to the WAL.", _I),
    _number("work_mem", "4MB", "kB", (64, INT_MAX), "Sets the maximum memory to be used for query workspaces."),
    _enum("xmlbinary", "base64", "base64,hex", "Sets how binary values are to be encoded in XML."),
    _enum("xmloption", "content", "content,document", "Sets whether XML data in implicit parsing and serialization operations is to be considered as documents or content fragments."),
)
# fmt: on

SETTINGS = {setting.name.lower(): setting for setting in sorted(_ALL, key=lambda s: s.name.lower())}
"""Every setting by its name in lower case, in SHOW ALL's order."""
REPORTED = tuple(setting.name for setting in SETTINGS.values() if setting.reported)
"""Names whose values the client is told (ParameterStatus)."""
