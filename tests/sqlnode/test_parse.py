"""Splitting, positions, messages and depth at libpg_query's border."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlnode.errors import SqlError
from sqlnode.parse import TOKENS_WITHOUT_COMMA_MAX, character_position, longest_chain, parse


def test_statements_are_split_with_their_character_locations() -> None:
    text = "select 'é' ; /* ü */ select 2;; "
    found = parse(text)
    assert [raw.text for raw in found] == ["select 'é'", "select 2"]
    assert [raw.location for raw in found] == [0, text.index("select 2")]
    assert [raw.kind for raw in found] == ["select_stmt", "select_stmt"]


@pytest.mark.parametrize("text", ["", "  ", ";", "-- only a comment", "/* and\nthis */ ;;"])
def test_nothing_is_no_statement(text: str) -> None:
    assert parse(text) == []


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("selec 1", 'syntax error at or near "selec"', 0),
        ("select 1 frm x y", 'syntax error at or near "x"', 13),
        ("select 'é' frm x y", 'syntax error at or near "x"', 15),
        ("select (1", "syntax error at end of input", 9),
        ("select 'abc", 'unterminated quoted string at or near "\'abc"', 7),
        ('select ""', 'zero-length delimited identifier at or near """"', 7),
    ],
)
def test_errors_are_postgresqls(text: str, message: str, position: int) -> None:
    with pytest.raises(SqlError) as raised:
        parse(text)
    assert raised.value.sqlstate == "42601"
    assert (raised.value.message, raised.value.position) == (message, position)


def test_a_null_byte_does_not_end_the_text() -> None:
    with pytest.raises(SqlError) as raised:
        parse("select 1; \0 drop table t")
    assert raised.value.sqlstate == "22021"


@pytest.mark.parametrize("piece", ["1+", "(", "not ", "x is null and not ", "f(1,2)+", "a||"])
def test_deep_texts_are_refused_before_they_overflow_a_stack(piece: str) -> None:
    with pytest.raises(SqlError) as raised:
        parse("select " + piece * 40_000 + "1")
    assert raised.value.sqlstate in ("54001", "42601")


def test_long_flat_lists_are_not_deep() -> None:
    rows = ",".join("(1, 'a,b', -2.5)" for _ in range(20_000))
    assert longest_chain(f"insert into t values {rows}") < 20
    assert len(parse(f"insert into t values {rows}")) == 1


def test_long_literals_are_one_token() -> None:
    text = "select '" + "x y " * TOKENS_WITHOUT_COMMA_MAX + "', E'\\'" + " a" * 20_000 + "'"
    assert longest_chain(text) < 10


@given(st.text(max_size=30), st.data())
def test_character_positions_invert_byte_offsets(text: str, data: st.DataObject) -> None:
    text = text.encode("utf-8", "ignore").decode()
    at = data.draw(st.integers(0, len(text)))
    assert character_position(text, len(text[:at].encode())) == at
