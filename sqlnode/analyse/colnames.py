"""What an output column without AS is called (PostgreSQL's FigureColname)."""

from collections.abc import Callable

from sqlnode.analyse.dispatch import present
from sqlnode.analyse.state import Node

UNNAMED = "?column?"
_NULLIF = 6
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
    reader = _READERS.get(kind)
    return reader(getattr(node, kind)) if reader is not None else ("", 0)


def _indirection(node: Node) -> tuple[str, int]:
    name, strength = _last(node.indirection)
    return (name, strength) if strength else _figure(node.arg)


def _type_cast(node: Node) -> tuple[str, int]:
    name, strength = _figure(node.arg)
    if strength > 1 or not node.type_name.names:
        return name, strength
    return node.type_name.names[-1].string.sval, 1


def _case(node: Node) -> tuple[str, int]:
    if not present(node.defresult):
        return "case", 1
    name, strength = _figure(node.defresult)
    return (name, strength) if strength > 1 else ("case", 1)


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


_READERS: dict[str, Callable[[Node], tuple[str, int]]] = {
    "column_ref": lambda node: _last(node.fields),
    "a_indirection": _indirection,
    "func_call": lambda node: (node.funcname[-1].string.sval, 2),
    "a_expr": lambda node: ("nullif", 2) if node.kind == _NULLIF else ("", 0),
    "type_cast": _type_cast,
    "collate_clause": lambda node: _figure(node.arg),
    "case_expr": _case,
    "min_max_expr": lambda node: ("greatest" if node.op == 1 else "least", 2),
    "sqlvalue_function": lambda node: (_SQL_VALUES[node.op], 2),
    "sub_link": _sub_link,
}
