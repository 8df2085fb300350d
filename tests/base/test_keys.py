"""Keys sort as SQL sorts the values in them, and read back."""

import contextlib
import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base import keys
from dormouse.base.ids import TenantId
from dormouse.base.keys import KeyColumn

_INTS = st.integers(-(2**63), 2**63 - 1)
_NUMERICS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False),
    st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("0.00")]),
    st.integers(-1000, 1000).map(lambda n: Decimal(n) / 100),
)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": _INTS,
    "float": st.floats(),
    "bool": st.booleans(),
    "text": st.text(st.characters(codec="utf-8"), max_size=8),
    "bytes": st.binary(max_size=8),
    "numeric": _NUMERICS,
    "uuid": st.uuids(),
}


def _rank(kind: str, value: Any) -> Any:
    """A Python value that sorts as PostgreSQL sorts `value`."""
    if kind == "float":
        return (1, 0.0) if math.isnan(value) else (0, value)
    if kind == "numeric":
        return (1, Decimal(0)) if value.is_nan() else (0, value)
    if kind == "text":
        return value.encode()
    if kind == "uuid":
        return value.bytes
    return value


@st.composite
def _columns_and_rows(draw: st.DrawFn) -> tuple[list[KeyColumn], list[Any], list[Any]]:
    columns = draw(
        st.lists(
            st.builds(
                KeyColumn,
                st.sampled_from(sorted(keys.KEY_KINDS)),
                descending=st.booleans(),
                nulls_first=st.booleans(),
            ),
            min_size=1,
            max_size=3,
        )
    )
    row = st.tuples(*[st.none() | _VALUES[column.kind] for column in columns])
    first, second = draw(row), draw(row)
    # Equal leading columns are what makes the later ones matter.
    same = draw(st.integers(0, len(columns)))
    return columns, list(first), [*first[:same], *second[same:]]


def _compare(columns: list[KeyColumn], left: list[Any], right: list[Any]) -> int:
    for column, a, b in zip(columns, left, right, strict=True):
        if a is None or b is None:
            if a is b:
                continue
            return -1 if (a is None) == column.nulls_first else 1
        x, y = _rank(column.kind, a), _rank(column.kind, b)
        if x != y:
            return (-1 if x < y else 1) * (-1 if column.descending else 1)
    return 0


@given(_columns_and_rows())
def test_bytes_sort_as_sql_does(case: tuple[list[KeyColumn], list[Any], list[Any]]) -> None:
    columns, left, right = case
    encode = keys.key_encoder(b"", columns)
    a, b = encode(left), encode(right)
    assert (a > b) - (a < b) == _compare(columns, left, right)


@given(_columns_and_rows())
def test_round_trip_and_no_column_is_a_prefix_of_another(
    case: tuple[list[KeyColumn], list[Any], list[Any]],
) -> None:
    columns, row, _other = case
    encode = keys.key_encoder(b"", columns)
    back = keys.decode_columns(encode(row))
    assert [
        None if value is None else _rank(column.kind, value)
        for column, value in zip(columns, back, strict=True)
    ] == [
        None if value is None else _rank(column.kind, value)
        for column, value in zip(columns, row, strict=True)
    ]
    for count in range(len(columns)):
        assert encode(row).startswith(encode(row[:count]))


@given(st.lists(st.none() | _INTS, min_size=1, max_size=2))
def test_the_integer_shapes_agree_with_the_general_code(values: list[int | None]) -> None:
    prefix = keys.index_prefix(TenantId(1), 2, 3)
    columns = [KeyColumn("int")] * len(values)
    one_by_one = prefix + b"".join(
        keys.column_encoder(column)(value) for column, value in zip(columns, values, strict=True)
    )
    encode = keys.key_encoder(prefix, columns)
    assert encode(values) == one_by_one
    assert encode([]) == prefix


@given(st.binary(max_size=40))
def test_dump_and_decode_meet_any_bytes(data: bytes) -> None:
    keys.dump(data)
    keys.dump(keys.index_prefix(TenantId(1), 2, 3) + data)
    with contextlib.suppress(keys.BadKey):
        keys.decode_columns(data)


@pytest.mark.parametrize(
    ("columns", "values", "shown"),
    [
        (["int"], [42], "/17/104/1/42"),
        (["text", "int"], ["o'clock", None], '/17/104/1/"o\'clock"/NULL'),
        (["numeric", "bytes"], [Decimal("-1.50"), b"\x00\xff"], "/17/104/1/-1.5/0x00ff"),
        (["uuid"], [UUID(int=1)], "/17/104/1/00000000-0000-0000-0000-000000000001"),
    ],
)
def test_dump_reads_like_a_path(columns: list[str], values: list[Any], shown: str) -> None:
    prefix = keys.index_prefix(TenantId(17), 104, 1)
    key = keys.key_encoder(prefix, [KeyColumn(kind) for kind in columns])(values)
    assert keys.dump(key) == shown


def test_dump_shows_directions_prefixes_and_strangers() -> None:
    prefix = keys.index_prefix(TenantId(17), 104, 1)
    assert keys.dump(prefix) == "/17/104/1"
    assert keys.dump(keys.tenant_prefix(TenantId(17))) == "/17"
    assert keys.dump(b"\x01\x02") == "0x0102"
    down = keys.key_encoder(prefix, [KeyColumn("int", descending=True)])
    assert keys.dump(down([5])) == "/17/104/1/5 desc"
