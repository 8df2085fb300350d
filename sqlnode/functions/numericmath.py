"""Arithmetic on numeric with PostgreSQL's result scales (its utils/adt/numeric.c).

Sums and products are exact. A quotient, root, logarithm or power gets a scale that gives at least
16 significant digits, estimated from the base-10000 weights of the operands; the estimate is part
of what users see, so it is followed to the letter.
"""

import math
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Context, Decimal

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.checks import division_by_zero
from sqlnode.types.numerics import CONTEXT, checked, overflow, rescale, scale_of

SIGNIFICANT_DIGITS_MIN = 16
DISPLAY_SCALE_MAX = 1000
RESULT_SCALE_MAX = 2000
_GUARD_DIGITS = 12
_NAN = Decimal("NaN")
_INFINITY = Decimal("Infinity")
_ONE = Decimal(1)


def numeric_add(left: Decimal, right: Decimal) -> Decimal:
    """`+`."""
    return CONTEXT.add(left, right)


def numeric_sub(left: Decimal, right: Decimal) -> Decimal:
    """`-`."""
    return CONTEXT.subtract(left, right)


def numeric_mul(left: Decimal, right: Decimal) -> Decimal:
    """`*`; 22003 beyond the format's range."""
    product = checked(CONTEXT.multiply(left, right))
    return rescale(product, 16383) if scale_of(product) > 16383 else product


def _weight(value: Decimal) -> tuple[int, int]:
    """Weight and value of the first base-10000 digit; (0, 0) for zero."""
    if not value:
        return 0, 0
    weight = value.adjusted() // 4
    digits = value.as_tuple().digits
    count = value.adjusted() - 4 * weight + 1
    first = 0
    for place in range(count):
        first = first * 10 + (digits[place] if place < len(digits) else 0)
    return weight, first


def quotient_scale(left: Decimal, right: Decimal) -> int:
    """The scale of left / right (select_div_scale)."""
    weight_left, first_left = _weight(left)
    weight_right, first_right = _weight(right)
    weight = weight_left - weight_right - (first_left <= first_right)
    scale = max(SIGNIFICANT_DIGITS_MIN - 4 * weight, scale_of(left), scale_of(right), 0)
    return min(scale, DISPLAY_SCALE_MAX)


def divide_to_scale(left: Decimal, right: Decimal, scale: int) -> Decimal:
    """The finite quotient rounded half away from zero to `scale` digits."""
    divisor = right.copy_abs()
    shifted = left.copy_abs().scaleb(scale, CONTEXT)
    whole, rest = CONTEXT.divmod(shifted, divisor)
    if CONTEXT.add(rest, rest) >= divisor:
        whole = CONTEXT.add(whole, _ONE)
    result = whole.quantize(_ONE, context=CONTEXT).scaleb(-scale, CONTEXT)
    return result.copy_negate() if result and left.is_signed() != right.is_signed() else result


def numeric_div(left: Decimal, right: Decimal) -> Decimal:
    """`/`; 22012."""
    if not (left.is_finite() and right.is_finite()):
        return _divide_special(left, right)
    if not right:
        raise division_by_zero()
    return divide_to_scale(left, right, quotient_scale(left, right))


def _divide_special(left: Decimal, right: Decimal) -> Decimal:
    if left.is_nan() or right.is_nan():
        return _NAN
    if left.is_infinite():
        if right.is_infinite():
            return _NAN
        if not right:
            raise division_by_zero()
        return _INFINITY if left.is_signed() == right.is_signed() else -_INFINITY
    return Decimal(0)


def numeric_div_trunc(left: Decimal, right: Decimal) -> Decimal:
    """div(): the quotient cut to a whole number; 22012."""
    if not (left.is_finite() and right.is_finite()):
        return _divide_special(left, right)
    if not right:
        raise division_by_zero()
    return checked(CONTEXT.divide_int(left, right).quantize(_ONE, context=CONTEXT))


def numeric_mod(left: Decimal, right: Decimal) -> Decimal:
    """The remainder with the dividend's sign; 22012."""
    if left.is_nan() or right.is_nan():
        return _NAN
    if left.is_infinite():
        if not right:
            raise division_by_zero()
        return _NAN
    if right.is_infinite():
        return left
    if not right:
        raise division_by_zero()
    return checked(CONTEXT.remainder(left, right))


def numeric_neg(value: Decimal) -> Decimal:
    """Unary minus."""
    return value if not value or value.is_nan() else value.copy_negate()


def numeric_round(value: Decimal, scale: int) -> Decimal:
    """round(value, scale), half away from zero; the scale may be negative."""
    if not value.is_finite():
        return value
    return checked(rescale(value, max(-RESULT_SCALE_MAX, min(scale, RESULT_SCALE_MAX))))


def numeric_trunc(value: Decimal, scale: int) -> Decimal:
    """trunc(value, scale)."""
    if not value.is_finite():
        return value
    scale = max(-RESULT_SCALE_MAX, min(scale, RESULT_SCALE_MAX))
    cut = value.quantize(Decimal((0, (1,), -scale)), rounding=ROUND_DOWN, context=CONTEXT)
    return checked(cut.quantize(_ONE, context=CONTEXT) if scale < 0 else cut)


def numeric_ceil(value: Decimal) -> Decimal:
    """The smallest whole number not below."""
    if not value.is_finite():
        return value
    return checked(value.quantize(_ONE, rounding=ROUND_CEILING, context=CONTEXT))


def numeric_floor(value: Decimal) -> Decimal:
    """The largest whole number not above."""
    if not value.is_finite():
        return value
    return checked(value.quantize(_ONE, rounding=ROUND_FLOOR, context=CONTEXT))


def numeric_sign(value: Decimal) -> Decimal:
    """-1, 0 or 1."""
    if value.is_nan():
        return value
    return Decimal((value > 0) - (value < 0))


def _bounded(scale: int, *operands: Decimal) -> int:
    return min(max(scale, 0, *map(scale_of, operands)), DISPLAY_SCALE_MAX)


def numeric_sqrt(value: Decimal) -> Decimal:
    """The square root; 2201F."""
    if value.is_nan() or (value.is_infinite() and value > 0):
        return value
    if value < 0:
        raise SqlError(
            sqlstate.INVALID_ARGUMENT_FOR_POWER_FUNCTION,
            "cannot take square root of a negative number",
        )
    weight = _weight(value)[0] if value else 0
    scale = _bounded(SIGNIFICANT_DIGITS_MIN - ((weight + 1) * 2 - 1), value)
    if not value:
        return rescale(value, scale)
    # isqrt of the shifted integer, then round on the next digit: no double rounding.
    shifted = int(value.scaleb(2 * (scale + 1), CONTEXT))
    root = math.isqrt(shifted)
    return rescale(Decimal(root).scaleb(-(scale + 1), CONTEXT), scale)


def _precise(digits: int) -> Context:
    return Context(prec=max(digits, 20) + _GUARD_DIGITS, Emin=-999_999, Emax=999_999, traps=[])


def numeric_exp(value: Decimal) -> Decimal:
    """e to the power; 22003."""
    if value.is_nan():
        return value
    if value.is_infinite():
        return value if value > 0 else Decimal(0)
    magnitude = max(-2000.0, min(2000.0, float(value) * 0.434294481903252))
    if float(value) * 0.434294481903252 > 131072:
        raise overflow()
    scale = _bounded(SIGNIFICANT_DIGITS_MIN - int(magnitude), value)
    digits = int(float(value) * 0.434294481903252) + scale + 2
    return rescale(_precise(digits).exp(value), scale)


def _logarithm_weight(value: Decimal) -> int:
    """How many decimal digits ln(value) has before the point, roughly (estimate_ln_dweight)."""
    if value <= 0:
        return 0
    if Decimal("0.9") <= value <= Decimal("1.1"):
        difference = CONTEXT.subtract(value, _ONE)
        if not difference:
            return 0
        weight, first = _weight(difference)
        return weight * 4 + int(math.log10(first))
    estimate = math.log(float(value.scaleb(-value.adjusted(), CONTEXT)))
    estimate += value.adjusted() * math.log(10)
    return int(math.log10(abs(estimate)))


def _check_logarithm(value: Decimal) -> None:
    if value == 0:
        raise SqlError(sqlstate.INVALID_ARGUMENT_FOR_LOGARITHM, "cannot take logarithm of zero")
    if value < 0:
        raise SqlError(
            sqlstate.INVALID_ARGUMENT_FOR_LOGARITHM, "cannot take logarithm of a negative number"
        )


def numeric_ln(value: Decimal) -> Decimal:
    """The natural logarithm; 2201E."""
    if value.is_nan():
        return value
    _check_logarithm(value)
    if value.is_infinite():
        return value
    weight = _logarithm_weight(value)
    scale = _bounded(SIGNIFICANT_DIGITS_MIN - weight, value)
    return rescale(_precise(scale + abs(weight) + 4).ln(value), scale)


def numeric_log(base: Decimal, value: Decimal) -> Decimal:
    """The logarithm to a base; 2201E, 22012 for base 1."""
    if base.is_nan() or value.is_nan():
        return _NAN
    _check_logarithm(base)
    _check_logarithm(value)
    if base.is_infinite() or value.is_infinite():
        if base.is_infinite() and value.is_infinite():
            return _NAN
        return Decimal(0) if base.is_infinite() else value
    weight = _logarithm_weight(value) - _logarithm_weight(base)
    scale = _bounded(SIGNIFICANT_DIGITS_MIN - weight, base, value)
    precise = _precise(scale + abs(weight) + 8)
    bottom = precise.ln(base)
    if not bottom:
        raise division_by_zero()
    return rescale(precise.divide(precise.ln(value), bottom), scale)


def numeric_power(base: Decimal, exponent: Decimal) -> Decimal:
    """base to the power; 2201F, 22003."""
    if not (base.is_finite() and exponent.is_finite()):
        return _power_special(base, exponent)
    if not base and exponent < 0:
        raise SqlError(
            sqlstate.INVALID_ARGUMENT_FOR_POWER_FUNCTION,
            "zero raised to a negative power is undefined",
        )
    whole = exponent == exponent.to_integral_value(context=CONTEXT)
    if base < 0 and not whole:
        raise SqlError(
            sqlstate.INVALID_ARGUMENT_FOR_POWER_FUNCTION,
            "a negative number raised to a non-integer power yields a complex result",
        )
    if not base:
        scale = _bounded(SIGNIFICANT_DIGITS_MIN, base)
        return rescale(Decimal(0) if exponent else _ONE, scale)
    log10 = _log10_of_power(base, exponent)
    if log10 > 131072:
        raise overflow()
    if whole:
        scale = _bounded(SIGNIFICANT_DIGITS_MIN, base)
    else:
        weight = int(max(-2000.0, min(2000.0, log10)))
        scale = _bounded(SIGNIFICANT_DIGITS_MIN - weight, base, exponent)
    precise = _precise(max(0, math.ceil(log10)) + scale + 4)
    return rescale(precise.power(base, exponent), scale)


def _log10_of_power(base: Decimal, exponent: Decimal) -> float:
    size = base.copy_abs()
    mantissa = float(size.scaleb(-size.adjusted(), CONTEXT))
    return (math.log10(mantissa) + size.adjusted()) * float(exponent)


def _power_special(base: Decimal, exponent: Decimal) -> Decimal:
    if base.is_nan():
        return _ONE if not exponent.is_nan() and not exponent else _NAN
    if exponent.is_nan():
        return _ONE if base == 1 else _NAN
    result = CONTEXT.power(base, exponent)
    return checked(result) if not result.is_nan() else _ONE
