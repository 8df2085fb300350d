"""What a type is: its facts from PostgreSQL's catalog and its codecs.

Runtime representation of values (NULL is always None):

    bool → bool            int2, int4, int8, oid, reg*, xid → int       float4, float8 → float
    numeric → Decimal (its exponent is the display scale; NaN and ±Infinity are Decimals too)
    text, varchar, bpchar, name, "char", unknown, json → str           bytea → bytes
    timetz → TimeTz      jsonb → str, as PostgreSQL prints it    tid → (block, offset)
    oidvector, int2vector → Array counted from 0                 void → ""
    date → int, days since 2000-01-01     timestamp(tz) → int, microseconds since 2000-01-01 (UTC)
    time → int, microseconds of the day        interval → Interval     uuid → uuid.UUID
    arrays → Array (dimensions, lower bounds, flat elements)           record → tuple

Dates and timestamps are PostgreSQL's own integers, with its extremes for -infinity and infinity, so
that they compare, hash and pack without a datetime object.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Value = Any
"""A value in its runtime representation."""


class FormatSettings(Protocol):
    """The session settings that decide how values read and print."""

    date_style: str
    """Output style and field order, such as `ISO, MDY`."""
    interval_style: str
    time_zone: str
    extra_float_digits: int
    bytea_output: str

    def now_micros(self) -> int:
        """Start of the transaction, microseconds since 2000-01-01 UTC (for 'now', 'today')."""
        ...


TextInput = Callable[[str, int, FormatSettings], Value]
"""(text, typmod, settings) → value; raises SqlError 22P02 and the like."""
TextOutput = Callable[[Value, FormatSettings], str]
BinaryInput = Callable[[bytes, int], Value]
"""(bytes, typmod) → value; raises SqlError 22P03."""
BinaryOutput = Callable[[Value], bytes]
TypmodInput = Callable[[Sequence[str]], int]
"""(modifiers as written, such as ["10", "2"]) → typmod; raises SqlError 22023 and the like."""
TypmodOutput = Callable[[int], str]
"""typmod → what format_type puts behind the name, such as `(10,2)`."""
TypmodApply = Callable[[Value, int, bool], Value]
Key = Callable[[Value], Hashable]
"""value → what Python compares (`<`, `==`) and hashes as SQL does the value."""


@dataclass(frozen=True, slots=True, eq=False)
class SqlType:
    """One type. The facts are pg_type's columns of the same meaning."""

    oid: int
    name: str
    length: int
    by_value: bool
    kind: str
    """b base, c composite, d domain, e enum, p pseudo, r range."""
    category: str
    preferred: bool
    array_oid: int
    element_oid: int
    collatable: bool
    text_in: TextInput
    text_out: TextOutput
    binary_in: BinaryInput
    binary_out: BinaryOutput
    apply_typmod: TypmodApply | None = None
    """(value, typmod, explicit?) → the value cut, padded or rounded to the typmod; 22001, 22003."""
    struct_code: str | None = None
    """The `struct` format character of the value in a row's fixed part, None if it varies."""
    key_kind: str | None = None
    """How values sort as key bytes (see dormouse/base/keys.py): int, float, bool, text, bytes,
    numeric, uuid; None if the type has no order."""
    key: Key | None = None
    """None where the runtime values themselves compare and hash as SQL's do."""
    typmod_in: TypmodInput | None = None
    typmod_out: TypmodOutput | None = None
    delimiter: str = ","
    """Between the elements of an array of it."""
    relation_oid: int = 0
    """pg_class row of a composite type."""
    base_type: int = 0
    """What a domain is over."""
    implemented: bool = True
    """False where only the facts are known: every codec then raises 0A000."""
