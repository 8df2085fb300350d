"""Parameter types: given by the client, or inferred from the first use.

An unknown `$n` is analysed as a Param of type unknown; the first coercion decides its type for the
statement, and every later one has to agree.
"""

from collections.abc import Sequence

from sqlnode import tree
from sqlnode.errors import SqlError
from sqlnode.types.oids import UNKNOWN
from sqlnode.types.registry import format_type

PARAMS_MAX = 65535
"""What the protocol can bind."""


class ParamTypes:
    """The statement's parameter types while it is analysed.

    `allowed` is False in the simple protocol, where there are no parameters to refer to.
    """

    __slots__ = ("_allowed", "_types")

    def __init__(self, given: Sequence[int], *, allowed: bool = True) -> None:
        self._types = [oid or UNKNOWN for oid in given]
        self._allowed = allowed

    def reference(self, number: int, location: int) -> tree.Param:
        """The Param for `$number`; raises SqlError 42P02 where there can be none."""
        if not self._allowed or not 0 < number <= PARAMS_MAX:
            raise SqlError("42P02", f"there is no parameter ${number}", position=location)
        types = self._types
        if number > len(types):
            types.extend([UNKNOWN] * (number - len(types)))
        return tree.Param(number, types[number - 1], location=location)

    def decide(self, param: tree.Param, type_oid: int) -> tree.Param:
        """Give an unknown parameter its type; 42P08 where an earlier use gave it another."""
        known = self._types[param.number - 1]
        if known == UNKNOWN:
            self._types[param.number - 1] = type_oid
        elif known != type_oid:
            raise SqlError(
                "42P08",
                f"inconsistent types deduced for parameter ${param.number}",
                detail=f"{format_type(known)} versus {format_type(type_oid)}",
                position=param.location,
            )
        return tree.Param(param.number, type_oid, location=param.location)

    def finish(self) -> tuple[int, ...]:
        """All types; raises SqlError 42P18 where one was never decided."""
        for number, oid in enumerate(self._types, start=1):
            if oid == UNKNOWN:
                raise SqlError("42P18", f"could not determine data type of parameter ${number}")
        return tuple(self._types)
