"""Integer arithmetic and bits. Every result is checked against its type's range (22003)."""

import math

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions import checks
from sqlnode.functions.checks import int4, int8
from sqlnode.functions.family import Family

FAMILY = Family()

_RESULT_TYPES = {
    "int2": "int2", "int24": "int4", "int28": "int8", "int4": "int4", "int42": "int4",
    "int48": "int8", "int8": "int8", "int82": "int8", "int84": "int8",
}  # fmt: skip
_TYPES = ("int2", "int4", "int8")
_BITS = {"int2": 16, "int4": 32, "int8": 64}

_templates: dict[str, str] = {}
for _name, _result in _RESULT_TYPES.items():
    _templates[f"{_name}pl"] = f"{_result}({{0}} + {{1}})"
    _templates[f"{_name}mi"] = f"{_result}({{0}} - {{1}})"
    _templates[f"{_name}mul"] = f"{_result}({{0}} * {{1}})"
    _templates[f"{_name}div"] = f"{_result}(int_divide({{0}}, {{1}}))"
for _name in _TYPES:
    _templates |= {
        f"{_name}mod": "int_modulo({0}, {1})",
        f"{_name}um": f"{_name}(-{{0}})",
        f"{_name}up": "(+{0})",
        f"{_name}abs": f"{_name}(abs({{0}}))",
        f"{_name}inc": f"{_name}({{0}} + 1)",
        f"{_name}and": "({0} & {1})",
        f"{_name}or": "({0} | {1})",
        f"{_name}xor": "({0} ^ {1})",
        f"{_name}not": "(~{0})",
        f"{_name}larger": "max({0}, {1})",
        f"{_name}smaller": "min({0}, {1})",
    }
del _templates["int2inc"]
FAMILY.inlines(vars(checks), _templates)


def _shifts(name: str) -> None:
    bits = _BITS[name]
    half = 1 << (bits - 1)

    def left(value: int, count: int) -> int:
        # The hardware takes the count modulo its word; smallint is shifted as an integer.
        shifted = value << (count % max(bits, 32))
        return ((shifted + half) & ((1 << bits) - 1)) - half

    def right(value: int, count: int) -> int:
        return value >> (count % max(bits, 32))

    FAMILY.call(left, f"{name}shl")
    FAMILY.call(right, f"{name}shr")


for _name in _TYPES:
    _shifts(_name)


@FAMILY.function("int4gcd")
def greatest_common_divisor_int4(left: int, right: int) -> int:
    """gcd() of integers."""
    return int4(math.gcd(left, right))


@FAMILY.function("int8gcd")
def greatest_common_divisor_int8(left: int, right: int) -> int:
    """gcd() of bigints."""
    return int8(math.gcd(left, right))


@FAMILY.function("int4lcm")
def least_common_multiple_int4(left: int, right: int) -> int:
    """lcm() of integers."""
    return int4(math.lcm(left, right))


@FAMILY.function("int8lcm")
def least_common_multiple_int8(left: int, right: int) -> int:
    """lcm() of bigints."""
    return int8(math.lcm(left, right))


def _series(start: int, stop: int, step: int = 1) -> range:
    if step == 0:
        raise SqlError(sqlstate.INVALID_PARAMETER_VALUE, "step size cannot equal zero")
    return range(start, stop + (1 if step > 0 else -1), step)


FAMILY.call(
    _series,
    "generate_series_int4",
    "generate_series_step_int4",
    "generate_series_int8",
    "generate_series_step_int8",
)
