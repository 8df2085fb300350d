"""Functions behind casts among booleans, numbers and strings (pg_cast)."""

import math
from decimal import Decimal

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions import checks
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.checks import int2, int4, int8, out_of_range
from sqlnode.functions.family import Family
from sqlnode.functions.floats import to_float4
from sqlnode.types import intervals, numerics, texts, times, timestamps
from sqlnode.types.jsons import parse_json
from sqlnode.types.numerics import CONTEXT, read_numeric
from sqlnode.types.objects import find_relation

FAMILY = Family()

FAMILY.inlines(
    vars(checks) | {"Decimal": Decimal},
    {
        "int48": "{0}",
        "int28": "{0}",
        "i2toi4": "{0}",
        "int82": "int2({0})",
        "int84": "int4({0})",
        "i4toi2": "int2({0})",
        "oidtoi8": "{0}",
        "int4_bool": "({0} != 0)",
        "bool_int4": "int({0})",
        "booltext": "('true' if {0} else 'false')",
        "char_bpchar": "{0}",
        "xid8toxid": "({0} & 0xFFFFFFFF)",
        "int4_numeric": "Decimal({0})",
        "int2_numeric": "Decimal({0})",
        "int8_numeric": "Decimal({0})",
    },
)

# Casts of a type to itself with a typmod: the type's own length or scale coercion.
FAMILY.call(texts.fit_varchar, "varchar")
FAMILY.call(texts.fit_bpchar, "bpchar")
FAMILY.call(lambda value, typmod: numerics.fit(value, typmod, False), "numeric")
FAMILY.call(lambda value, typmod: timestamps.fit(value, typmod, False), "timestamp_scale")
FAMILY.call(lambda value, typmod: timestamps.fit(value, typmod, False), "timestamptz_scale")
FAMILY.call(lambda value, typmod: times.fit_time(value, typmod, False), "time_scale")
FAMILY.call(lambda value, typmod: times.fit_timetz(value, typmod, False), "timetz_scale")
FAMILY.call(lambda value, typmod: intervals.fit(value, typmod, False), "interval_scale")


@FAMILY.function("i8tooid")
def bigint_to_oid(value: int) -> int:
    """22003 for what is no OID."""
    if not 0 <= value <= 0xFFFFFFFF:
        raise SqlError(sqlstate.NUMERIC_VALUE_OUT_OF_RANGE, "OID out of range")
    return value


def _whole(value: float, type_name: str) -> int:
    if value - value != 0.0:
        raise out_of_range(type_name)
    return round(value)


@FAMILY.function("dtoi8", "ftoi8")
def float_to_int8(value: float) -> int:
    """Rounded half to even; 22003."""
    return int8(_whole(value, "bigint"))


@FAMILY.function("dtoi4", "ftoi4")
def float_to_int4(value: float) -> int:
    """Rounded half to even; 22003."""
    return int4(_whole(value, "integer"))


@FAMILY.function("dtoi2", "ftoi2")
def float_to_int2(value: float) -> int:
    """Rounded half to even; 22003."""
    return int2(_whole(value, "smallint"))


def _numeric_whole(value: Decimal, type_name: str) -> int:
    if not value.is_finite():
        what = "NaN" if value.is_nan() else "infinity"
        raise SqlError(sqlstate.FEATURE_NOT_SUPPORTED, f"cannot convert {what} to {type_name}")
    return int(value.to_integral_value(context=CONTEXT))


@FAMILY.function("numeric_int8")
def numeric_to_int8(value: Decimal) -> int:
    """Rounded half away from zero; 22003."""
    return int8(_numeric_whole(value, "bigint"))


@FAMILY.function("numeric_int4")
def numeric_to_int4(value: Decimal) -> int:
    """Rounded half away from zero; 22003."""
    return int4(_numeric_whole(value, "integer"))


@FAMILY.function("numeric_int2")
def numeric_to_int2(value: Decimal) -> int:
    """Rounded half away from zero; 22003."""
    return int2(_numeric_whole(value, "smallint"))


@FAMILY.function("numeric_float8")
def numeric_to_float8(value: Decimal) -> float:
    """The nearest double; 22003."""
    result = float(value)
    if (math.isinf(result) and value.is_finite()) or (result == 0.0 and value):
        raise SqlError(
            sqlstate.NUMERIC_VALUE_OUT_OF_RANGE,
            f'"{numerics.numeric_text(value)}" is out of range for type double precision',
        )
    return result


@FAMILY.function("numeric_float4")
def numeric_to_float4(value: Decimal) -> float:
    """The nearest single-precision number; 22003."""
    try:
        return to_float4(float(value))
    except SqlError:
        raise SqlError(
            sqlstate.NUMERIC_VALUE_OUT_OF_RANGE,
            f'"{numerics.numeric_text(value)}" is out of range for type real',
        ) from None


@FAMILY.function("float8_numeric")
def float8_to_numeric(value: float) -> Decimal:
    """With the 15 digits a double surely has."""
    return read_numeric(f"{value:.15g}")


@FAMILY.function("float4_numeric")
def float4_to_numeric(value: float) -> Decimal:
    """With the 6 digits a single-precision number surely has."""
    return read_numeric(f"{value:.6g}")


# --- out of jsonb ------------------------------------------------------------------------------


def _json_kind(document: object) -> str:
    if document is None:
        return "null"
    if isinstance(document, bool):
        return "boolean"
    if isinstance(document, str):
        return "string"
    if isinstance(document, Decimal):
        return "numeric"
    return "object" if isinstance(document, dict) else "array"


def _scalar(text: str, wanted: str, type_name: str) -> Decimal | bool:
    document = parse_json(text)
    if _json_kind(document) != wanted:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            f"cannot cast jsonb {_json_kind(document)} to type {type_name}",
        )
    return document  # type: ignore[no-any-return]


def _json_number(text: str, type_name: str) -> Decimal:
    return Decimal(_scalar(text, "numeric", type_name))


FAMILY.call(lambda text: bool(_scalar(text, "boolean", "boolean")), "jsonb_bool")
FAMILY.call(lambda text: _json_number(text, "numeric"), "jsonb_numeric")
FAMILY.call(lambda text: numeric_to_int2(_json_number(text, "smallint")), "jsonb_int2")
FAMILY.call(lambda text: numeric_to_int4(_json_number(text, "integer")), "jsonb_int4")
FAMILY.call(lambda text: numeric_to_int8(_json_number(text, "bigint")), "jsonb_int8")
FAMILY.call(lambda text: numeric_to_float4(_json_number(text, "real")), "jsonb_float4")
FAMILY.call(lambda text: numeric_to_float8(_json_number(text, "double precision")), "jsonb_float8")


@FAMILY.function("text_regclass", needs_context=True)
def text_to_regclass(context: FunctionContext, name: str) -> int:
    """A relation by its name; 42P01."""
    found = find_relation(name, context)
    if found is None:
        raise SqlError(sqlstate.UNDEFINED_TABLE, f'relation "{name}" does not exist')
    return found
