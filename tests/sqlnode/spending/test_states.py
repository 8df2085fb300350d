"""What clients of a pod meet at their spend limit, state by state."""

import pytest

from pgwire import frontend
from pgwire.notices import Notice
from tests.sqlnode.spending.fakecontrol import (
    LIMIT,
    LimitedPod,
    free,
    open_up_to,
    stopped,
    with_limits,
)
from tests.support.linked import Linked, Replies, error, kinds

TABLE = "CREATE TABLE t (a int PRIMARY KEY, b text)"
ROWS = "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 3000) g"


async def with_rows(pod: LimitedPod) -> Linked:
    client = await Linked.open(pod)
    for text in (TABLE, ROWS):
        assert "E" not in kinds(await client.query(text))
    return client


async def refused(client: Linked, text: str) -> Notice:
    replies = await client.query(text)
    assert kinds(replies)[-2:] == "EZ", (text, kinds(replies))
    notice = error(replies)
    assert notice.sqlstate == "53400", (text, notice)
    return notice


async def went(client: Linked, text: str) -> Replies:
    replies = await client.query(text)
    assert "E" not in kinds(replies), (text, error(replies))
    return replies


def test_a_stopped_pod_refuses_at_once_and_says_what_to_do() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await with_rows(pod)
        await pod.told(stopped())
        notice = await refused(client, "INSERT INTO t VALUES (0)")
        assert (notice.severity, notice.message) == ("ERROR", "spend limit reached")
        assert notice.detail == (
            f"The limit is {LIMIT}; the next month begins at 2026-12-01 00:00:00+00."
        )
        assert notice.hint == (
            'Raise it with "dormouse limit set" or PUT /v1/tenants/7/spend-limit. '
            "SELECT, COPY TO, DELETE, TRUNCATE and DROP go on slowly."
        )

    with_limits(body)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t VALUES (0)",
        "UPDATE t SET b = ''",
        "CREATE TABLE u (a int)",
        "CREATE INDEX ON t (b)",
        "ALTER TABLE t ADD COLUMN c int",
        "WITH new AS (INSERT INTO t VALUES (0) RETURNING a) SELECT a FROM new",
        "WITH new AS (INSERT INTO t VALUES (0) RETURNING a) DELETE FROM t",
        "SELECT * FROM t FOR UPDATE",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN (ANALYZE) DELETE FROM t",
        "COPY t FROM STDIN",
        "COPY (INSERT INTO t VALUES (0) RETURNING a) TO STDOUT",
        "ANALYZE t",
        "COMMENT ON TABLE t IS 'x'",
        "PREPARE p AS INSERT INTO t VALUES (0); EXECUTE p",
    ],
)
def test_a_stopped_pod_does_not(text: str) -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        await pod.told(stopped())
        await refused(client, text)

    with_limits(body)


def test_a_stopped_pod_reads_deletes_and_serves_its_sessions() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await with_rows(pod)
        await went(client, "CREATE TABLE u (a int)")
        await pod.told(stopped(50_000))
        for text in (
            "SELECT count(*) FROM t",
            "TABLE t LIMIT 1",
            "VALUES (1), (2)",
            "WITH few AS (SELECT a FROM t LIMIT 3) SELECT sum(a) FROM few",
            "SELECT relname FROM pg_catalog.pg_class",
            "SELECT table_name FROM information_schema.tables",
            "EXPLAIN DELETE FROM t",
            "COPY t TO STDOUT",
            "COPY (SELECT a FROM t) TO STDOUT (FORMAT binary)",
            "BEGIN",
            "SAVEPOINT s",
            "DELETE FROM t WHERE a = 1",
            "ROLLBACK TO s",
            "RELEASE s",
            "DECLARE c CURSOR FOR SELECT a FROM t",
            "FETCH 10 FROM c",
            "MOVE 5 IN c",
            "CLOSE c",
            "COMMIT",
            "SET work_mem = '8MB'",
            "SHOW work_mem",
            "RESET ALL",
            "PREPARE p AS SELECT a FROM t WHERE a = $1",
            "EXECUTE p (5)",
            "DEALLOCATE p",
            "WITH gone AS (DELETE FROM t WHERE a < 10 RETURNING a) SELECT count(*) FROM gone",
            "DELETE FROM t WHERE a IN (SELECT a FROM t LIMIT 5)",
            "TRUNCATE u",
            "DROP TABLE u",
            "DISCARD ALL",
            ";",
        ):
            await went(client, text)
        assert await client.rows("SELECT count(*) FROM t") == [("2986",)]

    with_limits(body)


def test_what_was_written_before_may_commit() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        await went(client, "BEGIN")
        await went(client, "INSERT INTO t VALUES (1)")
        await pod.told(stopped())
        await went(client, "COMMIT")
        assert await client.rows("SELECT a FROM t") == [("1",)]
        await went(client, "BEGIN")
        await went(client, "DELETE FROM t")
        await refused(client, "INSERT INTO t VALUES (2)")
        assert error(await client.query("SELECT 1")).sqlstate == "25P02"
        assert kinds(await client.query("COMMIT")) == "CZ"
        assert await client.rows("SELECT a FROM t") == [("1",)]

    with_limits(body)


def test_a_pipeline_is_refused_where_it_writes() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)

        async def pipeline(*texts: str) -> Replies:
            for text in texts:
                client.send(
                    frontend.Parse("", text, ()),
                    frontend.Bind("", "", (), (), ()),
                    frontend.Execute("", 0),
                )
            client.send(frontend.Sync())
            return await client.until()

        await pod.told(stopped())
        replies = await pipeline("SELECT a FROM t", "INSERT INTO t VALUES (1)", "SELECT 1")
        assert kinds(replies) == "12C12EZ"
        assert error(replies).sqlstate == "53400"
        assert kinds(await pipeline("DELETE FROM t", "SELECT 1")) == "12C12DCZ"

    with_limits(body)


def test_raising_the_limit_serves_at_once() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        for leave in (free(), open_up_to(1_000_000)):
            await pod.told(stopped())
            await refused(client, "INSERT INTO t VALUES (1)")
            await pod.told(leave)
            await went(client, "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING")

    with_limits(body)


def test_an_open_pod_stops_at_its_ceiling() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        await pod.told(open_up_to(200))
        went_well = 0
        while "E" not in kinds(
            replies := await client.query(
                "INSERT INTO t VALUES (DEFAULT)"[:0] + f"INSERT INTO t VALUES ({went_well})"
            )
        ):
            went_well += 1
        notice = error(replies)
        assert notice.sqlstate == "53400"
        assert "set aside for other pods" in (notice.detail or "")
        assert went_well > 10
        assert error(await client.query("SELECT 1")).sqlstate == "53400"
        await went(client, "SET work_mem = '8MB'")

    with_limits(body)


def test_more_is_asked_for_before_all_is_used() -> None:
    async def body(pod: LimitedPod) -> None:
        control = pod.control

        def raise_it(_report: object) -> None:
            if control.leave.ceiling_micro_units:
                control.tell(open_up_to(control.billed_units + 300))

        control.on_report = raise_it
        client = await Linked.open(pod)
        await went(client, TABLE)
        await pod.told(open_up_to(300))
        for number in range(1500):
            await went(client, f"INSERT INTO t VALUES ({number})")
        assert len(control.heard) >= 1500 // 300

    with_limits(body)
