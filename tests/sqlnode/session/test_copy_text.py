"""COPY's formats: what is written is read back, however the pieces are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlnode.errors import SqlError
from sqlnode.session.copy_options import CopyOptions
from sqlnode.session.copy_text import CsvReader, TextReader, csv_line, text_line

TEXT = CopyOptions()
CSV = CopyOptions(csv=True, delimiter=",", null="")
values = st.text(st.sampled_from("ab\\N.,;\"'\t\n\r\v\b é\u20ac0x7"), max_size=8)
records = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(st.none() | values, min_size=width, max_size=width), max_size=6)
)
cuts = st.lists(st.integers(0, 500), max_size=8)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(cut % (len(data) + 1) for cut in at)})
    return [data[a:b] for a, b in pairwise(marks)]


@given(records, cuts, st.sampled_from(["\t", ",", ";"]))
def test_text(rows: list[list[str | None]], at: list[int], delimiter: str) -> None:
    options = CopyOptions(delimiter=delimiter)
    data = "".join(text_line(row, options) for row in rows).encode()
    reader = TextReader(options, "utf-8")
    got = [row for piece in pieces(data, at) for row in reader.feed(piece)] + reader.finish()
    assert got == rows


@given(records, cuts, st.sampled_from(['"', "'", "\\"]))
def test_csv(rows: list[list[str | None]], at: list[int], escape: str) -> None:
    options = CopyOptions(csv=True, delimiter=",", null="", escape=escape)
    names = [str(n) for n in range(3)]
    data = "".join(csv_line(row, options, names[: len(row)]) for row in rows).encode()
    reader = CsvReader(options, "utf-8", names)
    got = [row for piece in pieces(data, at) for row in reader.feed(piece)] + reader.finish()
    assert got == rows


@given(st.binary(max_size=60), cuts)
def test_any_bytes_are_records_or_an_error(data: bytes, at: list[int]) -> None:
    for reader in (TextReader(TEXT, "utf-8"), CsvReader(CSV, "utf-8", ["a"])):
        try:
            for piece in pieces(data, at):
                reader.feed(piece)
            reader.finish()
        except SqlError as error:
            assert error.sqlstate in {"22021", "22P04"}  # noqa: PT017 - an error is not demanded


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"1\t\\N\n", [["1", None]]),
        (b"a\\tb\\x41\\101\\\\\n", [["a\tbAA\\"]]),
        (b"a\r\nb\r\n", [["a"], ["b"]]),
        (b"a\n\\.\nb\n", [["a"]]),
        (b"a\\\nb\n", [["a\nb"]]),
        (b"last", [["last"]]),
        (b"\n", [[""]]),
    ],
)
def test_text_as_the_manual_has_it(data: bytes, rows: list[list[str | None]]) -> None:
    reader = TextReader(TEXT, "utf-8")
    assert reader.feed(data) + reader.finish() == rows


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b'1,"",\n', [["1", "", None]]),
        (b'"a""b","c\nd"\n', [['a"b', "c\nd"]]),
        (b'a"b"c\n', [["abc"]]),
        (b"a\n\\.\nb\n", [["a"]]),
        (b"a\r\nb", [["a"], ["b"]]),
    ],
)
def test_csv_as_the_manual_has_it(data: bytes, rows: list[list[str | None]]) -> None:
    reader = CsvReader(CSV, "utf-8", ["a", "b", "c"])
    assert reader.feed(data) + reader.finish() == rows


def test_an_open_quote_is_an_error() -> None:
    reader = CsvReader(CSV, "utf-8", ["a"])
    assert reader.feed(b'"abc\n') == []
    with pytest.raises(SqlError, match="unterminated CSV quoted field"):
        reader.finish()
