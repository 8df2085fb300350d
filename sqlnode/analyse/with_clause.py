"""WITH: each query analysed as a level inside, recursive ones by their non-recursive term first."""

from sqlnode import tree
from sqlnode.analyse import targets
from sqlnode.analyse.dispatch import query, query_of
from sqlnode.analyse.locations import expr_location, position
from sqlnode.analyse.set_operations import combine
from sqlnode.analyse.state import CteEntry, Node, State
from sqlnode.analyse.typenames import name_parts
from sqlnode.errors import SqlError, unsupported
from sqlnode.types.registry import format_type

_MATERIALISED = {1: None, 2: True, 3: False}
_UNION = 2


def analyse(state: State, statement: Node) -> tuple[tree.Cte, ...]:
    """The WITH queries of a statement, entered into the state for what follows."""
    if not statement.HasField("with_clause"):
        return ()
    clause = statement.with_clause
    nodes = [item.common_table_expr for item in clause.ctes]
    names = [node.ctename for node in nodes]
    for i, node in enumerate(nodes):
        if node.ctename in names[:i]:
            message = f'WITH query name "{node.ctename}" specified more than once'
            raise SqlError("42712", message, position=position(node.location))
    for i, node in enumerate(nodes):
        state.future_ctes = frozenset(names[i:])
        _one(state, node, recursive=clause.recursive)
    state.future_ctes = frozenset()
    return tuple(entry.cte for entry in state.ctes if entry.cte is not None)


def _one(state: State, node: Node, *, recursive: bool) -> None:
    where = position(node.location)
    if node.HasField("search_clause") or node.HasField("cycle_clause"):
        raise unsupported("SEARCH and CYCLE", position=where)
    kind = node.ctequery.WhichOneof("node")
    materialised = _MATERIALISED[node.ctematerialized]
    if kind != "select_stmt" and state.parent is not None:
        message = "WITH clause containing a data-modifying statement must be at the top level"
        raise SqlError("0A000", message, position=where)
    select = node.ctequery.select_stmt
    if recursive and kind == "select_stmt" and select.op == _UNION and _mentions(node):
        _recursive(state, node, materialised)
        return
    found = query(state.child(), node.ctequery)
    columns = _columns(node, found)
    cte = tree.Cte(node.ctename, found, materialised=materialised)
    state.ctes.append(CteEntry(node.ctename, cte, columns))


def _mentions(node: Node) -> bool:
    """Whether the right side of the UNION reads the WITH query itself."""
    text = str(node.ctequery.select_stmt.rarg)
    return f'relname: "{node.ctename}"' in text


def _columns(node: Node, found: tree.Query) -> tuple[tree.OutputColumn, ...]:
    columns = targets.output_columns(found)
    names = name_parts(node.aliascolnames)
    if len(names) > len(columns):
        message = (
            f'WITH query "{node.ctename}" has {len(columns)} columns available '
            f"but {len(names)} columns specified"
        )
        raise SqlError("42P10", message, position=position(node.location))
    return tuple(
        tree.OutputColumn(names[i] if i < len(names) else column.name, column.type, column.typmod)
        for i, column in enumerate(columns)
    )


def _recursive(state: State, node: Node, materialised: bool | None) -> None:
    """term UNION [ALL] term-that-reads-itself: the first one says what the columns are."""
    select = node.ctequery.select_stmt
    if select.sort_clause or select.HasField("limit_count") or select.HasField("limit_offset"):
        message = "ORDER BY, LIMIT and OFFSET in a recursive query"
        raise unsupported(message, position=position(node.location))
    if select.HasField("with_clause") or select.locking_clause:
        raise unsupported("WITH inside a recursive query", position=position(node.location))
    inner = state.child()
    left = query_of(inner.child(), "select_stmt", select.larg)
    columns = _columns(node, left)
    entry = CteEntry(node.ctename, None, columns)
    state.ctes.append(entry)
    state.future_ctes -= {node.ctename}
    right_state = inner.child()
    right_state.resolve_unknowns = False
    right = query_of(right_state, "select_stmt", select.rarg)
    operation, found = combine(state, tree.SetOp.UNION, all_rows=select.all, left=left, right=right)
    starts = [expr_location(target.expr) for target in left.targets if not target.junk]
    for i, (column, target) in enumerate(zip(columns, found, strict=True), start=1):
        if target.expr.type != column.type:
            message = (
                f'recursive query "{node.ctename}" column {i} has type '
                f"{format_type(column.type, column.typmod)} in non-recursive term "
                f"but type {format_type(target.expr.type, target.expr.typmod)} overall"
            )
            hint = "Cast the output of the non-recursive term to the correct type."
            raise SqlError("42804", message, hint=hint, position=position(starts[i - 1]))
    whole = tree.Query(tree.Command.SELECT, targets=tuple(found), set_operation=operation)
    entry.cte = tree.Cte(node.ctename, whole, recursive=True, materialised=materialised)
