"""Reading COPY's text by the piece agrees with reading it record by record, or stands back."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlnode.catalog.descriptors import Column
from sqlnode.errors import SqlError
from sqlnode.session.copy_columns import ColumnReader
from sqlnode.session.copy_options import CopyOptions
from sqlnode.session.copy_text import TextReader, text_line
from sqlnode.types import oids
from sqlnode.types.base import FormatSettings, Value
from sqlnode.types.registry import by_oid
from tests.support.sqlcontext import StubContext

SETTINGS = StubContext()

TYPES = [
    (oids.INT2, -1),
    (oids.INT4, -1),
    (oids.INT8, -1),
    (oids.TEXT, -1),
    (oids.VARCHAR, 4 + 3),
    (oids.VARCHAR, -1),
    (oids.BPCHAR, 4 + 3),
    (oids.NUMERIC, -1),
    (oids.BOOL, -1),
]
columns_ = st.lists(st.sampled_from(TYPES), min_size=1, max_size=4).map(
    lambda kinds: [
        Column(number=at, name=f"c{at}", type=kind, typmod=typmod)
        for at, (kind, typmod) in enumerate(kinds, 1)
    ]
)
fields_ = st.one_of(
    st.none(),
    st.integers(-40_000, 40_000).map(str),
    st.sampled_from(
        ["", "t", "1_0", " 7", "+7", "--1", "1-2", "-", "\u0661", "1.5", "N", "9" * 20]
    ),
    st.text(st.sampled_from("ab \\N\t\n\r,\u20ac"), max_size=5),
)
data_ = st.binary(max_size=30) | st.text("1\t\n\\N.a,-", max_size=30).map(str.encode)


def carefully(
    columns: Sequence[Column], options: CopyOptions, context: FormatSettings, data: bytes
) -> list[list[Value]] | None:
    """The columns as the slow way has them, None where it raises."""
    try:
        records = list(TextReader(options, "utf-8").records(data))
        if any(len(record) != len(columns) for record in records):
            return None
        return [
            [
                None
                if field is None
                else by_oid(column.type).text_in(field, column.typmod, context)
                for field in fields
            ]
            for column, fields in zip(columns, zip(*records, strict=True), strict=True)
        ]
    except SqlError:
        return None


@given(columns_, st.data(), st.sampled_from(["\t", ","]), st.sampled_from(["\\N", "", "NULL"]))
def test_written_rows(
    columns: list[Column], data: st.DataObject, delimiter: str, null: str
) -> None:
    options = CopyOptions(delimiter=delimiter, null=null)
    width = len(columns)
    row = st.lists(fields_, min_size=width, max_size=width)
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    text = "".join(text_line(fields, options) for fields in rows).encode()
    fast = ColumnReader(columns, options, "utf-8", SETTINGS).read(text)
    if fast is not None:
        # As text, for a NaN is not equal to itself.
        assert repr(list(map(list, fast))) == repr(carefully(columns, options, SETTINGS, text))


@given(columns_, data_)
def test_any_bytes(columns: list[Column], data: bytes) -> None:
    options = CopyOptions()
    fast = ColumnReader(columns, options, "utf-8", SETTINGS).read(data)
    if fast is not None and data:
        assert repr(list(map(list, fast))) == repr(carefully(columns, options, SETTINGS, data))


@pytest.mark.parametrize("text", ["1\tab\n-2\t\\N\n\\N\t\n", "32767\tabc\n", "0\t\u20ac\n7\tz"])
def test_plain_rows_are_read_at_once(text: str) -> None:
    columns = [
        Column(number=1, name="a", type=oids.INT2, typmod=-1),
        Column(number=2, name="b", type=oids.BPCHAR, typmod=4 + 3),
    ]
    fast = ColumnReader(columns, CopyOptions(), "utf-8", SETTINGS).read(text.encode())
    assert fast is not None
    assert list(map(list, fast)) == carefully(columns, CopyOptions(), SETTINGS, text.encode())
