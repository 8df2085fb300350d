"""What an output column without AS is called (PostgreSQL's FigureColname)."""

from sqlnode.analyse.dispatch import present
from sqlnode.analyse.state import Node

UNNAMED = "?column?"
_FIXED = {
    "a_array_expr": "array",
    "row_expr": "row",
    "coalesce_expr": "coalesce",
    "grouping_func": "grouping",
    "xml_serialize": "xmlserialize",
}
_SQL_VALUES = (
    *("", "current_date", "current_time", "current_time", "current_timestamp"),
    *("current_timestamp", "localtime", "localtime", "localtimestamp", "localtimestamp"),
    *("current_role", "current_user", "user", "session_user", "current_catalog"),
    "current_schema",
)


def figure(node: Node) -> str:
    """The name for an expression."""
    return _figure(node)[0] or UNNAMED


def _figure(node: Node) -> tuple[str, int]:
    """(name, strength): 2 is a good name, 1 one to use for want of a better, 0 none."""
    kind = node.WhichOneof("node")
    if kind in _FIXED:
        return _FIXED[kind], 2
    match kind:
        case "column_ref":
            return _last(node.column_ref.fields)
        case "a_indirection":
            name, strength = _last(node.a_indirection.indirection)
            return (name, strength) if strength else _figure(node.a_indirection.arg)
        case "func_call":
            return node.func_call.funcname[-1].string.sval, 2
        case "a_expr":
            return ("nullif", 2) if node.a_expr.kind == 6 else ("", 0)
        case "type_cast":
            name, strength = _figure(node.type_cast.arg)
            if strength > 1 or not node.type_cast.type_name.names:
                return name, strength
            return node.type_cast.type_name.names[-1].string.sval, 1
        case "collate_clause":
            return _figure(node.collate_clause.arg)
        case "case_expr":
            name, strength = "", 0
            if present(node.case_expr.defresult):
                name, strength = _figure(node.case_expr.defresult)
            return (name, strength) if strength > 1 else ("case", 1)
        case "min_max_expr":
            return ("greatest" if node.min_max_expr.op == 1 else "least"), 2
        case "sqlvalue_function":
            return _SQL_VALUES[node.sqlvalue_function.op], 2
        case "sub_link":
            return _sub_link(node.sub_link)
        case _:
            return "", 0


def _last(fields: Node) -> tuple[str, int]:
    names = [part.string.sval for part in fields if part.WhichOneof("node") == "string"]
    return (names[-1], 2) if names else ("", 0)


def _sub_link(node: Node) -> tuple[str, int]:
    if node.sub_link_type == 1:
        return "exists", 2
    if node.sub_link_type == 7:
        return "array", 2
    if node.sub_link_type != 5:
        return "", 0
    select = node.subselect.select_stmt
    while select.HasField("larg"):
        select = select.larg
    if select.values_lists:
        return "column1", 2
    if not select.target_list:
        return "", 0
    target = select.target_list[0].res_target
    return target.name or figure(target.val), 2
