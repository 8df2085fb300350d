"""All functions, operators, casts and aggregates: PostgreSQL's facts joined to implementations.

Lookups give every overload PostgreSQL 15 has, in OID order; entries nobody has implemented have
neither `call` nor `inline` nor `aggregate`.
"""

import re
from collections.abc import Mapping
from itertools import groupby

from sqlnode import sqlstate
from sqlnode.builtins.facts import facts
from sqlnode.errors import SqlError
from sqlnode.functions.base import Cast, Function, Operator, Volatility
from sqlnode.functions.families import FAMILIES
from sqlnode.functions.family import Entry
from sqlnode.types import oids
from sqlnode.types.base import Key
from sqlnode.types.registry import by_oid, find, is_array

_INTERNAL_LANGUAGE = "12"
_BTREE = "403"
_LESS, _EQUAL = "1", "3"  # strategy numbers of btree
_COMMON_CLASS = {oids.VARCHAR: oids.TEXT}
"""Types without a default operator class of their own, compared as the type they coerce to."""

_functions: dict[int, Function] = {}
_functions_by_name: dict[str, tuple[Function, ...]] = {}
_operators: dict[int, Operator] = {}
_operators_by_name: dict[str, tuple[Operator, ...]] = {}
_casts: dict[tuple[int, int], Cast] = {}
_comparisons: dict[tuple[int, str], Operator] = {}


def functions(name: str) -> tuple[Function, ...]:
    """Every overload of the function, aggregate or procedure `name`, all schemas."""
    return _functions_by_name.get(name, ())


def function(oid: int) -> Function:
    """The function `oid`; SqlError XX000 if there is none."""
    found = _functions.get(oid)
    if found is None:
        raise SqlError(sqlstate.INTERNAL_ERROR, f"cache lookup failed for function {oid}")
    return found


def find_function(oid: int) -> Function | None:
    """The function `oid`, None if there is none."""
    return _functions.get(oid)


def operators(name: str) -> tuple[Operator, ...]:
    """Every overload of the operator `name`."""
    return _operators_by_name.get(name, ())


def operator(oid: int) -> Operator:
    """The operator `oid`; SqlError XX000 if there is none."""
    found = _operators.get(oid)
    if found is None:
        raise SqlError(sqlstate.INTERNAL_ERROR, f"cache lookup failed for operator {oid}")
    return found


def find_operator(oid: int) -> Operator | None:
    """The operator `oid`, None if there is none."""
    return _operators.get(oid)


def cast(source: int, target: int) -> Cast | None:
    """The row of pg_cast; None if there is none (there is none for arrays and I/O casts)."""
    return _casts.get((source, target))


def equality_operator(type_oid: int) -> Operator:
    """`=` of the type's default btree operator class; 42883 if the type cannot be compared."""
    return _comparison(type_oid, _EQUAL, "an equality")


def less_operator(type_oid: int) -> Operator:
    """`<` of the type's default btree operator class; 42883 if the type has no order."""
    return _comparison(type_oid, _LESS, "an ordering")


def equality(type_oid: int) -> Function:
    """The function behind `equality_operator`."""
    return function(equality_operator(type_oid).function)


def less(type_oid: int) -> Function:
    """The function behind `less_operator`."""
    return function(less_operator(type_oid).function)


def key(type_oid: int) -> Key | None:
    """How to turn a value of the type into one that Python hashes, equates and orders as SQL does.

    None: the runtime values already do. One key serves grouping, DISTINCT, hash joins and sorting.
    """
    return by_oid(type_oid).key


def is_comparable(type_oid: int) -> bool:
    """Whether the type has a default btree operator class."""
    return _find_comparison(type_oid, _LESS) is not None


def _find_comparison(type_oid: int, strategy: str) -> Operator | None:
    found = _comparisons.get((_COMMON_CLASS.get(type_oid, type_oid), strategy))
    if found is not None:
        return found
    sql_type = find(type_oid)
    if sql_type is None:
        return None
    if sql_type.base_type:
        return _find_comparison(sql_type.base_type, strategy)
    if is_array(type_oid):
        comparable = is_comparable(sql_type.element_oid)
        return _comparisons[oids.ANYARRAY, strategy] if comparable else None
    general = {"c": oids.RECORD, "e": oids.ANYENUM, "r": oids.ANYRANGE}.get(sql_type.kind)
    if general is not None:
        return _comparisons[general, strategy]
    as_oid = type_oid in _REGISTERED
    return _comparisons[oids.OID, strategy] if as_oid else None


_REGISTERED = {
    oids.REGCLASS,
    oids.REGTYPE,
    oids.REGPROC,
    oids.REGPROCEDURE,
    oids.REGOPER,
    oids.REGOPERATOR,
    oids.REGNAMESPACE,
    oids.REGROLE,
    oids.REGCOLLATION,
    oids.REGCONFIG,
    oids.REGDICTIONARY,
}
"""Types that coerce to oid without a function and are compared as OIDs."""


def _comparison(type_oid: int, strategy: str, what: str) -> Operator:
    found = _find_comparison(type_oid, strategy)
    if found is None:
        name = by_oid(type_oid).name
        raise SqlError(
            sqlstate.UNDEFINED_FUNCTION, f"could not identify {what} operator for type {name}"
        )
    return found


# --- loading -----------------------------------------------------------------------------------


def _load_functions() -> None:
    entries: dict[str, Entry] = {}
    for family in FAMILIES:
        twice = entries.keys() & family.entries.keys()
        if twice:
            raise LookupError(f"implemented twice: {sorted(twice)}")
        entries |= family.entries
    used: set[str] = set()
    table = facts("pg_proc")
    names = [column.name for column in table.columns]
    for row in (*table.rows, *facts("own_proc").rows):
        fact = dict(zip(names, row, strict=True))
        keyed = _key(fact)
        entry = entries.get(keyed)
        if entry is not None:
            used.add(keyed)
        made = _function(fact, entry or Entry())
        _functions[made.oid] = made
    if entries.keys() - used:
        raise LookupError(f"PostgreSQL has no {sorted(entries.keys() - used)}")
    _functions_by_name.update(_grouped(_functions))


def _grouped(table: "Mapping[int, Function]") -> dict[str, tuple[Function, ...]]:
    ordered = sorted(table.values(), key=lambda made: (made.name, made.oid))
    return {name: tuple(group) for name, group in groupby(ordered, key=lambda made: made.name)}


def _key(fact: dict[str, str | None]) -> str:
    if fact["prolang"] == _INTERNAL_LANGUAGE and fact["prokind"] != "a":
        return fact["prosrc"] or ""
    arguments = [by_oid(int(oid)).name for oid in (fact["proargtypes"] or "").split()]
    return f"{fact['proname']}({','.join(arguments)})"


def _function(fact: dict[str, str | None], entry: Entry) -> Function:
    arguments = tuple(map(int, (fact["proargtypes"] or "").split()))
    names = _strings(fact["proargnames"])
    modes = _strings(fact["proargmodes"])
    every = tuple(map(int, _strings(fact["proallargtypes"])))
    outputs = tuple(
        (name, type_oid)
        for name, mode, type_oid in zip(names, modes, every, strict=False)
        if mode in "obt"
    )
    inputs = [name for i, name in enumerate(names) if not modes or modes[i] in "ibv"]
    return Function(
        oid=int(fact["oid"] or 0),
        name=fact["proname"] or "",
        argument_types=arguments,
        variadic=int(fact["provariadic"] or 0),
        defaults=int(fact["pronargdefaults"] or 0),
        return_type=int(fact["prorettype"] or 0),
        strict=fact["proisstrict"] == "t",
        volatility=Volatility(fact["provolatile"]),
        returns_set=fact["proretset"] == "t",
        kind=fact["prokind"] or "f",
        call=entry.call,
        needs_context=entry.needs_context,
        inline=entry.inline,
        aggregate=entry.aggregate,
        result_columns=outputs,
        needs_types=entry.needs_types,
        argument_names=tuple(inputs[: len(arguments)]) if any(inputs) else (),
        default_expressions=_expressions(fact["proargdefaults"]),
        namespace=int(fact["pronamespace"] or 0),
        waits=entry.waits,
    )


def _strings(array: str | None) -> tuple[str, ...]:
    """A one-dimensional array of plain words, as its text form shows it."""
    if array is None or array == "{}":
        return ()
    return tuple("" if word == '""' else word for word in array[1:-1].split(","))


def _expressions(text: str | None) -> tuple[str, ...]:
    return tuple(re.split(r",\s*", text)) if text else ()


def _load_operators() -> None:
    table = facts("pg_operator")
    names = [column.name for column in table.columns]
    for row in table.rows:
        fact = dict(zip(names, row, strict=True))
        made = Operator(
            oid=int(fact["oid"] or 0),
            name=fact["oprname"] or "",
            left=int(fact["oprleft"] or 0),
            right=int(fact["oprright"] or 0),
            result=int(fact["oprresult"] or 0),
            function=int(fact["oprcode"] or 0),
            commutator=int(fact["oprcom"] or 0),
            negator=int(fact["oprnegate"] or 0),
            can_hash=fact["oprcanhash"] == "t",
            can_merge=fact["oprcanmerge"] == "t",
        )
        _operators[made.oid] = made
    ordered = sorted(_operators.values(), key=lambda made: (made.name, made.oid))
    for name, group in groupby(ordered, key=lambda made: made.name):
        _operators_by_name[name] = tuple(group)


def _load_casts() -> None:
    table = facts("pg_cast")
    names = [column.name for column in table.columns]
    for row in table.rows:
        fact = dict(zip(names, row, strict=True))
        source, target = int(fact["castsource"] or 0), int(fact["casttarget"] or 0)
        _casts[source, target] = Cast(
            source=source,
            target=target,
            function=int(fact["castfunc"] or 0),
            context=fact["castcontext"] or "",
            method=fact["castmethod"] or "",
        )


def _load_comparisons() -> None:
    classes = facts("pg_opclass")
    strategies = facts("pg_amop")
    names = [column.name for column in strategies.columns]
    members: dict[tuple[str | None, str | None, str | None], int] = {}
    for row in strategies.rows:
        fact = dict(zip(names, row, strict=True))
        if fact["amoplefttype"] == fact["amoprighttype"] and fact["amopmethod"] == _BTREE:
            at = fact["amopfamily"], fact["amoplefttype"], fact["amopstrategy"]
            members[at] = int(fact["amopopr"] or 0)
    names = [column.name for column in classes.columns]
    for row in classes.rows:
        fact = dict(zip(names, row, strict=True))
        if fact["opcmethod"] != _BTREE or fact["opcdefault"] != "t":
            continue
        for strategy in (_LESS, _EQUAL):
            made = members[fact["opcfamily"], fact["opcintype"], strategy]
            _comparisons[int(fact["opcintype"] or 0), strategy] = _operators[made]


_load_functions()
_load_operators()
_load_casts()
_load_comparisons()
