"""count, sum, avg, min, max, bool_and, bool_or and the bit aggregates, a batch at a time.

Python's own `sum`, `min` and `max` do the work inside a batch; a state is (values seen, running
value) or just the running value, None before the first one. Sums of integers are exact Python
integers and take PostgreSQL's result type at the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from operator import and_, or_, xor
from typing import Any

from sqlnode.functions.checks import int8
from sqlnode.functions.datetimemath import interval_add, interval_divide
from sqlnode.functions.family import Family
from sqlnode.functions.floats import float8_add, to_float4
from sqlnode.functions.numericmath import numeric_div
from sqlnode.types.base import Key, Value
from sqlnode.types.floats import float_key
from sqlnode.types.interval import Interval
from sqlnode.types.numerics import CONTEXT, numeric_key
from sqlnode.types.ordering import above_all

FAMILY = Family()
Columns = Sequence[Sequence[Value]]


def present(column: Sequence[Value]) -> Sequence[Value]:
    """The values that are not NULL."""
    return [value for value in column if value is not None] if None in column else column


class _CountRows:
    def new(self) -> int:
        return 0

    def add(self, state: int, columns: Columns, count: int) -> int:
        return state + count

    def result(self, state: int) -> int:
        return state


class _CountValues(_CountRows):
    def add(self, state: int, columns: Columns, count: int) -> int:
        column = columns[0]
        return state + count - (column.count(None) if None in column else 0)


FAMILY.aggregate(_CountRows(), "count()")
FAMILY.aggregate(_CountValues(), "count(any)")


@dataclass(frozen=True, slots=True)
class Sum:
    """sum() by `total` over a batch and `join` of batches, `finish`ed into the result type."""

    total: Callable[[Sequence[Any]], Any]
    join: Callable[[Any, Any], Any]
    finish: Callable[[Any], Value]

    def new(self) -> Value:
        """No value seen."""
        return None

    def add(self, state: Value, columns: Columns, count: int) -> Value:
        """The running sum."""
        values = present(columns[0])
        if not values:
            return state
        total = self.total(values)
        return total if state is None else self.join(state, total)

    def result(self, state: Value) -> Value:
        """NULL if there was no value."""
        return None if state is None else self.finish(state)


def _plain_sum(left: int, right: int) -> int:
    return left + right


def _same(value: Value) -> Value:
    return value


def _numeric_total(values: Sequence[Decimal]) -> Decimal:
    return reduce(CONTEXT.add, values)


def _float_total(values: Sequence[float]) -> float:
    total = sum(values, 0.0) if values[0] == 0 else sum(values[1:], values[0])
    if total - total == 0.0 or any(value - value != 0.0 for value in values):
        return total
    return reduce(float8_add, values)


def _interval_total(values: Sequence[Interval]) -> Interval:
    return reduce(interval_add, values)


_SUM_OF_INT8 = Sum(sum, _plain_sum, Decimal)
FAMILY.aggregate(Sum(sum, _plain_sum, int8), "sum(int2)", "sum(int4)")
FAMILY.aggregate(_SUM_OF_INT8, "sum(int8)")
FAMILY.aggregate(Sum(_numeric_total, CONTEXT.add, _same), "sum(numeric)")
FAMILY.aggregate(Sum(_float_total, float8_add, _same), "sum(float8)")
FAMILY.aggregate(Sum(_float_total, float8_add, to_float4), "sum(float4)")
FAMILY.aggregate(Sum(_interval_total, interval_add, _same), "sum(interval)")


@dataclass(frozen=True, slots=True)
class Average:
    """avg(): a sum and a count; `finish` divides."""

    sum: Sum
    finish: Callable[[Any, int], Value]

    def new(self) -> tuple[int, Value]:
        """(values seen, their sum)."""
        return 0, None

    def add(self, state: tuple[int, Value], columns: Columns, count: int) -> tuple[int, Value]:
        """The running sum and count."""
        values = present(columns[0])
        if not values:
            return state
        seen, total = state
        return seen + len(values), self.sum.add(total, (values,), len(values))

    def result(self, state: tuple[int, Value]) -> Value:
        """NULL if there was no value."""
        return self.finish(state[1], state[0]) if state[0] else None


def _divide_integers(total: int, count: int) -> Decimal:
    return numeric_div(Decimal(total), Decimal(count))


def _divide_numeric(total: Decimal, count: int) -> Decimal:
    return numeric_div(total, Decimal(count))


def _divide_floats(total: float, count: int) -> float:
    return total / count


FAMILY.aggregate(Average(_SUM_OF_INT8, _divide_integers), "avg(int2)", "avg(int4)", "avg(int8)")
FAMILY.aggregate(Average(Sum(_numeric_total, CONTEXT.add, _same), _divide_numeric), "avg(numeric)")
FAMILY.aggregate(
    Average(Sum(_float_total, float8_add, _same), _divide_floats), "avg(float8)", "avg(float4)"
)
FAMILY.aggregate(
    Average(Sum(_interval_total, interval_add, _same), interval_divide),
    "avg(interval)",
)


@dataclass(frozen=True, slots=True)
class Extreme:
    """min() and max(): `pick` is Python's `min` or `max`, by `key` where values need one."""

    pick: Callable[..., Any]
    key: Key | None = None

    def new(self) -> Value:
        """No value seen."""
        return None

    def add(self, state: Value, columns: Columns, count: int) -> Value:
        """The extreme so far."""
        values = present(columns[0])
        if not values:
            return state
        if self.key is None:
            found = self.pick(values)
            return found if state is None else self.pick(state, found)
        found = self.pick(values, key=self.key)
        return found if state is None else self.pick(state, found, key=self.key)

    def result(self, state: Value) -> Value:
        """NULL if there was no value."""
        return state


def _blank_key(value: str) -> str:
    return value.rstrip(" ")


def _array_key(value: Any) -> Value:
    elements = tuple(above_all if v is None else v for v in value.elements)
    return elements, len(value.dimensions), value.dimensions, value.lower_bounds


_NATURAL = (
    "int2", "int4", "int8", "oid", "date", "time", "timetz",
    "timestamp", "timestamptz", "interval", "text", "tid", "xid8",
)  # fmt: skip
for _word, _pick in (("min", min), ("max", max)):
    FAMILY.aggregate(Extreme(_pick), *(f"{_word}({name})" for name in _NATURAL))
    FAMILY.aggregate(Extreme(_pick, float_key), f"{_word}(float4)", f"{_word}(float8)")
    FAMILY.aggregate(Extreme(_pick, numeric_key), f"{_word}(numeric)")
    FAMILY.aggregate(Extreme(_pick, _blank_key), f"{_word}(bpchar)")
    FAMILY.aggregate(Extreme(_pick, _array_key), f"{_word}(anyarray)")


@dataclass(frozen=True, slots=True)
class Fold:
    """An aggregate that folds values with a Python operator over each batch."""

    batch: Callable[[Sequence[Any]], Any]
    join: Callable[[Any, Any], Any]

    def new(self) -> Value:
        """No value seen."""
        return None

    def add(self, state: Value, columns: Columns, count: int) -> Value:
        """The value so far."""
        values = present(columns[0])
        if not values:
            return state
        found = self.batch(values)
        return found if state is None else self.join(state, found)

    def result(self, state: Value) -> Value:
        """NULL if there was no value."""
        return state


def _folded(operation: Callable[[Any, Any], Any]) -> Fold:
    return Fold(lambda values: reduce(operation, values), operation)


FAMILY.aggregate(Fold(all, and_), "bool_and(bool)", "every(bool)")
FAMILY.aggregate(Fold(any, or_), "bool_or(bool)")
for _name in ("int2", "int4", "int8"):
    FAMILY.aggregate(_folded(and_), f"bit_and({_name})")
    FAMILY.aggregate(_folded(or_), f"bit_or({_name})")
    FAMILY.aggregate(_folded(xor), f"bit_xor({_name})")
