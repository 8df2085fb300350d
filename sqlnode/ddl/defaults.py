"""DEFAULT expressions: their text in the catalog, and their value for rows that exist already."""

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import postgast

from sqlnode import sqlstate, tree
from sqlnode.catalog.descriptors import Column
from sqlnode.errors import SqlError, unsupported
from sqlnode.functions.base import Volatility
from sqlnode.types.base import Value
from sqlnode.types.registry import format_type

if TYPE_CHECKING:
    from sqlnode.execute.api import Execution

_pb: Any = postgast.pg_query_pb2
_PREFIX = "SELECT "


def default_text(expression: Any, type_oid: int) -> str | None:
    """SQL text of a raw DEFAULT expression; None for NULL, which is no default.

    A string literal is written with its type, as PostgreSQL shows it.
    """
    if expression.WhichOneof("node") == "a_const":
        constant = expression.a_const
        if constant.isnull:
            return None
        if constant.WhichOneof("val") == "sval":
            return f"{_deparsed(expression)}::{format_type(type_oid, -1)}"
    text = _deparsed(expression)
    return f"({text})" if expression.WhichOneof("node") == "a_expr" else text


def _deparsed(expression: Any) -> str:
    parsed = _pb.ParseResult()
    target = parsed.stmts.add().stmt.select_stmt
    target.limit_option = _pb.LIMIT_OPTION_DEFAULT
    target.op = _pb.SETOP_NONE
    target.target_list.add().res_target.val.CopyFrom(expression)
    text: str = postgast.deparse(parsed)
    return text.removeprefix(_PREFIX)


def assignment_query(column: Column, default: str) -> str:
    """A query whose only value is the default, coerced to the column's type and typmod."""
    return f"SELECT CAST(({default}) AS {format_type(column.type, column.typmod)})"


async def check_default(execution: "Execution", column: Column) -> tree.Query | None:
    """Analyse a column's default. Raises SqlError: names, types, columns in it (0A000)."""
    from sqlnode.analyse.statement import analyse  # analysis knows DDL, not the other way round
    from sqlnode.parse import parse

    if column.default is None:
        return None
    [raw] = parse(assignment_query(column, column.default))
    functions = execution.functions
    try:
        analysed = analyse(
            raw,
            catalog=execution.catalog,
            search_path=functions.search_path(),
            context=functions,
        )
    except SqlError as error:
        error.position = None  # it points into a text the client did not send
        if error.sqlstate == sqlstate.UNDEFINED_COLUMN:
            raise SqlError(
                sqlstate.FEATURE_NOT_SUPPORTED,
                "cannot use column reference in DEFAULT expression",
            ) from error
        raise
    query = analysed.statement
    if not isinstance(query, tree.Query) or analysed.param_types:
        raise SqlError(sqlstate.UNDEFINED_PARAMETER, "there is no parameter $1")
    return query


async def value_for_existing_rows(execution: "Execution", column: Column) -> Value:
    """What rows have in a column that is added with a default: one value for all.

    Raises SqlError 0A000 where each row would get its own.
    """
    from sqlnode.compile.statement import compile_plan
    from sqlnode.plan.planner import plan

    query = await check_default(execution, column)
    if query is None:
        return None
    if _is_volatile(query):
        raise unsupported("ADD COLUMN with a volatile DEFAULT")
    executable = compile_plan(plan(query, catalog=execution.catalog), ())
    async for batch in executable.run(execution):
        return batch[0][0]
    return None


def _is_volatile(node: Any) -> bool:
    if isinstance(node, tree.Call) and node.function.volatility is Volatility.VOLATILE:
        return True
    if isinstance(node, tuple):
        return any(map(_is_volatile, node))
    if is_dataclass(node) and type(node).__module__ == tree.__name__:
        return any(_is_volatile(getattr(node, each.name)) for each in fields(node))
    return False
