"""float4 and float8: arithmetic that reports overflow, mathematical functions."""

import math
import random
from collections.abc import Callable

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.checks import division_by_zero, float_lt
from sqlnode.functions.family import Family
from sqlnode.types.floats import float_key, round_float4

FAMILY = Family()


def _overflow() -> SqlError:
    return SqlError(sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")


def _underflow() -> SqlError:
    return SqlError(sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow")


def float8_add(left: float, right: float) -> float:
    """`+`; 22003."""
    result = left + right
    if result - result != 0.0 and _became_infinite(result, left, right):
        raise _overflow()
    return result


def float8_sub(left: float, right: float) -> float:
    """`-`; 22003."""
    result = left - right
    if result - result != 0.0 and _became_infinite(result, left, right):
        raise _overflow()
    return result


def float8_mul(left: float, right: float) -> float:
    """`*`; 22003."""
    result = left * right
    if result - result != 0.0:
        if _became_infinite(result, left, right):
            raise _overflow()
    elif result == 0.0 and left != 0.0 and right != 0.0:
        raise _underflow()
    return result


def float8_div(left: float, right: float) -> float:
    """`/`; 22012, 22003."""
    if right == 0.0:
        if left != left:
            return left
        raise division_by_zero()
    result = left / right
    if result - result != 0.0:
        if _became_infinite(result, left, right):
            raise _overflow()
    elif result == 0.0 and left != 0.0 and not math.isinf(right):
        raise _underflow()
    return result


def _became_infinite(result: float, left: float, right: float) -> bool:
    return math.isinf(result) and not math.isinf(left) and not math.isinf(right)


def to_float4(value: float) -> float:
    """A double rounded to single precision; 22003."""
    try:
        rounded = round_float4(value)
    except OverflowError:
        raise _overflow() from None
    if rounded == 0.0 and value != 0.0:
        raise _underflow()
    return rounded


FAMILY.inlines(
    globals(),
    {
        f"float{name}{operation}": template.format(f"float8_{function}({{0}}, {{1}})")
        for operation, function in (("pl", "add"), ("mi", "sub"), ("mul", "mul"), ("div", "div"))
        for name, template in (("8", "{}"), ("48", "{}"), ("84", "{}"), ("4", "to_float4({})"))
    }
    | {
        "float8um": "(-{0})",
        "float4um": "(-{0})",
        "float8up": "(+{0})",
        "float4up": "(+{0})",
        "float8abs": "abs({0})",
        "float4abs": "abs({0})",
        "dtof": "to_float4({0})",
        "ftod": "{0}",
        "i2tod": "float({0})",
        "i4tod": "float({0})",
        "i8tod": "float({0})",
        "i2tof": "float({0})",
        "i4tof": "to_float4({0})",
        "i8tof": "to_float4({0})",
    },
)


def _larger(left: float, right: float) -> float:
    return right if float_lt(left, right) else left


def _smaller(left: float, right: float) -> float:
    return left if float_lt(left, right) else right


def _compare(left: float, right: float) -> int:
    first, second = float_key(left), float_key(right)
    return int(first > second) - int(first < second)


FAMILY.call(_larger, "float8larger", "float4larger")
FAMILY.call(_smaller, "float8smaller", "float4smaller")
FAMILY.call(_compare, "btfloat8cmp", "btfloat4cmp")


@FAMILY.function("dround")
def round_half_even(value: float) -> float:
    """round(): half to even, as the processor rounds."""
    return value if value - value != 0.0 else math.copysign(float(round(value)), value)


@FAMILY.function("dtrunc")
def truncate(value: float) -> float:
    """trunc()."""
    return value if value - value != 0.0 else math.copysign(float(math.trunc(value)), value)


@FAMILY.function("dceil")
def ceiling(value: float) -> float:
    """ceil()."""
    if value - value != 0.0:
        return value
    result = float(math.ceil(value))
    return -0.0 if result == 0.0 and value < 0 else result


@FAMILY.function("dfloor")
def floor(value: float) -> float:
    """floor()."""
    return value if value - value != 0.0 else math.copysign(float(math.floor(value)), value)


@FAMILY.function("dsign")
def sign(value: float) -> float:
    """-1, 0, 1."""
    return float((value > 0) - (value < 0))


@FAMILY.function("dsqrt")
def square_root(value: float) -> float:
    """sqrt(); 2201F."""
    if value < 0:
        raise SqlError(
            sqlstate.INVALID_ARGUMENT_FOR_POWER_FUNCTION,
            "cannot take square root of a negative number",
        )
    return math.sqrt(value)


@FAMILY.function("dcbrt")
def cube_root(value: float) -> float:
    """cbrt()."""
    return math.cbrt(value)


@FAMILY.function("dpow")
def power(base: float, exponent: float) -> float:
    """power(); 2201F, 22003."""
    code = sqlstate.INVALID_ARGUMENT_FOR_POWER_FUNCTION
    if base == 0 and exponent < 0:
        raise SqlError(code, "zero raised to a negative power is undefined")
    if base < 0 and math.isfinite(exponent) and exponent != math.floor(exponent):
        raise SqlError(
            code, "a negative number raised to a non-integer power yields a complex result"
        )
    try:
        result = math.pow(base, exponent)
    except OverflowError:
        raise _overflow() from None
    if result == 0.0 and base != 0.0 and math.isfinite(base) and math.isfinite(exponent):
        raise _underflow()
    return result


def _check_logarithm(value: float) -> None:
    if value == 0:
        raise SqlError(sqlstate.INVALID_ARGUMENT_FOR_LOGARITHM, "cannot take logarithm of zero")
    if value < 0:
        raise SqlError(
            sqlstate.INVALID_ARGUMENT_FOR_LOGARITHM, "cannot take logarithm of a negative number"
        )


@FAMILY.function("dlog1")
def natural_logarithm(value: float) -> float:
    """ln(); 2201E."""
    _check_logarithm(value)
    return math.log(value)


@FAMILY.function("dlog10")
def decimal_logarithm(value: float) -> float:
    """log(); 2201E."""
    _check_logarithm(value)
    return math.log10(value)


@FAMILY.function("dexp")
def exponential(value: float) -> float:
    """exp(); 22003."""
    try:
        result = math.exp(value)
    except OverflowError:
        raise _overflow() from None
    if result == 0.0 and math.isfinite(value):
        raise _underflow()
    return result


def _domain(function: Callable[[float], float]) -> Callable[[float], float]:
    def checked(value: float) -> float:
        try:
            return function(value)
        except ValueError:
            raise SqlError(sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range") from None
        except OverflowError:
            return math.copysign(math.inf, value)

    return checked


for _key, _function in (
    ("dsin", math.sin), ("dcos", math.cos), ("dtan", math.tan), ("dasin", math.asin),
    ("dacos", math.acos), ("datan", math.atan), ("dsinh", math.sinh), ("dcosh", math.cosh),
    ("dtanh", math.tanh), ("dasinh", math.asinh), ("dacosh", math.acosh), ("datanh", math.atanh),
):  # fmt: skip
    FAMILY.call(_domain(_function), _key)
_RADIANS_PER_DEGREE = 0.0174532925199432957692


@FAMILY.function("radians")
def radians(degrees_given: float) -> float:
    """radians(); 22003."""
    return float8_mul(degrees_given, _RADIANS_PER_DEGREE)


@FAMILY.function("degrees")
def degrees(radians_given: float) -> float:
    """degrees(); 22003."""
    return float8_div(radians_given, _RADIANS_PER_DEGREE)


FAMILY.call(math.atan2, "datan2")
FAMILY.call(lambda: math.pi, "dpi")


@FAMILY.function("dcot")
def cotangent(value: float) -> float:
    """cot()."""
    if math.isinf(value):
        raise SqlError(sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
    tangent = math.tan(value)
    return 1.0 / tangent if tangent else math.copysign(math.inf, tangent)


_generator = random.Random()


@FAMILY.function("drandom")
def random_number() -> float:
    """random()."""
    return _generator.random()


@FAMILY.function("setseed")
def set_seed(seed: float) -> str:
    """setseed(); 22023."""
    if not -1 <= seed <= 1:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            f"setseed parameter {seed:g} is out of allowed range [-1,1]",
        )
    _generator.seed(seed)
    return ""


@FAMILY.function("width_bucket_float8")
def width_bucket(operand: float, low: float, high: float, count: int) -> int:
    """Which of `count` equal buckets between two bounds; 2201G."""
    code = sqlstate.INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION
    if count <= 0:
        raise SqlError(code, "count must be greater than zero")
    if operand != operand or low != low or high != high:
        raise SqlError(code, "operand, lower bound, and upper bound cannot be NaN")
    if math.isinf(low) or math.isinf(high):
        raise SqlError(code, "lower and upper bounds must be finite")
    if low == high:
        raise SqlError(code, "lower bound cannot equal upper bound")
    if low < high:
        if operand < low:
            return 0
        return count + 1 if operand >= high else int(count * (operand - low) / (high - low)) + 1
    if operand > low:
        return 0
    return count + 1 if operand <= high else int(count * (low - operand) / (low - high)) + 1
