"""Parse analysis: a parsed statement becomes a typed tree in which every name is resolved.

    RawStatement ─▶ State (levels, namespace) ─▶ clauses ─▶ expressions ─▶ tree.Query
                       │                                        │
                       └ range table entries                    └ overloads, coercions, parameters

The rules are PostgreSQL 15's, down to which overload is picked and where an error points; the files
of this folder follow its src/backend/parser, one noun each. Nothing is evaluated but literals, read
by their types' input functions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlnode import tree
from sqlnode.analyse import (  # noqa: F401  (imported so that their handlers are registered)
    arrays,
    calls,
    comparisons,
    conditional,
    defaults,
    dispatch,
    insert,
    primary,
    select,
    sublinks,
    update,
)
from sqlnode.analyse.params import ParamTypes
from sqlnode.analyse.state import Node, State, Statement
from sqlnode.analyse.utility import command_tag
from sqlnode.errors import SqlError
from sqlnode.functions.base import FunctionContext
from sqlnode.parse import RawStatement, character_position, too_deep

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog


def analyse(
    raw: RawStatement,
    *,
    catalog: "Catalog",
    search_path: Sequence[str],
    param_types: Sequence[int] = (),
    context: FunctionContext,
    params_allowed: bool = True,
) -> tree.Analysed:
    """The typed tree of one statement.

    A type in `param_types` that is 0 or missing is inferred. `params_allowed` is False where the
    client has no way to bind any (the simple protocol). Raises SqlError, its position a character
    offset into `raw.source`; 42P18 where a parameter's type stays unknown.
    """
    if not dispatch.is_query(raw.kind):
        return tree.Analysed(tree.Utility(raw.node, command_tag(raw.kind, raw.node)), ())
    return analyse_query(
        raw.kind,
        raw.node,
        source=raw.source,
        catalog=catalog,
        search_path=search_path,
        param_types=param_types,
        context=context,
        params_allowed=params_allowed,
    )


def analyse_query(
    kind: str,
    message: Node,
    *,
    source: str,
    catalog: "Catalog",
    search_path: Sequence[str],
    param_types: Sequence[int] = (),
    context: FunctionContext,
    params_allowed: bool = True,
) -> tree.Analysed:
    """Like `analyse` for a query inside another statement (EXPLAIN, PREPARE, DECLARE, COPY):
    `kind` is the name of `message` in its Node, `source` the whole text it was parsed from."""
    params = ParamTypes(param_types, allowed=params_allowed)
    statement = Statement(catalog, search_path, params, context)
    try:
        query = dispatch.query_of(State(statement), kind, message)
        return tree.Analysed(query, params.finish(), statement.session_dependent)
    except SqlError as error:
        if error.position is not None:
            error.position = character_position(source, error.position)
        raise
    except RecursionError as error:
        raise too_deep() from error
