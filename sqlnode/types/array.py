"""The array value: any number of dimensions over one flat list of elements.

    '[0:1][1:3]={{1,2,3},{4,5,6}}'  →  Array((2, 3), (0, 1), (1, 2, 3, 4, 5, 6))

An empty array has no dimensions. Elements are in row-major order; NULL elements are None.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

DIMENSIONS_MAX = 6


@dataclass(frozen=True, slots=True)
class Array:
    """An array: length and lower bound per dimension, and the elements."""

    dimensions: tuple[int, ...]
    lower_bounds: tuple[int, ...]
    elements: tuple[Any, ...]

    @staticmethod
    def of(elements: Iterable[Any]) -> "Array":
        """One dimension, counted from 1."""
        flat = tuple(elements)
        return Array((len(flat),), (1,), flat) if flat else EMPTY

    @staticmethod
    def vector(elements: Sequence[Any]) -> "Array":
        """One dimension, counted from 0: what int2vector and oidvector are."""
        return Array((len(elements),), (0,), tuple(elements))

    @property
    def upper_bounds(self) -> tuple[int, ...]:
        """The last subscript of each dimension."""
        return tuple(
            lower + length - 1
            for lower, length in zip(self.lower_bounds, self.dimensions, strict=True)
        )

    def nested(self) -> list[Any]:
        """The elements as lists within lists, one level per dimension."""
        level: list[Any] = list(self.elements)
        for length in reversed(self.dimensions[1:]):
            level = [level[i : i + length] for i in range(0, len(level), length)]
        return level


EMPTY = Array((), (), ())
