"""numeric operators and functions."""

from collections.abc import Iterator
from decimal import Decimal

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions import checks, numericmath
from sqlnode.functions.family import Family
from sqlnode.functions.numericmath import numeric_log, numeric_sub
from sqlnode.types.numerics import CONTEXT, checked, numeric_key, rescale, scale_of

FAMILY = Family()
_TEN = Decimal(10)

FAMILY.inlines(
    vars(numericmath) | vars(checks),
    {
        "numeric_add": "numeric_add({0}, {1})",
        "numeric_sub": "numeric_sub({0}, {1})",
        "numeric_mul": "numeric_mul({0}, {1})",
        "numeric_div": "numeric_div({0}, {1})",
        "numeric_mod": "numeric_mod({0}, {1})",
        "numeric_uminus": "numeric_neg({0})",
        "numeric_uplus": "{0}",
        "numeric_abs": "{0}.copy_abs()",
        "numeric_round": "numeric_round({0}, {1})",
        "round(numeric)": "numeric_round({0}, 0)",
        "numeric_trunc": "numeric_trunc({0}, {1})",
        "trunc(numeric)": "numeric_trunc({0}, 0)",
        "numeric_ceil": "numeric_ceil({0})",
        "numeric_floor": "numeric_floor({0})",
        "numeric_sign": "numeric_sign({0})",
        "numeric_sqrt": "numeric_sqrt({0})",
        "numeric_exp": "numeric_exp({0})",
        "numeric_ln": "numeric_ln({0})",
        "numeric_log": "numeric_log({0}, {1})",
        "numeric_power": "numeric_power({0}, {1})",
        "numeric_div_trunc": "numeric_div_trunc({0}, {1})",
    },
)


def _log10(value: Decimal) -> Decimal:
    return numeric_log(_TEN, value)


FAMILY.call(_log10, "log(numeric)", "log10(numeric)")


@FAMILY.function("numeric_larger")
def larger(left: Decimal, right: Decimal) -> Decimal:
    """The greater of two."""
    return right if checks.numeric_lt(left, right) else left


@FAMILY.function("numeric_smaller")
def smaller(left: Decimal, right: Decimal) -> Decimal:
    """The lesser of two."""
    return left if checks.numeric_lt(left, right) else right


@FAMILY.function("numeric_cmp")
def compare(left: Decimal, right: Decimal) -> int:
    """-1, 0 or 1."""
    first, second = numeric_key(left), numeric_key(right)
    return int(first > second) - int(first < second)


@FAMILY.function("numeric_scale")
def scale(value: Decimal) -> int | None:
    """Digits after the point; NULL for NaN and infinities."""
    return scale_of(value) if value.is_finite() else None


@FAMILY.function("numeric_min_scale")
def min_scale(value: Decimal) -> int | None:
    """Digits after the point that are needed."""
    return scale_of(value.normalize(CONTEXT)) if value.is_finite() else None


@FAMILY.function("numeric_trim_scale")
def trim_scale(value: Decimal) -> Decimal:
    """Without trailing zeros."""
    return rescale(value, scale_of(value.normalize(CONTEXT))) if value.is_finite() else value


@FAMILY.function("numeric_inc")
def increment(value: Decimal) -> Decimal:
    """One more."""
    return CONTEXT.add(value, Decimal(1))


@FAMILY.function("numeric_fac")
def factorial(value: int) -> Decimal:
    """n!; 22003."""
    if value < 0:
        raise SqlError(
            sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, "factorial of a negative number is undefined"
        )
    if value > 32177:
        raise SqlError(sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
    product = 1
    for factor in range(2, value + 1):
        product *= factor
    return Decimal(product)


@FAMILY.function("numeric_gcd")
def gcd(left: Decimal, right: Decimal) -> Decimal:
    """The greatest common divisor."""
    if not (left.is_finite() and right.is_finite()):
        return Decimal("NaN")
    scale_max = max(scale_of(left), scale_of(right))
    first, second = left.copy_abs(), right.copy_abs()
    while second:
        first, second = second, CONTEXT.remainder(first, second)
    return rescale(first, scale_max)


@FAMILY.function("numeric_lcm")
def lcm(left: Decimal, right: Decimal) -> Decimal:
    """The least common multiple."""
    if not (left.is_finite() and right.is_finite()):
        return Decimal("NaN")
    scale_max = max(scale_of(left), scale_of(right))
    if not left or not right:
        return rescale(Decimal(0), scale_max)
    multiple = CONTEXT.multiply(CONTEXT.divide_int(left, gcd(left, right)), right)
    return rescale(checked(multiple.copy_abs()), scale_max)


@FAMILY.function("width_bucket_numeric")
def width_bucket(operand: Decimal, low: Decimal, high: Decimal, count: int) -> int:
    """Which of `count` equal buckets between two bounds; 2201G."""
    code = sqlstate.INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION
    if count <= 0:
        raise SqlError(code, "count must be greater than zero")
    if operand.is_nan() or low.is_nan() or high.is_nan():
        raise SqlError(code, "operand, lower bound, and upper bound cannot be NaN")
    if low.is_infinite() or high.is_infinite():
        raise SqlError(code, "lower and upper bounds must be finite")
    if low == high:
        raise SqlError(code, "lower bound cannot equal upper bound")
    flipped = low > high
    if (operand < low) != flipped and operand != low:
        return 0
    if (operand >= high) != flipped or operand == high:
        return count + 1
    span = numeric_sub(operand, low)
    return (
        int(CONTEXT.divide_int(CONTEXT.multiply(span, Decimal(count)), numeric_sub(high, low))) + 1
    )


def _series(start: Decimal, stop: Decimal, step: Decimal = Decimal(1)) -> Iterator[Decimal]:
    for value, name in ((start, "start"), (stop, "stop"), (step, "step size")):
        if not value.is_finite():
            what = "NaN" if value.is_nan() else "infinity"
            verb = f"{name} value" if name != "step size" else name
            raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, f"{verb} cannot be {what}")
    if not step:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "step size cannot equal zero")
    return _stepped(start, stop, step)


def _stepped(value: Decimal, stop: Decimal, step: Decimal) -> Iterator[Decimal]:
    while (value <= stop) if step > 0 else (value >= stop):
        yield value
        value = CONTEXT.add(value, step)


FAMILY.call(_series, "generate_series_numeric", "generate_series_step_numeric")
