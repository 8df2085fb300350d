"""Rows come back as they were written, also from older layouts and for chosen columns."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlnode import rows
from sqlnode.catalog.descriptors import Column, Table
from sqlnode.rows import BadRow, RowLayout
from sqlnode.rowvalues import pack_numeric, unpack_numeric

_BOOL, _BYTEA, _INT8, _INT2, _INT4, _TEXT = 16, 17, 20, 21, 23, 25
_FLOAT8, _VARCHAR, _TIMESTAMP, _NUMERIC, _UUID = 701, 1043, 1114, 1700, 2950

_NUMERICS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False).map(
        lambda d: d if d.as_tuple().exponent <= 0 else Decimal(int(d))  # type: ignore[operator]
    ),
    st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")]),
)
_VALUES: dict[int, st.SearchStrategy[Any]] = {
    _BOOL: st.booleans(),
    _BYTEA: st.binary(max_size=20),
    _INT2: st.integers(-(2**15), 2**15 - 1),
    _INT4: st.integers(-(2**31), 2**31 - 1),
    _INT8: st.integers(-(2**63), 2**63 - 1),
    _TEXT: st.text(st.characters(codec="utf-8"), max_size=20),
    _FLOAT8: st.floats(allow_nan=False),
    _VARCHAR: st.text("aé日 ", max_size=20),
    _TIMESTAMP: st.integers(-(2**63), 2**63 - 1),
    _NUMERIC: _NUMERICS,
    _UUID: st.uuids(),
}


def _table(types: list[int], **rest: Any) -> Table:
    columns = tuple(Column(f"c{n}", n, kind) for n, kind in enumerate(types, 1))
    return Table(16384, "t", "public", 100, columns, **rest)


def _same(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    def plain(value: Any) -> Any:
        return str(value) if isinstance(value, Decimal) else value

    return [plain(v) for v in left] == [plain(v) for v in right]


@st.composite
def _tables(draw: st.DrawFn) -> tuple[Table, list[tuple[Any, ...]]]:
    types = draw(st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=10))
    row = st.tuples(*[_VALUES[kind] for kind in types])
    sparse = st.tuples(*[st.none() | _VALUES[kind] for kind in types])
    return _table(types), draw(st.lists(row | sparse, max_size=8))


@given(_tables(), st.data())
def test_round_trip(case: tuple[Table, list[tuple[Any, ...]]], data: st.DataObject) -> None:
    table, given_rows = case
    layout = RowLayout(table)
    encoded = [layout.encode(row) for row in given_rows]
    assert layout.encode_many(given_rows) == encoded
    assert all(map(_same, map(layout.decode, encoded), given_rows))
    assert all(map(_same, layout.decode_many(encoded), given_rows))
    wanted = data.draw(st.lists(st.integers(0, len(table.live) - 1), max_size=4))
    chosen = [tuple(row[at] for at in wanted) for row in given_rows]
    decoder = layout.decoder(wanted)
    assert all(map(_same, decoder.decode_many(encoded), chosen))
    assert all(map(_same, map(decoder.decode, encoded), chosen))


@settings(max_examples=30)
@given(_tables())
def test_the_loops_agree_with_the_generated_code(
    case: tuple[Table, list[tuple[Any, ...]]],
) -> None:
    table, given_rows = case
    generated = RowLayout(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "SHAPES_MAX", 0)
        plain = RowLayout(table)
        for row in given_rows:
            assert plain.encode(row) == generated.encode(row)
            assert _same(plain.decode(generated.encode(row)), row)


def test_layouts_old_and_new() -> None:
    first = _table([_INT4, _TEXT, _INT8])
    old = RowLayout(first).encode((1, "one", 11))
    columns = (
        Column("c1", 1, _INT4),
        Column("c2", 2, _TEXT, dropped=True),
        Column("c3", 3, _INT8),
        Column("c4", 4, _TEXT, missing="m"),
        *[Column(f"c{n}", n, _INT4) for n in range(5, 12)],
    )
    added = tuple(range(5, 12))
    table = Table(
        16384,
        "t",
        "public",
        100,
        columns,
        layouts=((1, 2, 3), (1, 3), (1, 3, 4), (1, 3, 4, *added)),
    )
    layout = RowLayout(table)
    nothing = (None,) * 7
    new_row = (2, None, "new", *nothing)
    new = layout.encode(new_row)
    assert layout.decode(old) == (1, 11, "m", *nothing)
    assert layout.decode_many([old, new]) == [(1, 11, "m", *nothing), new_row]
    assert layout.decoder([2, 0]).decode_many([new, old]) == [("new", 2), ("m", 1)]


def test_rows_of_no_layout_are_refused() -> None:
    layout = RowLayout(_table([_INT4]))
    for data in (b"", b"\x07\x00\x00\x00\x00\x00"):
        with pytest.raises(BadRow):
            layout.decode(data)
    with pytest.raises(BadRow):
        RowLayout(_table([_INT4], layouts=((1, 2),)))


@given(_NUMERICS)
def test_numerics_keep_value_and_scale(value: Decimal) -> None:
    back = unpack_numeric(pack_numeric(value))
    assert str(back) == str(value) or (not value and back == value)
    assert math.isnan(value) or back.as_tuple().exponent == value.as_tuple().exponent
