"""Small helpers that inline templates call: range checks, division, comparisons with NaN."""

from decimal import Decimal

from sqlnode import sqlstate
from sqlnode.errors import SqlError


def out_of_range(type_name: str) -> SqlError:
    """22003 for the result of arithmetic."""
    return SqlError(sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, f"{type_name} out of range")


def division_by_zero() -> SqlError:
    """22012."""
    return SqlError(sqlstate.DIVISION_BY_ZERO, "division by zero")


def int2(value: int) -> int:
    """The value, if it is a smallint."""
    if -0x8000 <= value <= 0x7FFF:
        return value
    raise out_of_range("smallint")


def int4(value: int) -> int:
    """The value, if it is an integer."""
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return value
    raise out_of_range("integer")


def int8(value: int) -> int:
    """The value, if it is a bigint."""
    if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        return value
    raise out_of_range("bigint")


def int_divide(dividend: int, divisor: int) -> int:
    """Integer division that truncates toward zero."""
    if divisor == 0:
        raise division_by_zero()
    if (dividend < 0) == (divisor < 0):
        return dividend // divisor
    return -(-dividend // divisor)


def int_modulo(dividend: int, divisor: int) -> int:
    """The remainder with the sign of the dividend."""
    if divisor == 0:
        raise division_by_zero()
    rest = abs(dividend) % abs(divisor)
    return -rest if dividend < 0 else rest


# NaN equals NaN and is above every other number, for float8 and numeric alike. `x != x` is true of
# NaN only. Decimal's `<` raises on NaN where Python's default context traps it, so NaN goes first.


def number_eq(left: float | Decimal, right: float | Decimal) -> bool:
    """`=`."""
    return left == right or (left != left and right != right)


def number_ne(left: float | Decimal, right: float | Decimal) -> bool:
    """`<>`."""
    return not (left == right or (left != left and right != right))


def float_lt(left: float, right: float) -> bool:
    """`<`."""
    return left < right or (right != right and left == left)


def float_le(left: float, right: float) -> bool:
    """`<=`."""
    return left <= right or right != right


def numeric_lt(left: Decimal, right: Decimal) -> bool:
    """`<`."""
    if left != left:
        return False
    return right != right or left < right


def numeric_le(left: Decimal, right: Decimal) -> bool:
    """`<=`."""
    if right != right:
        return True
    return left == left and left <= right
