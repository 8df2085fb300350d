"""The options of CREATE SEQUENCE, ALTER SEQUENCE and identity columns, as PostgreSQL reads them
(src/backend/commands/sequence.c, init_params)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import postgast

from sqlnode import sqlstate
from sqlnode.analyse.locations import position
from sqlnode.analyse.typenames import resolve
from sqlnode.catalog.descriptors import NumberSequence
from sqlnode.errors import SqlError
from sqlnode.types import oids
from sqlnode.types.registry import format_type

_pb: Any = postgast.pg_query_pb2

RANGES: Mapping[int, tuple[int, int]] = {
    oids.INT2: (-(2**15), 2**15 - 1),
    oids.INT4: (-(2**31), 2**31 - 1),
    oids.INT8: (-(2**63), 2**63 - 1),
}
"""The types of sequences, with their lowest and highest numbers."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was written. An option without a value is NO MINVALUE and the like."""

    given: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def number(self, name: str) -> int | None:
        """The number of an option; None where there is none."""
        return _number(self.given[name]) if name in self.given else None

    @property
    def owner(self) -> list[str] | None:
        """The parts of OWNED BY's name."""
        if "owned_by" not in self.given:
            return None
        return [item.string.sval for item in self.given["owned_by"].arg.list.items]


def read(nodes: Any) -> Options:
    """The options of a list of DefElem. Raises SqlError 42601."""
    given: dict[str, Any] = {}
    for each in nodes:
        element = each.def_elem
        if element.defname == "sequence_name":
            raise _syntax("invalid sequence option SEQUENCE NAME", element)
        if element.defname in given:
            raise _syntax("conflicting or redundant options", element)
        given[element.defname] = element
    return Options(given)


def _syntax(text: str, element: Any) -> SqlError:
    return SqlError(sqlstate.SYNTAX_ERROR, text, position=position(element.location))


def _number(element: Any) -> int | None:
    kind = element.arg.WhichOneof("node")
    if kind is None:
        return None
    if kind == "integer":
        return int(element.arg.integer.ival)
    text = element.arg.float.fval
    try:
        found = int(text)
    except ValueError:
        text = f'invalid input syntax for type bigint: "{text}"'
        raise SqlError(sqlstate.INVALID_TEXT_REPRESENTATION, text) from None
    if not -(2**63) <= found < 2**63:
        text = f'value "{text}" is out of range for type bigint'
        raise SqlError(sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, text)
    return found


def defined(new: NumberSequence, options: Options, *, type_oid: int = 0) -> NumberSequence:
    """A new sequence with its options. `type_oid` is the type where none is given.

    Raises SqlError 22023.
    """
    new = replace(new, type=_type(options, identity=new.identity) or type_oid or oids.INT8)
    new = _with_increment(new, options)
    low, high = RANGES[new.type]
    up = new.increment > 0
    new = _with_bounds(new, options, 1 if up else low, high if up else -1)
    start = options.number("start")
    new = replace(new, start=start if start is not None else new.min if up else new.max)
    _check("START", new.start, new)
    new = replace(new, first=_restart(new, options) if "restart" in options else new.start)
    _check("RESTART", new.first, new)
    return new


def changed(old: NumberSequence, options: Options, last: int) -> tuple[NumberSequence, bool]:
    """A sequence with other options, and whether it begins anew; `last` is where it stands.

    Raises SqlError 22023.
    """
    new = old
    type_oid = _type(options, identity=old.identity)
    low = high = False
    if type_oid:
        # Bounds that were those of the old type become those of the new one.
        low, high = (
            old.min == RANGES[old.type][0],
            old.max == RANGES[old.type][1],
        )
        new = replace(new, type=type_oid)
    new = _with_increment(new, options)
    least, most = RANGES[new.type]
    up = new.increment > 0
    lowest = least if not up or low else 1
    highest = most if up or high else -1
    new = _with_bounds(new, options, lowest, highest, reset=(low, high))
    start = options.number("start")
    if start is not None:
        new = replace(new, start=start)
    _check("START", new.start, new)
    anew = "restart" in options
    if anew:
        new = replace(new, first=_restart(new, options))
    _check("RESTART", new.first if anew else last, new)
    return new, anew


def _restart(sequence: NumberSequence, options: Options) -> int:
    value = options.number("restart")
    return sequence.start if value is None else value


def _type(options: Options, *, identity: bool) -> int:
    if "as" not in options:
        return 0
    found, _ = resolve(options.given["as"].arg.type_name)
    if found not in RANGES:
        kind = "identity column" if identity else "sequence"
        raise _invalid(f"{kind} type must be smallint, integer, or bigint")
    return found


def _with_increment(sequence: NumberSequence, options: Options) -> NumberSequence:
    increment = options.number("increment")
    if increment == 0:
        raise _invalid("INCREMENT must not be zero")
    cache = options.number("cache")
    if "cycle" in options:
        sequence = replace(sequence, cycle=options.given["cycle"].arg.boolean.boolval)
    if cache is not None:
        sequence = replace(sequence, cache=cache)
    return sequence if increment is None else replace(sequence, increment=increment)


def _with_bounds(
    sequence: NumberSequence,
    options: Options,
    low: int,
    high: int,
    *,
    reset: tuple[bool, bool] | None = None,
) -> NumberSequence:
    """`low` and `high` are the bounds where none are given, or one is taken away. Of a sequence
    that is changed, `reset` says which are to be set anew although nothing is said of them."""
    most, least = options.number("maxvalue"), options.number("minvalue")
    if most is None:
        anew = reset is None or reset[1] or "maxvalue" in options
        most = high if anew else sequence.max
    if least is None:
        anew = reset is None or reset[0] or "minvalue" in options
        least = low if anew else sequence.min
    lowest, highest = RANGES[sequence.type]
    for what, value in (("MAXVALUE", most), ("MINVALUE", least)):
        if not lowest <= value <= highest:
            shown = format_type(sequence.type)
            raise _invalid(f"{what} ({value}) is out of range for sequence data type {shown}")
    if least >= most:
        raise _invalid(f"MINVALUE ({least}) must be less than MAXVALUE ({most})")
    return replace(sequence, min=least, max=most)


def _check(what: str, value: int, sequence: NumberSequence) -> None:
    if value < sequence.min:
        text = f"{what} value ({value}) cannot be less than MINVALUE ({sequence.min})"
        raise _invalid(text)
    if value > sequence.max:
        text = f"{what} value ({value}) cannot be greater than MAXVALUE ({sequence.max})"
        raise _invalid(text)
    if what == "RESTART" and sequence.cache <= 0:
        raise _invalid(f"CACHE ({sequence.cache}) must be greater than zero")


def _invalid(text: str) -> SqlError:
    return SqlError(sqlstate.INVALID_PARAMETER_VALUE, text)
