"""Exported snapshots where PostgreSQL's answers differ, or cannot be asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
import uvloop
from psycopg import errors

from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from sqlnode.session import snapshots
from sqlnode.session.snapshots import SnapshotName
from tests.support.kv import StorageForTest, storage_running
from tests.support.pod import PodForTest, pod_on

Connection = psycopg.AsyncConnection[tuple[object, ...]]
Body = Callable[[StorageForTest, PodForTest, Connection, Connection], Awaitable[None]]


def two_pods(folder: Path, body: Body) -> None:
    """`body` gets a session on each of two pods, and the first pod."""

    async def run() -> None:
        async with (
            storage_running(folder) as storage,
            pod_on(storage) as first,
            pod_on(storage) as second,
            await connected(first) as a,
            await connected(second) as b,
        ):
            await a.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
            await a.execute("INSERT INTO t SELECT n, n FROM generate_series(1, 100) n")
            await body(storage, first, a, b)

    uvloop.run(run())


async def connected(pod: PodForTest) -> Connection:
    return await psycopg.AsyncConnection.connect(pod.dsn, autocommit=True)


async def value(connection: Connection, query: str) -> object:
    row = await (await connection.execute(query)).fetchone()
    return row[0] if row else None


async def export(connection: Connection, mode: str = "") -> str:
    await connection.execute(f"BEGIN {mode}")
    return str(await value(connection, "SELECT pg_export_snapshot()"))


async def begin_with(connection: Connection, name: str, level: str = "REPEATABLE READ") -> None:
    await connection.execute(f"BEGIN ISOLATION LEVEL {level}")
    await connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'")


async def imported(connection: Connection, name: str) -> bool:
    try:
        await begin_with(connection, name)
    except errors.InvalidParameterValue:
        return False
    finally:
        await connection.execute("ROLLBACK")
    return True


async def refused(connection: Connection, name: str) -> None:
    with pytest.raises(errors.InvalidParameterValue, match="invalid snapshot identifier"):
        await begin_with(connection, name)
    await connection.execute("ROLLBACK")


def test_a_name_is_good_as_long_as_its_transaction(tmp_path: Path) -> None:
    async def body(_: StorageForTest, first: PodForTest, a: Connection, b: Connection) -> None:
        name = await export(a)
        with pytest.raises(errors.DivisionByZero):
            await a.execute("SELECT 1/0")
        async with asyncio.timeout(20):
            while await imported(b, name):  # storage hears of it a moment later
                pass
        await refused(b, name)
        await a.execute("ROLLBACK")
        gone = await connected(first)
        name = await export(gone)
        await begin_with(b, name)
        await b.execute("ROLLBACK")
        await gone.close()
        async with asyncio.timeout(20):
            while len(first.tenant.sessions) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await value(a, "SELECT count(*) FROM t")  # the end was sent before, on the same stream
        await refused(b, name)

    two_pods(tmp_path, body)


def test_who_commits_is_answered_when_nobody_can_import_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(_: StorageForTest, first: PodForTest, a: Connection, b: Connection) -> None:
        ask, asked, may = first.tenant.kv.current_catalog_version, asyncio.Event(), asyncio.Event()

        async def held_up() -> int:
            asked.set()
            await may.wait()
            return await ask()

        monkeypatch.setattr(first.tenant.kv, "current_catalog_version", held_up)
        exporting = spawn(value(a, "SELECT pg_export_snapshot()"), name="export")
        async with asyncio.timeout(20):
            await asked.wait()
        assert not exporting.done()
        may.set()
        await refused(b, str(await exporting))

    two_pods(tmp_path, body)


def test_names_cannot_be_made_up(tmp_path: Path) -> None:
    async def body(storage: StorageForTest, _: PodForTest, a: Connection, b: Connection) -> None:
        text = await export(a)
        name = SnapshotName.read(text)
        assert str(name) == text
        for other in (
            SnapshotName(name.time, False, False, name.lot ^ 1, 1),
            SnapshotName(name.time - 1, False, False, name.lot, 1),
            SnapshotName(name.time + 10**12, False, False, name.lot, 1),
        ):
            await refused(b, str(other))
        with pytest.raises(errors.InvalidParameterValue):
            # Serializable, says the name, but storage knows of nobody who is.
            await begin_with(
                b, str(SnapshotName(name.time, True, False, name.lot, 1)), "SERIALIZABLE"
            )
        await b.execute("ROLLBACK")
        async with (
            pod_on(storage, tenant_id=TenantId(77)) as stranger,
            await connected(stranger) as c,
        ):
            await refused(c, text)
        await begin_with(b, text)

    two_pods(tmp_path, body)


def test_what_was_dropped_or_changed_is_as_it_was(tmp_path: Path) -> None:
    async def body(_: StorageForTest, first: PodForTest, a: Connection, b: Connection) -> None:
        await a.execute("CREATE TABLE dropped (id int)")
        await a.execute("INSERT INTO dropped VALUES (1), (2)")
        name = await export(a)
        async with await connected(first) as c:
            await c.execute("DROP TABLE dropped")
            await c.execute("ALTER TABLE t ADD COLUMN later int DEFAULT 7")
            await c.execute("CREATE INDEX ON t (n)")
            await c.execute("TRUNCATE t")
        await begin_with(b, name)
        assert await value(b, "SELECT count(*) FROM dropped") == 2
        assert await value(b, "SELECT id FROM t WHERE n = 42") == 42
        cursor = await b.execute("SELECT * FROM t WHERE id = 1")
        assert await cursor.fetchall() == [(1, 1)]
        query = "SELECT count(*) FROM pg_indexes WHERE tablename = 't'"
        assert await value(b, query) == 1
        # It cannot write rows of that shape any more.
        with pytest.raises(errors.SerializationFailure):
            await b.execute("UPDATE t SET n = 0 WHERE id = 1")
        await b.execute("ROLLBACK")
        assert await value(b, "SELECT later FROM t") is None
        await begin_with(b, name)
        with pytest.raises(errors.SerializationFailure):
            await b.execute("ALTER TABLE t ADD COLUMN more int")
        await b.execute("ROLLBACK")

    two_pods(tmp_path, body)


def test_serializable_imports_know_what_was_written_since(tmp_path: Path) -> None:
    async def body(_: StorageForTest, first: PodForTest, a: Connection, b: Connection) -> None:
        name = await export(a, "ISOLATION LEVEL SERIALIZABLE")
        async with await connected(first) as c:
            await c.execute("UPDATE t SET n = 0 WHERE id = 1")
        await begin_with(b, name, "SERIALIZABLE")
        await a.execute("COMMIT")
        assert await value(b, "SELECT n FROM t WHERE id = 1") == 1
        await b.execute("UPDATE t SET n = 1 WHERE id = 2")
        with pytest.raises(errors.SerializationFailure):
            await b.execute("COMMIT")

    two_pods(tmp_path, body)


def test_there_is_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SNAPSHOTS_MAX", 3)

    async def body(_: StorageForTest, __: PodForTest, a: Connection, b: Connection) -> None:
        await a.execute("BEGIN")
        names = {await value(a, "SELECT pg_export_snapshot()") for _ in range(3)}
        assert len(names) == 3
        for name in names:
            await begin_with(b, str(name))
            await b.execute("COMMIT")
        with pytest.raises(errors.ProgramLimitExceeded):
            await a.execute("SELECT pg_export_snapshot()")

    two_pods(tmp_path, body)


def test_a_time_in_the_past_is_exported_and_never_mixed_with_an_import(tmp_path: Path) -> None:
    async def body(_: StorageForTest, __: PodForTest, a: Connection, b: Connection) -> None:
        now = await value(a, "SELECT clock_timestamp()")
        await a.execute("UPDATE t SET n = 0 WHERE id = 1")
        await a.execute(f"SET dormouse.as_of = '{now}'")
        name = await export(a)
        assert await value(a, "SELECT n FROM t WHERE id = 1") == 1
        await begin_with(b, name)
        assert await value(b, "SELECT n FROM t WHERE id = 1") == 1
        await b.execute("ROLLBACK")
        await b.execute(f"SET dormouse.as_of = '{now}'")
        with pytest.raises(errors.FeatureNotSupported, match="as_of cannot import"):
            await begin_with(b, name)
        await b.execute("ROLLBACK")

    two_pods(tmp_path, body)
