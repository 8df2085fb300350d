"""A session on another pod is the same session: settings, statements, encoding, pid, cancel key."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from pgwire import frontend
from pgwire.link import GivenAway, Link, Purpose
from tests.support.linked import (
    Linked,
    Refusal,
    cancel,
    error,
    kinds,
    pods_running,
    rows_of,
)
from tests.support.pod import PodForTest

Body = Callable[[PodForTest, PodForTest], Awaitable[None]]


def with_pods(folder: Path, body: Body, **options: Any) -> None:
    async def run() -> None:
        async with pods_running(folder, 2, **options) as (here, there):
            await body(here, there)

    uvloop.run(run())


def test_settings_move_and_reset_leads_back_to_the_login(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(
            here, application_name="shop", options="-c work_mem=5MB -c my.color=red"
        )
        await client.query("SET work_mem = '9MB'; SET my.shade = 'dark'; SET TIME ZONE '+02'")
        await client.query(
            "SET search_path = other, public; SET default_transaction_read_only = on"
        )
        before = await client.rows("SHOW ALL")
        moved = await client.moved(there)
        assert await moved.rows("SHOW ALL") == before
        assert await moved.rows("SHOW my.shade") == [("dark",)]
        assert error(await moved.query("CREATE TABLE t (a int)")).sqlstate == "25006"
        await moved.query("RESET work_mem")
        assert await moved.rows("SHOW work_mem") == [("5MB",)]
        await moved.query("DISCARD ALL")
        assert await moved.rows("SHOW my.color") == [("red",)]
        assert await moved.rows("SHOW application_name") == [("shop",)]
        assert await moved.rows("SHOW TimeZone") == [("Etc/UTC",)]

    with_pods(tmp_path, body, settings={"statement_timeout": "1h"})


def test_currval_and_lastval_move(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        await client.query(
            "CREATE SEQUENCE s CACHE 10; CREATE SEQUENCE other; CREATE SEQUENCE gone"
        )
        await client.query("SELECT nextval('other'), nextval('gone'), nextval('s')")
        await client.query("DROP SEQUENCE gone")
        moved = await client.moved(there)
        assert await moved.rows("SELECT currval('s'), currval('other'), lastval()") == [
            ("1", "1", "1")
        ]
        # What the session had cached of it is skipped.
        assert await moved.rows("SELECT nextval('s'), lastval()") == [("11", "11")]
        again = await moved.moved(here)
        assert await again.rows("SELECT currval('s'), currval('other')") == [("11", "1")]

    with_pods(tmp_path, body)


def test_what_was_set_for_a_transaction_only_does_not_move(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        await client.query("BEGIN; SET LOCAL work_mem = '9MB'; SET enable_sort = off; COMMIT")
        await client.query("BEGIN; SET work_mem = '10MB'; ROLLBACK")
        moved = await client.moved(there)
        assert await moved.rows("SHOW work_mem") == [("4MB",)]
        assert await moved.rows("SHOW enable_sort") == [("off",)]

    with_pods(tmp_path, body)


def test_prepared_statements_move_however_they_were_made(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        await client.query("CREATE TABLE t (a int PRIMARY KEY, b text)")
        await client.query("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
        await client.query("PREPARE by_sql (int) AS SELECT b FROM t WHERE a = $1")
        client.send(
            frontend.Parse("by_parse", "SELECT a, $2 FROM t WHERE b = $1", (0, 25)),
            frontend.Parse("empty", "", ()),
            frontend.Parse("", "SELECT 'unnamed ' || $1", ()),
            frontend.Sync(),
        )
        await client.until()
        moved = await client.moved(there)
        moved.send(
            frontend.Bind("", "", (), (b"moved",), ()),
            frontend.Execute("", 0),
            frontend.Describe("S", "by_parse"),
            frontend.Bind("", "by_parse", (), (b"two", b"x"), ()),
            frontend.Execute("", 0),
            frontend.Bind("", "empty", (), (), ()),
            frontend.Execute("", 0),
            frontend.Sync(),
        )
        replies = await moved.until()
        assert kinds(replies) == "2DCtT2DC2IZ"
        assert dict(replies)["t"] == b"\0\x02\0\0\0\x19\0\0\0\x19"
        assert rows_of(replies) == [("unnamed moved",), ("2", "x")]
        assert await moved.rows("EXECUTE by_sql(1)") == [("one",)]
        again = await moved.moved(here)  # a line that was never looked at moves on as it is
        assert await again.rows("EXECUTE by_sql(2)") == [("two",)]
        assert error(await again.query("PREPARE by_sql AS SELECT 1")).sqlstate == "42P05"
        await again.query("DEALLOCATE by_sql")
        assert error(await again.query("EXECUTE by_sql(1)")).sqlstate == "26000"

    with_pods(tmp_path, body)


def test_a_statement_whose_table_has_changed_fails_when_it_is_used(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        await client.query("CREATE TABLE gone (a int); CREATE TABLE wider (a int)")
        client.send(
            frontend.Parse("g", "SELECT * FROM gone", ()),
            frontend.Parse("w", "SELECT * FROM wider", ()),
            frontend.Parse("n", "SELECT a FROM wider", ()),
            frontend.Sync(),
        )
        await client.until()
        other = await Linked.open(here)
        await other.query("DROP TABLE gone; ALTER TABLE wider ADD COLUMN b int")
        moved = await client.moved(there)
        for name, sqlstate, text in (
            ("g", "42P01", 'relation "gone" does not exist'),
            ("w", "0A000", "cached plan must not change result type"),
        ):
            for _ in range(2):
                moved.send(frontend.Bind("", name, (), (), ()), frontend.Sync())
                replies = await moved.until()
                assert kinds(replies) == "EZ"
                assert (error(replies).sqlstate, error(replies).message) == (sqlstate, text)
        moved.send(frontend.Bind("", "n", (), (), ()), frontend.Execute("", 0), frontend.Sync())
        assert kinds(await moved.until()) == "2CZ"
        await moved.query("BEGIN")
        await moved.query("SELECT nonsense")
        moved.send(frontend.Bind("", "w", (), (), ()), frontend.Sync())
        assert error(await moved.until()).sqlstate == "25P02"

    with_pods(tmp_path, body)


def test_the_client_encoding_moves(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here, client_encoding="LATIN1")
        client.send(
            b"Q\0\0\0\x28" + "PREPARE umlaut AS SELECT 'größe'::text".encode("latin-1")[:35]
        )
        await client.close()
        client = await Linked.open(here, client_encoding="LATIN1")
        text = "PREPARE umlaut AS SELECT 'größe'::text".encode("latin-1") + b"\0"
        client.send(b"Q" + (len(text) + 4).to_bytes(4, "big") + text)
        assert kinds(await client.until()) == "CZ"
        moved = await client.moved(there)
        (row,) = [body for kind, body in await moved.query("EXECUTE umlaut") if kind == "D"]
        assert row.endswith("größe".encode("latin-1"))

    with_pods(tmp_path, body)


def test_the_client_keeps_its_pid_and_its_cancel_key(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        assert client.link is not None
        assert (client.pid, client.secret) == (client.link.pid, client.link.cancel_secret)
        await client.query("CREATE TABLE t (a int PRIMARY KEY)")
        await client.query("INSERT INTO t VALUES (1)")
        moved = await client.moved(there)
        assert (moved.pid, moved.secret) == (client.pid, client.secret)
        assert await moved.rows("SELECT pg_backend_pid()") == [(str(client.pid),)]
        holder = await Linked.open(there)
        await holder.query("BEGIN; UPDATE t SET a = a WHERE a = 1")
        moved.send(frontend.Query("UPDATE t SET a = a WHERE a = 1"))
        while not there.tenant.active:  # noqa: ASYNC110 - it begins in a moment
            await asyncio.sleep(0)
        await cancel(here, moved.pid, moved.secret)
        await cancel(there, moved.pid, b"\0\0\0\0")
        await cancel(there, moved.pid, moved.secret)
        replies = await moved.until()
        assert (kinds(replies), error(replies).sqlstate) == ("EZ", "57014")

    with_pods(tmp_path, body)


def test_a_pid_that_is_taken_gives_way_to_another(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        first, second = await Linked.open(here, Link.new(77)), await Linked.open(here, Link.new(77))
        assert first.pid == 77 != second.pid
        await Linked.open(there, Link.new(77))
        moved = await first.moved(there)
        assert moved.pid not in (0, 77)
        third = await second.moved(there)
        assert third.pid == second.pid

    with_pods(tmp_path, body)


def test_a_session_that_has_gone_is_gone_at_once_and_was_no_activity(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        await client.query("SELECT 1")
        idle_since, arrived = here.tenant.idle_since, there.tenant.idle_since
        given = await client.give_away(Purpose.PARK)
        assert isinstance(given, GivenAway)
        assert not here.tenant.sessions
        await client.close()
        while here.server.connections:  # noqa: ASYNC110 - it is closed in a moment
            await asyncio.sleep(0)
        assert client.link is not None
        resumed = await Linked.resume(there, client.link, given.sealed)
        assert (here.tenant.idle_since, there.tenant.idle_since) == (idle_since, arrived)
        await resumed.query("SELECT 1")
        assert there.tenant.idle_since > arrived

    with_pods(tmp_path, body)


def test_a_hundred_moves_there_and_back(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        await client.query("PREPARE plus (int) AS SELECT $1 + 1")
        for turn in range(100):
            client = await client.moved((there, here)[turn % 2])
            await client.query(f"SET my.turn = {turn}")
            assert await client.rows(f"EXECUTE plus({turn})") == [(str(turn + 1),)]
        assert await client.rows("SHOW my.turn") == [("99",)]
        assert len(here.tenant.sessions) == 1

    with_pods(tmp_path, body)


def test_many_statements_move_but_have_no_checkpoint(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        filler = "x" * 2000
        for number in range(50):
            client.send(frontend.Parse(f"s{number}", f"SELECT {number} -- {filler}", ()))
        client.send(frontend.Sync())
        await client.until()
        assert client.checkpoint is None
        assert client.frames[-1].reason == "it has too much state to move"  # type: ignore[union-attr]
        moved = await client.moved(there)
        assert moved.checkpoint is None
        moved.send(frontend.Bind("", "s49", (), (), ()), frontend.Execute("", 0), frontend.Sync())
        assert rows_of(await moved.until()) == [("49",)]
        await moved.query("DEALLOCATE ALL")
        assert moved.checkpoint is not None

    with_pods(tmp_path, body)


def test_a_new_server_version_is_told_after_the_move(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        session = here.tenant.sessions[client.pid]
        session.told = {**session.told, "server_version": "14.2"}
        moved = await client.moved(there)
        replies = await moved.query("SELECT 1")
        assert dict(replies)["S"].startswith(b"server_version\x0015.")
        assert kinds(await moved.query("SELECT 1")) == "TDCZ"

    with_pods(tmp_path, body)


def test_more_sessions_than_the_limit_may_be_resumed(tmp_path: Path) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        client = await Linked.open(here)
        await Linked.open(there)
        await client.moved(there)
        with pytest.raises(Refusal, match="53300"):
            await Linked.open(there)

    with_pods(tmp_path, body, sessions_max=1)
