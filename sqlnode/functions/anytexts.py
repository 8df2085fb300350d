"""Text out of values of any type: concat, concat_ws, format, quote_literal, `||` with anything."""

import re
from collections.abc import Iterable, Sequence

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.family import Family
from sqlnode.functions.texts import quote_ident, quote_literal
from sqlnode.types.base import Value
from sqlnode.types.registry import by_oid, element_of

FAMILY = Family()
_DIRECTIVE = re.compile(r"%(?:(\d+)\$)?(-)?(?:(\d+)|\*(?:(\d+)\$)?)?(.)?", re.DOTALL)


def _words(
    context: FunctionContext, types: Sequence[int], values: Sequence[Value]
) -> list[str | None]:
    """The arguments as text; an array given with VARIADIC is spread."""
    types, values = spread(types, values)
    return [
        None if value is None else by_oid(oid).text_out(value, context)
        for oid, value in zip(types, values, strict=True)
    ]


def spread(types: Sequence[int], values: Sequence[Value]) -> tuple[Sequence[int], Sequence[Value]]:
    """The arguments of a VARIADIC "any" function with an array given as VARIADIC taken apart."""
    if not types or types[-1] >= 0:
        return types, values
    array = values[-1]
    elements = () if array is None else array.elements
    element = element_of(-types[-1])
    return (*types[:-1], *(element,) * len(elements)), (*values[:-1], *elements)


@FAMILY.function("text_concat", needs_context=True, needs_types=True)
def concat(context: FunctionContext, types: Sequence[int], *values: Value) -> str:
    """concat(): NULLs are left out."""
    return "".join(_present(_words(context, types, values)))


@FAMILY.function("text_concat_ws", needs_context=True, needs_types=True)
def concat_ws(
    context: FunctionContext, types: Sequence[int], separator: str | None, *values: Value
) -> str | None:
    """concat_ws()."""
    if separator is None:
        return None
    return separator.join(_present(_words(context, types[1:], values)))


def _present(words: Iterable[str | None]) -> Iterable[str]:
    return (word for word in words if word is not None)


@FAMILY.function("text_format_nv", needs_context=True)
def format_nothing(context: FunctionContext, template: str) -> str:
    """format(template)."""
    return format_text(context, (), template)


@FAMILY.function("text_format", needs_context=True, needs_types=True)
def format_text(
    context: FunctionContext, types: Sequence[int], template: str | None, *values: Value
) -> str:
    """format(template, …) with %s, %I, %L, widths and positions; 22023."""
    words = _words(context, types[1:], values)
    used = 0
    out: list[str] = []
    at = 0
    text = template or ""
    for found in _DIRECTIVE.finditer(text):
        out.append(text[at : found.start()])
        at = found.end()
        kind = found[5]
        if kind is None:
            raise _bad_format("unterminated format() type specifier")
        if kind == "%":
            out.append("%")
            continue
        width = int(found[3] or 0)
        if "*" in found[0]:
            place = int(found[4]) if found[4] else used + 1
            used = place
            width = int(_argument(words, place) or 0)
        place = int(found[1]) if found[1] else used + 1
        if place == 0:
            raise _bad_format("format specifies argument 0, but arguments are numbered from 1")
        used = place
        shown = _directive(kind, _argument(words, place))
        left = found[2] is not None or width < 0
        out.append(shown.ljust(abs(width)) if left else shown.rjust(width))
    return "".join(out) + text[at:]


def _bad_format(message: str) -> SqlError:
    return SqlError(sqlstate.INVALID_PARAMETER_VALUE, message)


def _argument(words: Sequence[str | None], place: int) -> str | None:
    if place > len(words):
        raise _bad_format("too few arguments for format()")
    return words[place - 1]


def _directive(kind: str, word: str | None) -> str:
    if kind == "s":
        return word or ""
    if kind == "L":
        return "NULL" if word is None else quote_literal(word)
    if kind == "I":
        if word is None:
            raise SqlError(
                sqlstate.NULL_VALUE_NOT_ALLOWED,
                "null values cannot be formatted as an SQL identifier",
            )
        return quote_ident(word)
    raise SqlError(
        sqlstate.INVALID_PARAMETER_VALUE,
        f'unrecognized format() type specifier "{kind}"',
        hint='For a single "%" use "%%".',
    )


def _text(context: FunctionContext, oid: int, value: Value) -> str:
    return by_oid(oid).text_out(value, context)


@FAMILY.function("quote_literal(anyelement)", needs_context=True, needs_types=True)
def quote_any(context: FunctionContext, types: Sequence[int], value: Value) -> str:
    """quote_literal(anything)."""
    return quote_literal(_text(context, types[0], value))


@FAMILY.function("quote_nullable(anyelement)", needs_context=True, needs_types=True)
def quote_any_nullable(context: FunctionContext, types: Sequence[int], value: Value) -> str:
    """quote_nullable(anything)."""
    return "NULL" if value is None else quote_literal(_text(context, types[0], value))


@FAMILY.function("textanycat(text,anynonarray)", needs_context=True, needs_types=True)
def text_and_any(context: FunctionContext, types: Sequence[int], text: str, value: Value) -> str:
    """text || anything."""
    return text + _text(context, types[1], value)


@FAMILY.function("anytextcat(anynonarray,text)", needs_context=True, needs_types=True)
def any_and_text(context: FunctionContext, types: Sequence[int], value: Value, text: str) -> str:
    """anything || text."""
    return _text(context, types[0], value) + text
