"""CURRENT_DATE, CURRENT_USER and the other values that look like columns."""

from collections.abc import Callable
from typing import Any

from sqlnode import tree
from sqlnode.compile.expression import Compiler, handles
from sqlnode.compile.source import Code
from sqlnode.errors import unsupported
from sqlnode.functions import registry as functions
from sqlnode.functions.base import FunctionContext
from sqlnode.types import oids
from sqlnode.types import registry as types


def _cast_from_now(target: int) -> Callable[[FunctionContext], Any]:
    cast = functions.cast(oids.TIMESTAMPTZ, target)
    if cast is None or not cast.function:
        raise LookupError(f"no cast from timestamptz to {target}")
    function = functions.function(cast.function)
    call = function.call
    if call is None:
        raise unsupported(f"function {function.name}")
    if function.needs_context:
        return lambda context: call(context, context.now_micros())
    return lambda context: call(context.now_micros())


def _current_schema(context: FunctionContext) -> str | None:
    return next((name for name in context.search_path() if name != "pg_catalog"), None)


_NAMES: dict[str, Callable[[FunctionContext], Any]] = {
    "current_user": lambda context: context.current_user,
    "current_role": lambda context: context.current_user,
    "user": lambda context: context.current_user,
    "session_user": lambda context: context.session_user,
    "current_catalog": lambda context: context.current_database,
    "current_schema": _current_schema,
}
_TIMES = {
    "current_date": oids.DATE,
    "current_time": oids.TIMETZ,
    "localtime": oids.TIME,
    "localtimestamp": oids.TIMESTAMP,
}


@handles(tree.SqlValue)
def _sql_value(compiler: Compiler, expr: tree.SqlValue) -> Code:
    if expr.kind in _NAMES:
        name = compiler.bound(_NAMES[expr.kind])
        return Code(f"{name}(c)", nullable=expr.kind == "current_schema")
    if expr.kind == "current_timestamp":
        text = "c.now_micros()"
    elif expr.kind in _TIMES:
        text = f"{compiler.bound(_cast_from_now(_TIMES[expr.kind]))}(c)"
    else:
        raise unsupported(expr.kind.upper())
    apply = types.by_oid(expr.type).apply_typmod
    if expr.typmod >= 0 and apply is not None:
        text = f"{compiler.bound(apply)}({text}, {expr.typmod:d}, False)"
    return Code(text, nullable=False)
