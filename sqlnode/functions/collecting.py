"""array_agg, string_agg and the JSON aggregates: states that keep every value they were given."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.family import Family
from sqlnode.types.array import Array
from sqlnode.types.base import Value

FAMILY = Family()
Columns = Sequence[Sequence[Value]]


class _ArrayAgg:
    """array_agg(anynonarray): NULLs too; NULL of no rows."""

    def new(self) -> list[Value]:
        return []

    def add(self, state: list[Value], columns: Columns, count: int) -> list[Value]:
        state.extend(columns[0])
        return state

    def result(self, state: list[Value]) -> Value:
        return Array.of(state) if state else None


class _ArrayOfArrays(_ArrayAgg):
    """array_agg(anyarray): one dimension more; 2202E, 22004."""

    def result(self, state: list[Value]) -> Value:
        if not state:
            return None
        if None in state:
            raise SqlError(sqlstate.NULL_VALUE_NOT_ALLOWED, "cannot accumulate null arrays")
        first = state[0]
        if not first.dimensions:
            raise SqlError(sqlstate.ARRAY_SUBSCRIPT_ERROR, "cannot accumulate empty arrays")
        if any(array.dimensions != first.dimensions for array in state):
            raise SqlError(
                sqlstate.ARRAY_SUBSCRIPT_ERROR,
                "cannot accumulate arrays of different dimensionality",
            )
        elements = tuple(value for array in state for value in array.elements)
        return Array((len(state), *first.dimensions), (1, *first.lower_bounds), elements)


@dataclass(frozen=True, slots=True)
class _StringAgg:
    """string_agg(value, delimiter): the delimiter before each value but the first."""

    empty: str | bytes

    def new(self) -> list[Value]:
        return []

    def add(self, state: list[Value], columns: Columns, count: int) -> list[Value]:
        for value, delimiter in zip(columns[0], columns[1], strict=True):
            if value is None:
                continue
            if state and delimiter is not None:
                state.append(delimiter)
            state.append(value)
        return state

    def result(self, state: list[Value]) -> Value:
        return self.empty[:0].join(state) if state else None


FAMILY.aggregate(_ArrayAgg(), "array_agg(anynonarray)")
FAMILY.aggregate(_ArrayOfArrays(), "array_agg(anyarray)")
FAMILY.aggregate(_StringAgg(""), "string_agg(text,text)")
FAMILY.aggregate(_StringAgg(b""), "string_agg(bytea,bytea)")
