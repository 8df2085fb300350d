"""Command tags of statements that are not planned (PostgreSQL's CreateCommandTag)."""

from postgast import pg_query_pb2

from sqlnode.analyse.state import Node

_FIXED = {
    "create_stmt": "CREATE TABLE",
    "create_table_as_stmt": "CREATE TABLE AS",
    "index_stmt": "CREATE INDEX",
    "view_stmt": "CREATE VIEW",
    "create_seq_stmt": "CREATE SEQUENCE",
    "alter_seq_stmt": "ALTER SEQUENCE",
    "create_schema_stmt": "CREATE SCHEMA",
    "create_extension_stmt": "CREATE EXTENSION",
    "alter_extension_stmt": "ALTER EXTENSION",
    "create_role_stmt": "CREATE ROLE",
    "alter_role_stmt": "ALTER ROLE",
    "alter_role_set_stmt": "ALTER ROLE",
    "drop_role_stmt": "DROP ROLE",
    "createdb_stmt": "CREATE DATABASE",
    "dropdb_stmt": "DROP DATABASE",
    "alter_database_stmt": "ALTER DATABASE",
    "alter_database_set_stmt": "ALTER DATABASE",
    "alter_system_stmt": "ALTER SYSTEM",
    "create_trig_stmt": "CREATE TRIGGER",
    "create_event_trig_stmt": "CREATE EVENT TRIGGER",
    "rule_stmt": "CREATE RULE",
    "create_domain_stmt": "CREATE DOMAIN",
    "alter_domain_stmt": "ALTER DOMAIN",
    "create_enum_stmt": "CREATE TYPE",
    "create_range_stmt": "CREATE TYPE",
    "composite_type_stmt": "CREATE TYPE",
    "alter_enum_stmt": "ALTER TYPE",
    "create_cast_stmt": "CREATE CAST",
    "create_policy_stmt": "CREATE POLICY",
    "alter_policy_stmt": "ALTER POLICY",
    "create_publication_stmt": "CREATE PUBLICATION",
    "create_subscription_stmt": "CREATE SUBSCRIPTION",
    "create_stats_stmt": "CREATE STATISTICS",
    "create_table_space_stmt": "CREATE TABLESPACE",
    "drop_table_space_stmt": "DROP TABLESPACE",
    "create_fdw_stmt": "CREATE FOREIGN DATA WRAPPER",
    "create_foreign_server_stmt": "CREATE SERVER",
    "create_foreign_table_stmt": "CREATE FOREIGN TABLE",
    "create_am_stmt": "CREATE ACCESS METHOD",
    "create_conversion_stmt": "CREATE CONVERSION",
    "create_plang_stmt": "CREATE LANGUAGE",
    "create_op_class_stmt": "CREATE OPERATOR CLASS",
    "create_op_family_stmt": "CREATE OPERATOR FAMILY",
    "alter_default_privileges_stmt": "ALTER DEFAULT PRIVILEGES",
    "truncate_stmt": "TRUNCATE TABLE",
    "comment_stmt": "COMMENT",
    "sec_label_stmt": "SECURITY LABEL",
    "copy_stmt": "COPY",
    "prepare_stmt": "PREPARE",
    "execute_stmt": "EXECUTE",
    "declare_cursor_stmt": "DECLARE CURSOR",
    "explain_stmt": "EXPLAIN",
    "variable_show_stmt": "SHOW",
    "notify_stmt": "NOTIFY",
    "listen_stmt": "LISTEN",
    "unlisten_stmt": "UNLISTEN",
    "load_stmt": "LOAD",
    "call_stmt": "CALL",
    "do_stmt": "DO",
    "lock_stmt": "LOCK TABLE",
    "constraints_set_stmt": "SET CONSTRAINTS",
    "check_point_stmt": "CHECKPOINT",
    "checkpoint_stmt": "CHECKPOINT",
    "refresh_mat_view_stmt": "REFRESH MATERIALIZED VIEW",
    "reassign_owned_stmt": "REASSIGN OWNED",
    "drop_owned_stmt": "DROP OWNED",
    "merge_stmt": "MERGE",
}
_TRANSACTIONS = {
    "TRANS_STMT_BEGIN": "BEGIN",
    "TRANS_STMT_START": "START TRANSACTION",
    "TRANS_STMT_COMMIT": "COMMIT",
    "TRANS_STMT_ROLLBACK": "ROLLBACK",
    "TRANS_STMT_ROLLBACK_TO": "ROLLBACK",
    "TRANS_STMT_SAVEPOINT": "SAVEPOINT",
    "TRANS_STMT_RELEASE": "RELEASE",
    "TRANS_STMT_PREPARE": "PREPARE TRANSACTION",
    "TRANS_STMT_COMMIT_PREPARED": "COMMIT PREPARED",
    "TRANS_STMT_ROLLBACK_PREPARED": "ROLLBACK PREPARED",
}
_OBJECTS = {"OBJECT_MATVIEW": "MATERIALIZED VIEW", "OBJECT_TABCONSTRAINT": "TABLE"}
_DISCARDED = {
    "DISCARD_ALL": "DISCARD ALL",
    "DISCARD_PLANS": "DISCARD PLANS",
    "DISCARD_SEQUENCES": "DISCARD SEQUENCES",
    "DISCARD_TEMP": "DISCARD TEMP",
}


def command_tag(kind: str, node: Node) -> str:
    """The tag PostgreSQL answers with for a utility statement."""
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return _of_table_as(node) if kind == "create_table_as_stmt" else fixed
    match kind:
        case "transaction_stmt":
            return _TRANSACTIONS[pg_query_pb2.TransactionStmtKind.Name(node.kind)]
        case "variable_set_stmt":
            name = pg_query_pb2.VariableSetKind.Name(node.kind)
            return "RESET" if name in ("VAR_RESET", "VAR_RESET_ALL") else "SET"
        case "drop_stmt":
            return f"DROP {_object(node.remove_type)}"
        case "alter_table_stmt":
            return f"ALTER {_object(node.objtype)}"
        case "rename_stmt":
            return f"ALTER {_object(_renamed(node))}"
        case "alter_owner_stmt" | "alter_object_schema_stmt":
            return f"ALTER {_object(node.object_type)}"
        case "vacuum_stmt":
            return "VACUUM" if node.is_vacuumcmd else "ANALYZE"
        case "discard_stmt":
            return _DISCARDED[pg_query_pb2.DiscardMode.Name(node.target)]
        case _:
            return _other(kind, node)


def _other(kind: str, node: Node) -> str:
    match kind:
        case "fetch_stmt":
            return "MOVE" if node.ismove else "FETCH"
        case "close_portal_stmt":
            return "CLOSE CURSOR" if node.portalname else "CLOSE CURSOR ALL"
        case "deallocate_stmt":
            return "DEALLOCATE" if node.name else "DEALLOCATE ALL"
        case "grant_stmt":
            return "GRANT" if node.is_grant else "REVOKE"
        case "grant_role_stmt":
            return "GRANT ROLE" if node.is_grant else "REVOKE ROLE"
        case "reindex_stmt" | "cluster_stmt":
            return kind.removesuffix("_stmt").upper()
        case "create_function_stmt":
            return "CREATE PROCEDURE" if node.is_procedure else "CREATE FUNCTION"
        case "define_stmt":
            return f"CREATE {_object(node.kind)}"
        case _:
            return kind.removesuffix("_stmt").replace("_", " ").upper()


def _object(number: int) -> str:
    name = pg_query_pb2.ObjectType.Name(number)
    return _OBJECTS.get(name) or name.removeprefix("OBJECT_").replace("_", " ")


def _renamed(node: Node) -> int:
    """What a rename alters: a column's rename alters its table."""
    name = pg_query_pb2.ObjectType.Name(node.rename_type)
    inside = name in ("OBJECT_COLUMN", "OBJECT_ATTRIBUTE", "OBJECT_TABCONSTRAINT")
    return int(node.relation_type if inside else node.rename_type)


def _of_table_as(node: Node) -> str:
    if node.is_select_into:
        return "SELECT INTO"
    return f"CREATE {_object(node.objtype)} AS".replace("MATERIALIZED VIEW AS", "MATERIALIZED VIEW")
