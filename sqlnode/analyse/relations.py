"""Range table entries of FROM's leaves: tables, WITH queries, sub-selects, functions."""

from collections.abc import Sequence

from sqlnode import tree
from sqlnode.analyse import colnames, missing, namespace
from sqlnode.analyse.dispatch import expression_in
from sqlnode.analyse.locations import position
from sqlnode.analyse.namespace import NamespaceItem
from sqlnode.analyse.state import ExprKind, Node, State
from sqlnode.analyse.targets import output_columns
from sqlnode.analyse.typenames import name_parts
from sqlnode.analyse.walk import references
from sqlnode.catalog.descriptors import Table
from sqlnode.errors import SqlError, unsupported
from sqlnode.types import oids


def lookup(state: State, node: Node) -> Table:
    """The table a RangeVar names; raises SqlError 42P01."""
    statement = state.statement
    if node.catalogname and node.catalogname != statement.context.current_database:
        shown = f"{node.catalogname}.{node.schemaname}.{node.relname}"
        message = f'cross-database references are not implemented: "{shown}"'
        raise SqlError("0A000", message, position=position(node.location))
    found = statement.catalog.readable(
        node.relname, schema=node.schemaname or None, search_path=statement.search_path
    )
    if found is None:
        error = missing.relation(node.relname, node.schemaname or None, node.location)
        if not node.schemaname:
            _explain_future(state, node.relname, error)
        raise error
    return found


def _explain_future(state: State, name: str, error: SqlError) -> None:
    level: State | None = state
    while level is not None:
        if name in level.future_ctes:
            error.detail = (
                f'There is a WITH item named "{name}", '
                "but it cannot be referenced from this part of the query."
            )
            error.hint = (
                "Use WITH RECURSIVE, or re-order the WITH items to remove forward references."
            )
        level = level.parent


def table(state: State, node: Node) -> NamespaceItem:
    """A table or a WITH query named in FROM."""
    if not node.schemaname:
        item = _cte(state, node)
        if item is not None:
            return item
    return entry_for(state, lookup(state, node), node)


def entry_for(state: State, found: Table, node: Node) -> NamespaceItem:
    """An entry for a table under the alias the RangeVar gives it."""
    aliased = node.HasField("alias")
    alias = node.alias.aliasname if aliased else found.name
    columns: Sequence[tree.OutputColumn] = tuple(
        tree.OutputColumn(column.name, column.type, column.typmod) for column in found.live
    )
    if aliased and node.alias.colnames:
        columns = _renamed(alias, columns, node.alias)
    entry = tree.RangeEntry(alias, tree.RelationSource(found), tuple(columns))
    return namespace.item_of(entry, state.add_entry(entry), table=found, aliased=aliased)


def _renamed(
    alias: str, columns: Sequence[tree.OutputColumn], node: Node
) -> tuple[tree.OutputColumn, ...]:
    given = name_parts(node.colnames)
    if len(given) > len(columns):
        raise SqlError(
            "42P10",
            f'table "{alias}" has {len(columns)} columns available '
            f"but {len(given)} columns specified",
        )
    names = [*given, *(column.name for column in columns[len(given) :])]
    return tuple(
        tree.OutputColumn(name, column.type, column.typmod)
        for name, column in zip(names, columns, strict=True)
    )


def _cte(state: State, node: Node) -> NamespaceItem | None:
    levels = 0
    level: State | None = state
    while level is not None:
        for index, found in enumerate(level.ctes):
            if found.name != node.relname:
                continue
            found.referenced = True
            writes = found.cte is not None and found.cte.query.command is not tree.Command.SELECT
            if writes and not found.columns:
                message = f'WITH query "{found.name}" does not have a RETURNING clause'
                raise SqlError("0A000", message, position=position(node.location))
            alias = node.alias.aliasname if node.HasField("alias") else found.name
            columns = found.columns
            if node.HasField("alias") and node.alias.colnames:
                columns = _renamed(alias, columns, node.alias)
            entry = tree.RangeEntry(alias, tree.CteSource(index, levels), columns)
            return namespace.item_of(entry, state.add_entry(entry), aliased=True)
        level = level.parent
        levels += 1
    return None


def subquery(state: State, node: Node, found: tree.Query) -> NamespaceItem:
    """A sub-select in FROM."""
    columns = output_columns(found)
    alias = "unnamed_subquery"
    if node.HasField("alias"):
        alias = node.alias.aliasname
        columns = _renamed(alias, columns, node.alias)
    entry = tree.RangeEntry(alias, tree.SubquerySource(found, node.lateral), columns)
    item = namespace.item_of(entry, state.add_entry(entry), aliased=True)
    item.table_visible = node.HasField("alias")
    return item


def function(state: State, node: Node) -> NamespaceItem:
    """A function in FROM."""
    if len(node.functions) != 1:
        raise unsupported("ROWS FROM with several functions")
    if node.coldeflist or (len(node.functions[0].list.items) > 1 and _has_definitions(node)):
        raise unsupported("column definition lists of functions")
    call_node = node.functions[0].list.items[0]
    previous = state.lateral_active
    state.lateral_active = True
    call = expression_in(state, call_node, ExprKind.FROM_FUNCTION)
    state.lateral_active = previous
    name = colnames.figure(call_node)
    alias = node.alias.aliasname if node.HasField("alias") else name
    columns = _function_columns(call, alias, call_node)
    scalar = len(columns) == 1 and call.type != oids.RECORD and not node.ordinality
    if node.ordinality:
        columns = (*columns, tree.OutputColumn("ordinality", oids.INT8))
    if node.HasField("alias") and node.alias.colnames:
        columns = _renamed(alias, columns, node.alias)
    entry = tree.RangeEntry(
        alias, tree.FunctionSource(call, _is_lateral(call), node.ordinality), columns
    )
    item = namespace.item_of(entry, state.add_entry(entry), aliased=True)
    item.scalar_function = scalar
    return item


def _is_lateral(call: tree.Expr) -> bool:
    return any(level == 0 for _, level in references(call))


def _has_definitions(node: Node) -> bool:
    return node.functions[0].list.items[1].WhichOneof("node") is not None


def _function_columns(call: tree.Expr, alias: str, node: Node) -> tuple[tree.OutputColumn, ...]:
    outputs = call.function.result_columns if isinstance(call, tree.Call) else ()
    if call.type == oids.RECORD:
        if not outputs:
            location = getattr(call, "location", -1)
            message = 'a column definition list is required for functions returning "record"'
            raise SqlError("42601", message, position=position(location))
        return tuple(tree.OutputColumn(name, type_oid) for name, type_oid in outputs)
    if len(outputs) == 1 and outputs[0][0]:
        return (tree.OutputColumn(outputs[0][0], call.type, call.typmod),)
    return (tree.OutputColumn(alias, call.type, call.typmod),)
