import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from sqlnode.session.literals import LITERALS_MAX, RefusedTemplates, template_of
from tests.support.pod import pod_running


@pytest.mark.parametrize(
    ("text", "shape", "values"),
    [
        ("SELECT a FROM t WHERE id = 42;", "SELECT a FROM t WHERE id = $1", (42,)),
        ("UPDATE a SET b = b + -7 WHERE id=3", "UPDATE a SET b = b + $1 WHERE id=$2", (-7, 3)),
        ("INSERT INTO h VALUES (1,-2, t2.c3)", "INSERT INTO h VALUES ($1,$2, t2.c3)", (1, -2)),
        ("SELECT 5 -3", "SELECT $1 -$2", (5, 3)),
        ("SELECT a -3 FROM t", "SELECT a -$1 FROM t", (3,)),
        ("SELECT (a) - 3 FROM t", "SELECT (a) - $1 FROM t", (3,)),
        ("delete from t where a in (1, 2)", "delete from t where a in ($1, $2)", (1, 2)),
        ("SELECT a %-3 FROM t", "SELECT a %-$1 FROM t", (3,)),  # PostgreSQL reads an operator %-
        ("SELECT 1.5 + 2", "SELECT 1.5 + $1", (2,)),
        ("SELECT 1e5 + 2147483648 + 7", "SELECT 1e5 + 2147483648 + $1", (7,)),
    ],
)
def test_integers_become_parameters(text: str, shape: str, values: tuple[int, ...]) -> None:
    template = template_of(text)
    assert template is not None
    assert (template.text, template.values) == (shape, values)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t",
        "SELECT a FROM t ORDER BY 1",
        "SELECT a, count(*) FROM t GROUP\nBY 1",
        "SELECT a FROM t LIMIT 5",
        "SELECT '5' + 5",
        "SELECT 5 -- comment 6",
        "SELECT 5 /* 6 */",
        "SELECT 5; SELECT 6",
        "SELECT $1 + 5",
        'SELECT "5 x" FROM t WHERE a = 5',
        "SELECT x::numeric(10,2) FROM t",
        "CREATE TABLE t (a char(5))",
        "VALUES (1)",
        "SELECT " + "1+" * LITERALS_MAX + "1",
    ],
)
def test_a_text_with_another_meaning_for_integers_is_left_alone(text: str) -> None:
    assert template_of(text) is None


@given(st.lists(st.integers(-999_999_999, 999_999_999), min_size=1, max_size=LITERALS_MAX))
def test_the_values_put_back_give_the_text(values: list[int]) -> None:
    text = "SELECT f(" + ", ".join(map(str, values)) + ")"
    template = template_of(text)
    assert template is not None
    assert template.values == tuple(values)
    back = re.sub(r"\$(\d+)", lambda m: str(template.values[int(m[1]) - 1]), template.text)
    assert back == text


def test_refused_shapes_are_bounded() -> None:
    refused = RefusedTemplates()
    for number in range(5000):
        refused.add(f"shape {number}")
    assert "shape 4999" in refused
    assert "shape 0" not in refused


def test_simple_statements_share_plans_and_keep_their_errors(tmp_path: Path) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            connection = await psycopg.AsyncConnection.connect(pod.dsn, autocommit=True)
            cursor = psycopg.AsyncClientCursor(connection)  # the simple protocol

            async def answers(text: str) -> list[Any]:
                await cursor.execute(text.encode())
                return await cursor.fetchall() if cursor.description else []

            await answers("CREATE TABLE t (id int PRIMARY KEY, n bigint)")
            for number in range(1, 5):
                await answers(f"INSERT INTO t VALUES ({number}, {-number})")
            before = len(pod.tenant.plans)
            for number in range(1, 5):
                assert await answers(f"SELECT n FROM t WHERE id = {number}") == [(-number,)]
                assert await answers(f"SELECT id FROM t WHERE n = -{number}") == [(number,)]
            assert len(pod.tenant.plans) == before + 2
            for text, sqlstate, position in (
                ("SELECT 7 / 0", "22012", None),
                ("SELECT nothing FROM t WHERE id = 77", "42703", "8"),
                ("SELECT n FROM t WHERE id = 77 7", "42601", "31"),
                ("SELECT n FROM t WHERE id %-3 = 1", "42883", "26"),
            ):
                with pytest.raises(psycopg.Error) as caught:
                    await answers(text)
                assert (caught.value.sqlstate, caught.value.diag.statement_position) == (
                    sqlstate,
                    position,
                )
            await connection.close()

    uvloop.run(body())
