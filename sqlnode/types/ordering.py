"""The value above all others: NaN among numbers, NULL among array elements."""

from typing import Final


class AboveAll:
    """Greater than everything, equal to itself.

    Python asks it whenever the other side does not know how to compare.
    """

    __slots__ = ()

    def __lt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return other is self

    def __gt__(self, other: object) -> bool:
        return other is not self

    def __ge__(self, other: object) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return other is self

    def __hash__(self) -> int:
        return 0x7FF8

    def __repr__(self) -> str:
        return "above_all"


above_all: Final = AboveAll()
