"""What generated code must get right beyond the golden scripts."""

import asyncio
from typing import Any

import pytest

from sqlnode.errors import SqlError
from sqlnode.execute.api import Executable
from tests.sqlnode.execute.schema import TABLES
from tests.support.sqlrig import Rig

ROWS = "INSERT INTO loose VALUES (1, 'one', true), (2, 'two', false), (NULL, NULL, NULL)"


def answer(sql: str, *params: Any) -> list[tuple[Any, ...]]:
    async def whole() -> list[tuple[Any, ...]]:
        rig = Rig(TABLES)
        await rig.run(ROWS)
        return await rig.run(sql, *params)

    return asyncio.run(whole())


def test_text_of_a_user_never_becomes_python() -> None:
    nasty = "'); import os; (\"\\\n{0}"
    quoted = nasty.replace("'", "''")
    assert answer(f"SELECT '{quoted}' || y FROM loose WHERE x = 1") == [(nasty + "one",)]
    assert answer(f"SELECT count(*) FROM loose WHERE y <> '{quoted}'") == [(2,)]


def test_many_alternatives_compile() -> None:
    tests = " OR ".join(f"x + {number} = 5" for number in range(500))
    assert sorted(answer(f"SELECT x FROM loose WHERE {tests}")) == [(1,), (2,)]


def test_deep_nesting_compiles_or_is_refused() -> None:
    deep = "coalesce(x, " * 100 + "7" + ")" * 100
    assert answer(f"SELECT {deep} FROM loose ORDER BY 1") == [(1,), (2,), (7,)]
    nots = "NOT " * 100
    assert answer(f"SELECT count(*) FROM loose WHERE {nots} ok") == [(1,)]
    with pytest.raises(SqlError) as error:
        answer("SELECT " + "1 + " * 5000 + "1")
    assert error.value.sqlstate == "54001"


def test_errors_of_untaken_branches_do_not_show() -> None:
    many = "(SELECT x FROM loose)"
    assert answer(f"SELECT CASE WHEN y = 'none' THEN {many} ELSE 1 END FROM loose LIMIT 1") == [
        (1,)
    ]
    with pytest.raises(SqlError) as error:
        answer(f"SELECT {many}")
    assert error.value.sqlstate == "21000"


def test_a_parameter_may_be_null_everywhere() -> None:
    assert answer("SELECT id FROM emp WHERE id = $1", None) == []
    assert answer("SELECT x FROM loose WHERE x = $1 OR $1 IS NULL ORDER BY x", None) == [
        (1,),
        (2,),
        (None,),
    ]
    assert answer("SELECT x FROM loose WHERE x > $1", None) == []


def test_statements_that_differ_in_constants_share_their_code() -> None:
    rig = Rig(TABLES)

    def code(executable: Executable) -> Any:
        process: Any = executable
        return process._process.__code__

    one = rig.prepare("SELECT name || '1' FROM emp WHERE id = 1")
    other = rig.prepare("SELECT name || '22' FROM emp WHERE id = 22")
    assert code(one) is code(other)
