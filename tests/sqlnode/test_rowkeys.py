"""Keys of rows and index entries, and the ranges that conditions mean."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sqlnode.catalog.descriptors import Column, Index, IndexColumn, Table
from sqlnode.rowkeys import IndexKeys, row_keys

_INT4, _TEXT, _BPCHAR = 23, 25, 1042
_COLUMNS = (Column("a", 1, _INT4), Column("b", 2, _TEXT), Column("c", 3, _BPCHAR))


def _index(*columns: IndexColumn, unique: bool = False, primary: bool = False) -> Index:
    return Index(16390, "i", 2, columns, unique=unique, primary=primary)


def _table(*indexes: Index) -> Table:
    return Table(16384, "t", "public", 100, _COLUMNS, indexes=indexes, tenant=7)


def test_rows_with_and_without_a_primary_key() -> None:
    keyed = _table(_index(IndexColumn(1), primary=True, unique=True))
    at = row_keys(keyed)
    assert at.encode_row((5, "x", None)) == at.encode((5,))
    assert at.is_row
    assert at.span[0] <= at.encode((5,)) < at.span[1]
    hidden = row_keys(_table())
    assert hidden.encode((1,)) < hidden.encode((2,)) < hidden.span[1]
    assert hidden.prefix != at.prefix
    rows = [(5, "x", None), (-3, "y", "z")]
    assert at.encode_rows(rows) == [at.encode((5,)), at.encode((-3,))]
    assert at.encode_rows(rows[:1]) == [at.encode((5,))]
    assert hidden.encode_row_ids(range(3, 5)) == [hidden.encode((3,)), hidden.encode((4,))]
    assert hidden.encode_row_ids(range(3, 4)) == [hidden.encode((3,))]
    by_text = row_keys(_table(_index(IndexColumn(2), IndexColumn(1), primary=True, unique=True)))
    assert by_text.encode_rows(rows) == [by_text.encode(("x", 5)), by_text.encode(("y", -3))]


def test_entries_of_unique_and_other_indexes() -> None:
    plain, unique = _index(IndexColumn(2)), _index(IndexColumn(2), unique=True)
    table = _table(plain)
    rows = row_keys(table)
    first, second = rows.encode((1,)), rows.encode((2,))
    many, one = IndexKeys(table, plain), IndexKeys(table, unique)
    row = (1, "x", None)
    assert many.entry(row, first)[0] != many.entry(row, second)[0]
    assert one.entry(row, first)[0] == one.entry(row, second)[0]
    assert one.checks(row)
    assert not many.checks(row)
    null = (1, None, None)
    assert one.entry(null, first)[0] != one.entry(null, second)[0]
    assert not one.checks(null)
    assert rows.row_key(many.entry(row, first)[1]) == first


def test_trailing_blanks_of_char_do_not_count() -> None:
    at = IndexKeys(_table(), _index(IndexColumn(3)))
    assert at.encode(("ab   ",)) == at.encode(("ab",))
    assert at.bounds(low=("ab ", True))[0] == at.bounds(low=("ab", True))[0]


_NUMBER = st.none() | st.integers(-3, 3)
_BOUND = st.none() | st.tuples(st.integers(-3, 3), st.booleans())


@given(st.data(), st.booleans(), st.booleans(), _NUMBER, _BOUND, _BOUND)
def test_bounds_hold_exactly_the_rows_that_match(
    data: st.DataObject,
    descending: bool,
    nulls_first: bool,
    equal: int | None,
    low: tuple[int, bool] | None,
    high: tuple[int, bool] | None,
) -> None:
    columns = (Column("a", 1, _INT4), Column("b", 2, _INT4))
    table = Table(16384, "t", "public", 100, columns, tenant=7)
    at = IndexKeys(table, _index(IndexColumn(1), IndexColumn(2, descending, nulls_first)))
    rows = data.draw(st.lists(st.tuples(_NUMBER, _NUMBER), max_size=12))
    start, end = at.bounds((equal,), low=low, high=high)
    found = [row for row in rows if start <= at.encode(row) < end]
    assert found == [row for row in rows if row[0] == equal and _within(row[1], low, high)]


def _within(value: Any, low: tuple[int, bool] | None, high: tuple[int, bool] | None) -> bool:
    if low is None and high is None:
        return True
    if value is None:
        return False
    above = low is None or value > low[0] or (low[1] and value == low[0])
    below = high is None or value < high[0] or (high[1] and value == high[0])
    return above and below
