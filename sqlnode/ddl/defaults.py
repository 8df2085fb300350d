"""DEFAULT expressions: their text in the catalog, and their value for rows that exist already."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import postgast

from sqlnode import sqlstate, tree
from sqlnode.analyse.locations import position
from sqlnode.catalog.descriptors import Column
from sqlnode.errors import SqlError
from sqlnode.functions.base import FunctionContext, Volatility
from sqlnode.functions.registry import functions
from sqlnode.types import oids
from sqlnode.types.base import Value
from sqlnode.types.registry import by_oid, format_type

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.execute.api import Execution

_pb: Any = postgast.pg_query_pb2
_PREFIX = "SELECT "


class Volatile(Enum):
    """See `value_for_existing_rows`."""

    VOLATILE = "volatile"


VOLATILE = Volatile.VOLATILE


def default_text(expression: Any, type_oid: int, context: FunctionContext) -> str | None:
    """SQL text of a raw DEFAULT expression; None for NULL, which is no default.

    A string literal is written with its type, as PostgreSQL shows it. Relations are kept by OID
    (`sqlnode.catalog.references`). Raises SqlError 42P01 where there is no such relation.
    """
    if expression.WhichOneof("node") == "a_const":
        constant = expression.a_const
        if constant.isnull:
            return None
        if constant.WhichOneof("val") == "sval":
            if type_oid == oids.REGCLASS:
                return f"{_deparsed(_bound(expression, context))}::regclass"
            return f"{_deparsed(expression)}::{format_type(type_oid, -1)}"
    text = _deparsed(_bound(expression, context))
    return f"({text})" if expression.WhichOneof("node") == "a_expr" else text


def _bound(expression: Any, context: FunctionContext) -> Any:
    bound = type(expression)()
    bound.CopyFrom(expression)
    if bound.WhichOneof("node") == "a_const":
        _bind(bound, context)
    else:
        _bind_relations(bound, context)
    return bound


def _bind_relations(node: Any, context: FunctionContext) -> None:
    """Let the regclass constants of a raw expression be OIDs."""
    for field, value in node.ListFields():
        if field.message_type is None:
            continue
        for each in value if isinstance(value, Iterable) else (value,):
            _bind_relations(each, context)
    kind = node.WhichOneof("node") if "node" in node.DESCRIPTOR.oneofs_by_name else None
    if kind == "type_cast" and _names(node.type_cast.type_name)[-1:] == ["regclass"]:
        _bind(node.type_cast.arg, context)
    elif kind == "func_call" and _names_relation(_names(node.func_call, "funcname")):
        argument = node.func_call.args[0] if node.func_call.args else None
        if argument is not None and _bind(argument, context):
            constant = type(argument)()
            constant.CopyFrom(argument)
            argument.type_cast.arg.CopyFrom(constant)
            argument.type_cast.type_name.names.add().string.sval = "regclass"
            argument.type_cast.type_name.typemod = -1


def _bind(node: Any, context: FunctionContext) -> bool:
    """Whether the node is a string literal; it is an OID now."""
    if node.WhichOneof("node") != "a_const" or node.a_const.WhichOneof("val") != "sval":
        return False
    try:
        oid = by_oid(oids.REGCLASS).text_in(node.a_const.sval.sval, -1, context)
    except SqlError as error:
        error.position = position(node.a_const.location)
        raise
    node.a_const.sval.sval = str(oid)
    return True


def _names(node: Any, field: str = "names") -> list[str]:
    return [each.string.sval for each in getattr(node, field)]


def _names_relation(name: list[str]) -> bool:
    """Whether a function's first argument is a relation, in all its overloads."""
    found = functions(name[-1])
    return bool(found) and all(each.argument_types[:1] == (oids.REGCLASS,) for each in found)


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
    context = execution.functions
    try:
        analysed = analyse(
            raw,
            catalog=execution.catalog,
            search_path=context.search_path(),
            context=context,
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


async def value_for_existing_rows(execution: "Execution", column: Column) -> Value | Volatile:
    """What rows have in a column that is added with a default: one value for all, or VOLATILE
    where each gets its own (`values_for_rows`)."""
    from sqlnode.compile.statement import compile_plan
    from sqlnode.plan.planner import plan

    query = await check_default(execution, column)
    if query is None:
        return None
    if _is_volatile(query):
        return VOLATILE
    executable = compile_plan(plan(query, catalog=execution.catalog), ())
    async for batch in executable.run(execution):
        return batch[0][0]
    return None


def values_for_rows(
    execution: "Execution", catalog: "Catalog", column: Column
) -> Callable[[int], Awaitable[list[Value]]]:
    """What makes a column's values for so many rows; `catalog` has the sequence they come from."""
    from sqlnode.analyse.statement import analyse
    from sqlnode.compile.statement import compile_plan
    from sqlnode.execute.api import Execution
    from sqlnode.parse import parse
    from sqlnode.plan.planner import plan

    cast = f"CAST(({column.filled}) AS {format_type(column.type, column.typmod)})"
    [raw] = parse(f"SELECT {cast} FROM pg_catalog.generate_series(1, $1::int4)")
    context = execution.functions
    path = context.search_path()
    analysed = analyse(raw, catalog=catalog, search_path=path, context=context)
    if not isinstance(analysed.statement, tree.Query):
        raise TypeError("a query of values is a query")
    planned = plan(analysed.statement, catalog=catalog)
    executable = compile_plan(planned, analysed.param_types)

    async def values(count: int) -> list[Value]:
        run = Execution(
            transaction=execution.transaction,
            catalog=catalog,
            functions=context,
            interrupts=execution.interrupts,
            params=(count,),
        )
        with context.sequences.looking_at(catalog):
            context.sequences.expect(count)
            return [row[0] async for batch in executable.run(run) for row in batch]

    return values


def _is_volatile(node: Any) -> bool:
    if isinstance(node, tree.Call) and node.function.volatility is Volatility.VOLATILE:
        return True
    if isinstance(node, tuple):
        return any(map(_is_volatile, node))
    if is_dataclass(node) and type(node).__module__ == tree.__name__:
        return any(_is_volatile(getattr(node, each.name)) for each in fields(node))
    return False
