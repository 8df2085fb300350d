"""A pod's SQL listener under real drivers: pipelines, portals, cancel, time-outs, hostile bytes."""

import asyncio
import struct
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgwire import frontend
from pgwire.client import LoginClient
from pgwire.framing import FrameDecoder
from pgwire.notices import Notice, parse
from pgwire.startup import CancelRequest, StartupMessage
from sqlnode.config import PodLimits
from tests.support.pod import DATABASE, PASSWORD, USER, PodForTest, pod_running

Replies = list[tuple[str, bytes]]


class Wire:
    """A client that sends exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.login = LoginClient(USER, PASSWORD, b"n" * 18, DATABASE)
        self.decoder = FrameDecoder(small=frozenset())

    async def open(self, **parameters: str) -> "Wire":
        self.login.parameters = parameters
        self.writer.write(self.login.start())
        while not self.login.ready:
            data = await self.reader.read(65536)
            assert data
            self.writer.write(self.login.feed(data))
        return self

    def send(self, *messages: frontend.FrontendMessage) -> None:
        self.writer.write(b"".join(map(frontend.build, messages)))

    async def until(self, last: str = "Z") -> Replies:
        """Replies up to the next one of type `last`, or to the end of the stream."""
        got: Replies = []
        while True:
            while (frame := self.decoder.next()) is not None:
                got.append((chr(frame.kind), frame.body))
                if got[-1][0] == last:
                    return got
            data = await self.reader.read(65536)
            if not data:
                return got
            self.decoder.feed(data)


def kinds(replies: Replies) -> str:
    return "".join(kind for kind, _ in replies)


def error(replies: Replies) -> Notice:
    return next(parse(body) for kind, body in replies if kind == "E")


_opened: list[Wire] = []


async def connect(pod: PodForTest) -> Wire:
    _opened.append(Wire(*await asyncio.open_connection(pod.host, pod.port)))
    return _opened[-1]


async def hang_up() -> None:
    while _opened:
        writer = _opened.pop().writer
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def with_pod(body: Callable[[PodForTest], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with pod_running(Path(folder), **options) as pod:
                try:
                    await body(pod)
                finally:
                    await hang_up()

    asyncio.run(run())


def call(text: str, rows: int = 0) -> list[frontend.FrontendMessage]:
    return [
        frontend.Parse("", text, ()),
        frontend.Bind("", "", (), (), ()),
        frontend.Execute("", rows),
    ]


def test_a_pipeline_is_one_transaction_up_to_sync() -> None:
    async def body(pod: PodForTest) -> None:
        wire = await (await connect(pod)).open()
        wire.send(frontend.Query("CREATE TABLE t (a int PRIMARY KEY)"))
        await wire.until()
        insert, again = call("INSERT INTO t VALUES (1)"), call("INSERT INTO t VALUES (1)")
        wire.send(*insert, *again, *call("SELECT 1"), frontend.Sync())
        replies = await wire.until()
        assert kinds(replies) == "12C12EZ"
        assert error(replies).sqlstate == "23505"
        wire.send(frontend.Query("SELECT count(*) FROM t"))
        assert ("D", b"\0\x01\0\0\0\x010") in await wire.until()

    with_pod(body)


def test_what_follows_an_error_is_skipped_until_sync() -> None:
    async def body(pod: PodForTest) -> None:
        wire = await (await connect(pod)).open()
        wire.send(*call("SELECT nonsense"), *call("SELECT 1"), frontend.Query("SELECT 2"))
        wire.send(frontend.Sync(), *call("SELECT 3"), frontend.Sync())
        assert kinds(await wire.until()) == "EZ"
        assert kinds(await wire.until()) == "12DCZ"

    with_pod(body)


def test_a_portal_gives_its_rows_in_portions() -> None:
    async def body(pod: PodForTest) -> None:
        wire = await (await connect(pod)).open()
        wire.send(*call("SELECT g FROM generate_series(1, 5) g", rows=2))
        wire.send(frontend.Execute("", 2), frontend.Execute("", 2), frontend.Sync())
        replies = await wire.until()
        assert kinds(replies) == "12DDsDDsDCZ"
        assert ("C", b"SELECT 1\0") in replies

    with_pod(body)


def test_a_paused_portal_keeps_what_it_saw() -> None:
    async def body(pod: PodForTest) -> None:
        wire = await (await connect(pod)).open()
        wire.send(frontend.Query("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2), (3)"))
        await wire.until()
        wire.send(frontend.Query("BEGIN"))
        await wire.until()
        wire.send(frontend.Parse("s", "SELECT a FROM t ORDER BY a", ()))
        wire.send(frontend.Bind("p", "s", (), (), ()), frontend.Execute("p", 1), frontend.Sync())
        assert kinds(await wire.until()) == "12DsZ"
        wire.send(*call("DELETE FROM t"), frontend.Execute("p", 0), frontend.Sync())
        assert kinds(await wire.until()) == "12CDDCZ"

    with_pod(body)


def test_binary_both_ways() -> None:
    async def body(pod: PodForTest) -> None:
        wire = await (await connect(pod)).open()
        wire.send(
            frontend.Parse("", "SELECT $1::int8 + 1, $2::text", ()),
            frontend.Bind("", "", (1, 0), (struct.pack(">q", 41), b"x"), (1, 0)),
            frontend.Describe("P", ""),
            frontend.Execute("", 0),
            frontend.Sync(),
        )
        replies = dict(await wire.until())
        assert replies["D"] == b"\0\x02\0\0\0\x08" + struct.pack(">q", 42) + b"\0\0\0\x01x"

    with_pod(body)


def test_cancel_with_the_secret_only() -> None:
    async def body(pod: PodForTest) -> None:
        wire = await (await connect(pod)).open()
        pid, secret = wire.login.pid, wire.login.secret
        wire.send(frontend.Query("BEGIN; CREATE TABLE t (a int PRIMARY KEY); COMMIT"))
        await wire.until()
        wire.send(frontend.Query("INSERT INTO t VALUES (1)"))
        await wire.until()
        wire.send(frontend.Query("BEGIN; UPDATE t SET a = a WHERE a = 1"))
        await wire.until()
        waiting = await (await connect(pod)).open()
        waiting.send(frontend.Query("UPDATE t SET a = a WHERE a = 1"))
        while not pod.tenant.active:  # noqa: ASYNC110 - it begins in a moment
            await asyncio.sleep(0)
        assert not pod.tenant.cancel(waiting.login.pid, secret)
        for key in (secret, waiting.login.secret):
            other = await connect(pod)
            other.writer.write(CancelRequest(waiting.login.pid, key).build())
            assert await other.reader.read() == b""
        replies = await waiting.until()
        assert (error(replies).sqlstate, kinds(replies)) == ("57014", "EZ")
        waiting.send(frontend.Query("SELECT 1"))
        assert kinds(await waiting.until()) == "TDCZ"
        assert pid != waiting.login.pid

    with_pod(body)


def test_statement_timeout_reaches_a_waiting_statement() -> None:
    async def body(pod: PodForTest) -> None:
        holder, waiting = await (await connect(pod)).open(), await (await connect(pod)).open()
        holder.send(frontend.Query("CREATE TABLE t (a int PRIMARY KEY)"))
        await holder.until()
        holder.send(frontend.Query("INSERT INTO t VALUES (1)"))
        await holder.until()
        holder.send(frontend.Query("BEGIN; DELETE FROM t WHERE a = 1"))
        await holder.until()
        waiting.send(frontend.Query("SET statement_timeout = 20"))
        await waiting.until()
        waiting.send(frontend.Query("DELETE FROM t WHERE a = 1"))
        replies = await waiting.until()
        assert error(replies).message == "canceling statement due to statement timeout"
        waiting.send(frontend.Query("RESET statement_timeout"))
        assert kinds(await waiting.until()) == "CZ"

    with_pod(body)


@pytest.mark.parametrize(
    ("setting", "begin", "sqlstate"),
    [
        ("idle_session_timeout", "SELECT 1", "57P05"),
        ("idle_in_transaction_session_timeout", "BEGIN", "25P03"),
    ],
)
def test_idle_clients_are_ended(setting: str, begin: str, sqlstate: str) -> None:
    async def body(pod: PodForTest) -> None:
        wire = await (await connect(pod)).open(options=f"-c {setting}=50")
        wire.send(frontend.Query(begin))
        await wire.until()
        notice = error(await wire.until())
        assert (notice.severity, notice.sqlstate) == ("FATAL", sqlstate)

    with_pod(body)


def test_copy_that_fails_leaves_the_protocol_in_step() -> None:
    async def body(pod: PodForTest) -> None:
        wire = await (await connect(pod)).open()
        wire.send(frontend.Query("CREATE TABLE t (a int)"))
        await wire.until()
        copy = frontend.Query("COPY t FROM STDIN")
        wire.send(copy, frontend.CopyData(b"1\n2"), frontend.CopyData(b"2\n"), frontend.CopyDone())
        assert kinds(await wire.until()) == "GCZ"
        wire.send(copy, frontend.CopyData(b"x\n"), frontend.CopyData(b"3\n"), frontend.CopyDone())
        assert kinds(await wire.until()) == "GEZ"
        wire.send(copy, frontend.CopyFail("changed my mind"))
        assert error(await wire.until()).message == "COPY from stdin failed: changed my mind"
        wire.send(frontend.Query("SELECT a FROM t ORDER BY a"))
        assert [b[6:] for k, b in await wire.until() if k == "D"] == [b"1", b"22"]

    with_pod(body)


def test_newer_protocols_are_negotiated_down() -> None:
    async def body(pod: PodForTest) -> None:
        wire = await connect(pod)
        parameters = {"user": USER, "database": DATABASE}
        wire.writer.write(StartupMessage(parameters, 2, {"_pq_.magic": "on"}).build())
        kind, answer = (await wire.until("v"))[0]
        assert (kind, answer) == ("v", struct.pack(">II", 0, 1) + b"_pq_.magic\0")

    with_pod(body)


@pytest.mark.parametrize(
    ("data", "sqlstate"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "08P01"),
        (struct.pack(">II", 8, 2 << 16), "0A000"),
        (StartupMessage({"user": "x" * 63}).build() + b"Q\0\0\0\x05\0", "08P01"),
        (StartupMessage({"user": "x"}).build() + b"p\x7f\xff\xff\xff", "08P01"),
    ],
)
def test_hostile_bytes_end_their_own_connection(data: bytes, sqlstate: str) -> None:
    async def body(pod: PodForTest) -> None:
        wire = await connect(pod)
        wire.writer.write(data)
        assert error(await wire.until()).sqlstate == sqlstate
        fine = await (await connect(pod)).open()
        fine.send(frontend.Query("SELECT 1"))
        assert kinds(await fine.until()) == "TDCZ"

    with_pod(body)


def test_a_client_that_sends_ahead_is_not_read_without_end() -> None:
    async def body(pod: PodForTest) -> None:
        wire = await (await connect(pod)).open()
        count = 2000
        wire.send(*[frontend.Query("SELECT 1")] * count)
        for _ in range(count):
            assert kinds(await wire.until()) == "TDCZ"

    with_pod(body, limits=PodLimits(input_bytes_max=4096, output_bytes_max=4096))


def test_psycopg_with_parameters_and_transactions() -> None:
    def work(dsn: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE t (a int PRIMARY KEY, b text)")
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO t VALUES (%s, %s)", [(n, f"row {n}") for n in range(50)]
                )
            with connection.cursor(name="server") as named:
                named.itersize = 7
                named.execute("SELECT a, b FROM t WHERE a < %s ORDER BY a", (20,))
                assert len(list(named)) == 20
            with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
                connection.execute("INSERT INTO t VALUES (1, 'dup')")
            return connection.execute("SELECT count(*), max(b) FROM t").fetchall()

    async def body(pod: PodForTest) -> None:
        assert await asyncio.to_thread(work, pod.dsn) == [(50, "row 9")]
        while pod.tenant.sessions:  # noqa: ASYNC110 - they end in a moment
            await asyncio.sleep(0)
        assert pod.tenant.active == 0

    with_pod(body)
