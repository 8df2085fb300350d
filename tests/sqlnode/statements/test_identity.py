"""Which statement a text is, and that nothing of its constants is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlnode.parse import parse
from sqlnode.statements.identity import (
    KEPT_MAX,
    TEXT_BYTES_MAX,
    Identities,
    cut,
    identify,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT * FROM a WHERE id = 7", "select  *\nfrom a where id = 8"),
        ("SELECT * FROM a WHERE id = 7", "SELECT * FROM a WHERE id = $1"),
        ("INSERT INTO a VALUES ('x', 1.5)", "INSERT INTO a VALUES ($1, $2)"),
        ("BEGIN", "begin"),
        ("SELECT 1 -- a", "SELECT 2 /* b */"),
    ],
)
def test_constants_make_no_difference(one: str, other: str) -> None:
    assert identify(one).query_id == identify(other).query_id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT a FROM t", "SELECT b FROM t"),
        ("SELECT a FROM t", "SELECT a FROM u"),
        ("COMMIT", "ROLLBACK"),
        ("DELETE FROM t WHERE a = 1", "DELETE FROM t WHERE a > 1"),
    ],
)
def test_other_statements_are_others(one: str, other: str) -> None:
    assert identify(one).query_id != identify(other).query_id


_LONG = "/* " + "long " * 1000 + "*/"


@pytest.mark.parametrize(
    "text",
    [
        "CREATE ROLE bob LOGIN PASSWORD 's3cret'",
        "CREATE USER bob ENCRYPTED PASSWORD 's3cret' VALID UNTIL 'infinity'",
        "ALTER ROLE bob PASSWORD E's3cret'",
        "ALTER ROLE bob WITH PASSWORD $$s3cret$$",
        "ALTER USER bob PASSWORD $x$s3cret$x$",
        "ALTER ROLE bob PASSWORD 's3'\n'cret'",
        "ALTER ROLE bob PASSWORD U&'s3cret'",
        f"ALTER ROLE bob {_LONG} PASSWORD 's3cret'",
        f"ALTER ROLE bob {_LONG} PASSWORD $q$s3cret$q$",
        f"ALTER ROLE bob {_LONG} PASSWORD E's3\\'cret'",
        f"CREATE ROLE bob {_LONG} PASSWORD U&'s3cret'",
        "SELECT set_config('a.b', 's3cret', false)",
        "INSERT INTO a VALUES " + ", ".join(["('s3cret')"] * 2000),
    ],
)
def test_no_secret_is_in_the_text(text: str) -> None:
    assert len(parse(text)) == 1
    kept = identify(text).text
    assert "cret" not in kept
    assert "s3" not in kept


def test_a_long_text_is_known_by_its_beginning() -> None:
    rows = ", ".join(f"({number}, 'x')" for number in range(2000))
    one = identify(f"INSERT INTO a VALUES {rows}")
    other = identify(f"INSERT INTO a VALUES {rows}, (1, 'y')")
    assert one == other
    assert one.text.startswith("INSERT INTO a VALUES ($1, $2), ($3, $4)")
    assert identify(f"INSERT INTO b VALUES {rows}").query_id != one.query_id
    assert "$1" in identify("SELECT $1 -- " + "x" * 5000).text


def test_nesting_does_no_harm() -> None:
    for text in ("SELECT " + "1+" * 30_000 + "1", "SELECT " + "(" * 50_000 + "1" + ")" * 50_000):
        assert identify(text).query_id


@given(st.text(max_size=3000))
def test_a_text_is_cut_between_characters(text: str) -> None:
    kept = cut(text)
    size = len(kept.encode(errors="replace"))
    assert size <= TEXT_BYTES_MAX
    whole = text.encode(errors="replace").decode()
    assert whole.startswith(kept)
    assert kept == whole or size > TEXT_BYTES_MAX - 4


@given(st.text(max_size=200))
def test_whatever_is_given_has_an_identity(text: str) -> None:
    identity = identify(text)
    assert 0 < identity.query_id < 1 << 64
    assert -(1 << 63) <= identity.signed < 1 << 63


def test_what_is_remembered_is_bounded() -> None:
    identities = Identities()
    first = identities.find("SELECT a0")
    assert identities.find("SELECT a0") is first
    for number in range(KEPT_MAX + 5):
        identities.find(f"SELECT a{number}")
    assert len(identities) == KEPT_MAX
    identities.find("SELECT '" + "x" * 5000 + "'")
    assert len(identities) == KEPT_MAX
