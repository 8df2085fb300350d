"""Statements that run when their pod meets its limit, and those that are held to a rate."""

import asyncio

import pytest

from pgwire import frontend
from pgwire.frontend import CopyData, CopyDone
from tests.sqlnode.spending.fakecontrol import (
    LimitedPod,
    free,
    open_up_to,
    stopped,
    throttled,
    with_limits,
)
from tests.sqlnode.spending.test_states import TABLE, refused, went, with_rows
from tests.support.linked import Linked, cancel, error, kinds, rows_of

LONG = "SELECT sum(a) FROM generate_series(1, 30000000) a"


async def begun(client: Linked, text: str, pod: LimitedPod) -> None:
    """Send a statement and wait until it runs."""
    client.send(frontend.Query(text))
    await pod.until(lambda: pod.tenant.active)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t SELECT a FROM generate_series(10000, 30000000) a",
        "UPDATE wide SET b = b || 'y' WHERE a > (SELECT count(*) FROM wide x, wide y)",
    ],
)
def test_a_statement_that_writes_is_stopped_where_it_is(text: str) -> None:
    async def body(pod: LimitedPod) -> None:
        client = await with_rows(pod)
        await went(client, "CREATE TABLE wide (a int PRIMARY KEY, b text)")
        await went(
            client, "INSERT INTO wide SELECT g, repeat('x', 9) FROM generate_series(1, 20000) g"
        )
        await begun(client, text, pod)
        await pod.told(stopped())
        replies = await client.until()
        assert kinds(replies) == "EZ"
        assert error(replies).sqlstate == "53400"
        await pod.told(free())
        assert await client.rows("SELECT count(*) FROM t") == [("3000",)]

    with_limits(body)


def test_building_an_index_is_stopped() -> None:
    async def body(pod: LimitedPod) -> None:
        client, other = await with_rows(pod), await Linked.open(pod)
        await went(other, "BEGIN; UPDATE t SET b = '' WHERE a = 1")
        await begun(client, "CREATE INDEX few ON t (b)", pod)  # waits for the other one's end
        await pod.told(stopped())
        await went(other, "COMMIT")
        replies = await client.until()
        assert kinds(replies) == "EZ"
        assert error(replies).sqlstate == "53400"
        assert await client.rows("SELECT 1 FROM pg_class WHERE relname = 'few'") == []

    with_limits(body)


def test_reading_goes_on_at_a_trickle_when_the_pod_is_stopped() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await with_rows(pod)
        await went(client, "SET statement_timeout = '600ms'")
        await begun(client, LONG, pod)
        await pod.told(stopped(0.001))
        replies = await client.until()
        # It was held, not refused; and a statement's time runs on while it is.
        assert error(replies).message == "canceling statement due to statement timeout"
        await pod.told(free())
        assert await client.rows("SELECT 1") == [("1",)]

    with_limits(body)


def test_an_open_pod_stops_what_runs_beyond_its_ceiling() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await with_rows(pod)
        used = pod.used_units
        await pod.told(open_up_to(used + 50))
        replies = await client.query(LONG)
        assert error(replies).sqlstate == "53400"
        await pod.until(lambda: pod.control.heard[-1].leave == pod.control.leave.number)
        # The margin, and what a core does until its next checkpoint.
        assert pod.control.billed_units < used + 50 + 100 + 50

    with_limits(body)


def test_what_would_pass_the_ceiling_with_its_commit_is_not_committed() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        many = "INSERT INTO t SELECT g FROM generate_series({}, {}) g"
        await pod.told(open_up_to(pod.used_units + 900))
        await refused(client, many.format(1, 1020))
        await went(client, "BEGIN")
        for first in (1, 301):
            await went(client, many.format(first, first + 299))
        await refused(client, many.format(601, 1020))
        await went(client, "ROLLBACK")
        assert await client.rows("SELECT count(*) FROM t") == [("0",)]
        assert (await pod.pod.status()).usage.write_requests < 20
        await went(client, many.format(1, 300))
        await pod.told(open_up_to(pod.used_units + 150))
        await refused(client, "UPDATE t SET b = 'y'")  # a batch that is not full
        await refused(client, "UPDATE t SET b = repeat('x', 1000000) WHERE a = 1")
        assert await client.rows("SELECT count(b) FROM t") == [("0",)]

    with_limits(body)


def test_a_copy_from_is_stopped_at_its_next_batch() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        client.send(frontend.Query("COPY t FROM STDIN"))
        await client.until("G")
        client.send(CopyData(b"1\tx\n"))
        await pod.told(stopped())
        lines = b"".join(b"%d\tx\n" % number for number in range(2, 30_000))
        client.send(CopyData(lines), CopyDone())
        replies = await client.until()
        assert kinds(replies) == "EZ"
        assert error(replies).sqlstate == "53400"
        assert await client.rows("SELECT count(*) FROM t") == [("0",)]

    with_limits(body)


def test_a_copy_to_keeps_to_the_trickle_to_its_end() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await with_rows(pod)
        # 3000 rows of 100 bytes are some 300 units to the client, of which 200 are there.
        await pod.told(stopped(20))
        loop = asyncio.get_running_loop()
        began, before = loop.time(), pod.used_units
        replies = await went(client, "COPY t TO STDOUT")
        assert b"".join(body for kind, body in replies if kind == "d").count(b"\n") == 3000
        used = pod.used_units - before
        assert used > 300
        assert loop.time() - began > (used - 200 - 100) / 20

    with_limits(body)


def test_what_is_to_begin_is_told_when_to_come_again() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await with_rows(pod)
        await pod.told(stopped(50))
        await went(client, "DELETE FROM t")  # a unit for each row, when it commits
        for text in ("SELECT 1", "DELETE FROM t", "DECLARE c CURSOR WITH HOLD FOR SELECT 1"):
            hint = (await refused(client, text)).hint
            assert hint is not None
            assert hint.startswith("Try again in "), hint
        await went(client, "SHOW work_mem")
        await went(client, "BEGIN; ROLLBACK")

    with_limits(body)


def test_a_cursor_is_read_on_where_a_new_statement_is_refused() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await with_rows(pod)
        await went(client, "BEGIN")
        await went(client, "DECLARE c CURSOR FOR SELECT a, b FROM t")
        await pod.told(stopped(25))
        rows = 0
        while fetched := rows_of(await went(client, "FETCH 500 FROM c")):
            rows += len(fetched)
        assert rows == 3000
        await went(client, "COMMIT")

    with_limits(body)


def test_a_portal_is_read_on_in_pieces() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await with_rows(pod)
        client.send(
            frontend.Parse("", "SELECT a FROM t", ()),
            frontend.Bind("", "", (), (), ()),
            frontend.Execute("", 10),
            frontend.Flush(),
        )
        assert kinds(await client.until("s")).endswith("s")
        await pod.told(stopped(0.001))
        client.send(frontend.Execute("", 10), frontend.Flush())
        assert kinds(await client.until("s")) == "D" * 10 + "s"
        client.send(frontend.Sync())
        await client.until()

    with_limits(body)


def test_a_throttled_pod_serves_more_slowly() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        await pod.told(throttled(100))
        loop = asyncio.get_running_loop()
        began, before = loop.time(), pod.used_units
        for number in range(0, 1200, 100):
            values = ", ".join(f"({number + each})" for each in range(100))
            await went(client, f"INSERT INTO t VALUES {values}")
        used = pod.used_units - before
        assert used > 1200
        # A burst of 1000 units, and what the last statement used after it was let through.
        assert loop.time() - began > (used - 1000 - 250) / 100

    with_limits(body)


POINT = "SELECT b FROM t WHERE a = 1"
INSERT = "INSERT INTO t SELECT count(*) FROM t"


def test_a_limit_that_slows_refuses_nobody_at_its_ceiling() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        await pod.told(open_up_to(pod.used_units, slows=True))
        for number in range(5):
            await went(client, f"INSERT INTO t VALUES ({number})")
        client.send(frontend.Query("INSERT INTO t SELECT g FROM generate_series(10, 500) g"))
        await pod.until(lambda: pod.spending.waiting)
        await pod.told(free())
        assert "E" not in kinds(await client.until())

    with_limits(body)


def test_who_waits_can_be_cancelled_and_is_served_when_the_limit_is_raised() -> None:
    async def body(pod: LimitedPod) -> None:
        client, other = await Linked.open(pod), await Linked.open(pod)
        await went(client, TABLE)
        await went(other, "SELECT 1")
        await pod.told(throttled(0.0001))
        await went(client, POINT)
        client.send(frontend.Query(INSERT))
        await pod.until(lambda: pod.spending.waiting)
        assert (await pod.pod.status()).active == 1
        assert (await pod.pod.status()).idle_ms == 0
        await cancel(pod, client.pid, client.secret)
        assert error(await client.until()).message == "canceling statement due to user request"
        await went(client, "SET statement_timeout = '50ms'")
        notice = error(await client.query("SELECT count(*) FROM t"))
        assert notice.message == "canceling statement due to statement timeout"
        await went(client, "RESET statement_timeout")
        assert not pod.spending.waiting

        client.send(frontend.Query("SELECT count(*) FROM t"))
        other.send(frontend.Query("SELECT 1"))
        await pod.until(lambda: pod.spending.waiting == 2)
        async with asyncio.timeout(30):  # by itself it would go on after 60 s
            await pod.told(free())
            assert kinds(await client.until()) == kinds(await other.until()) == "TDCZ"

    with_limits(body)


def test_a_client_that_goes_while_it_waits_leaves_nothing_behind() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        await pod.told(throttled(0.0001))
        await went(client, "BEGIN")
        await went(client, POINT)
        client.send(*[frontend.Query(INSERT)] * 3)
        await pod.until(lambda: pod.spending.waiting)
        await client.close()
        await pod.until(lambda: not pod.tenant.sessions)
        assert (pod.tenant.active, pod.spending.waiting) == (0, 0)

    with_limits(body)


def test_what_holds_back_statements_holds_back_no_transaction() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        await went(client, "BEGIN")
        await went(client, "INSERT INTO t SELECT g FROM generate_series(1, 1000) g")
        await pod.told(throttled(0.0001))
        await went(client, "COMMIT")
        await pod.until(lambda: pod.used_units > 1000)
        await went(client, "BEGIN; SET LOCAL work_mem = '1MB'; SHOW work_mem; ROLLBACK")

    with_limits(body)
