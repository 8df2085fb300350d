"""Two transactions and one row: what READ COMMITTED and REPEATABLE READ do."""

import asyncio
from typing import Any

import pytest

from sqlnode.errors import SqlError
from tests.sqlnode.execute.schema import TABLES
from tests.support.sqlrig import Rig

ROWS = "INSERT INTO emp (id, name, dept, salary) VALUES (1, 'a', 1, 10), (2, 'b', 1, 20)"


def run(body: Any) -> None:
    async def whole() -> None:
        rig = Rig(TABLES)
        await rig.run(ROWS)
        await body(rig)

    asyncio.run(whole())


def test_for_update_answers_the_newest_version() -> None:
    async def body(rig: Rig) -> None:
        old = rig.begin(frozen=True)
        await rig.run("UPDATE emp SET name = 'new' WHERE id = 1")
        rows = await rig.run("SELECT id, name FROM emp ORDER BY id FOR UPDATE", transaction=old)
        assert rows == [(1, "new"), (2, "b")]
        assert [strength for _, strength in old.locks] == ["update", "update"]

    run(body)


def test_for_update_leaves_out_rows_that_no_longer_match() -> None:
    async def body(rig: Rig) -> None:
        old = rig.begin(frozen=True)
        await rig.run("UPDATE emp SET dept = 2 WHERE id = 1")
        await rig.run("DELETE FROM emp WHERE id = 2")
        sql = "SELECT id FROM emp WHERE dept = 1 FOR SHARE"
        assert await rig.run(sql, transaction=old) == []

    run(body)


def test_limit_locks_no_more_rows_than_it_gives() -> None:
    async def body(rig: Rig) -> None:
        used = rig.begin()
        sql = "SELECT id FROM emp ORDER BY id LIMIT 1 FOR UPDATE"
        assert await rig.run(sql, transaction=used) == [(1,)]
        assert len(used.locks) == 1

    run(body)


def test_update_through_an_index_moves_its_entries_of_a_changed_row() -> None:
    async def body(rig: Rig) -> None:
        old = rig.begin(frozen=True)
        await rig.run("UPDATE emp SET dept = 7 WHERE id = 1")
        await rig.run("UPDATE emp SET dept = dept + 1", transaction=old)
        old.commit()
        assert await rig.run("SELECT id FROM emp WHERE dept = 8") == [(1,)]
        assert await rig.run("SELECT id FROM emp WHERE dept IN (1, 7)") == []

    run(body)


def test_repeatable_read_refuses_a_newer_version() -> None:
    async def body(rig: Rig) -> None:
        old = rig.begin(repeatable=True)
        await rig.run("UPDATE emp SET name = 'new' WHERE id = 1")
        with pytest.raises(SqlError) as error:
            await rig.run("UPDATE emp SET name = 'mine' WHERE id = 1", transaction=old)
        assert error.value.sqlstate == "40001"

    run(body)


def test_a_statement_does_not_meet_its_own_rows() -> None:
    async def body(rig: Rig) -> None:
        await rig.run("INSERT INTO emp (id, dept) SELECT id + 10, dept FROM emp")
        await rig.run("UPDATE emp SET id = id + 100")
        assert await rig.run("SELECT id FROM emp") == [(101,), (102,), (111,), (112,)]

    run(body)
