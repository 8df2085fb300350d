"""The proxy over real sockets and TLS; psycopg and raw bytes as clients, pods of our own."""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import uvloop

from pgwire import notices
from pgwire.framing import FrameDecoder
from pgwire.startup import (
    GSSENC_REQUEST,
    SSL_REQUEST,
    CancelRequest,
    StartupMessage,
)
from proxy import metrics
from proxy.config import ProxyLimits
from tests.proxy.doubles import PASSWORD, FakePod, Setup, proxied

Body = Callable[[Setup], Coroutine[Any, Any, None]]


def run(folder: Path, body: Body, limits: ProxyLimits | None = None, **how: Any) -> None:
    async def main() -> None:
        async with proxied(folder, limits, **how) as setup:
            await body(setup)

    uvloop.run(main())


async def connect(setup: Setup, **overrides: str) -> "psycopg.AsyncConnection[Any]":
    return await psycopg.AsyncConnection.connect(setup.conninfo(**overrides), autocommit=True)


async def query(connection: "psycopg.AsyncConnection[Any]", text: str) -> list[Any]:
    cursor = psycopg.AsyncClientCursor(connection)
    await cursor.execute(text.encode())
    return await cursor.fetchall()


async def refusal(setup: Setup, **overrides: str) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        await connect(setup, **overrides)
    return str(caught.value)


# Routing, end to end


def test_a_sleeping_tenant_is_woken_and_served(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with await connect(setup) as connection:
            assert await query(connection, "select 1") == [("1",)]
        assert setup.plane.wakes == 1
        assert setup.pod.startups[0].parameters["user"] == "demo"

    run(tmp_path, body, asleep=True)


def test_every_inherited_socket_is_served(tmp_path: Path) -> None:
    # 127.0.0.2 stands for ::1, which a machine need not have.
    sockets = [socket.create_server((f"127.0.0.{last}", 0)) for last in (1, 2)]
    addresses = [each.getsockname() for each in sockets]

    async def body(setup: Setup) -> None:
        for host, port in addresses:
            async with await connect(setup, host=host, port=str(port)) as connection:
                assert await query(connection, "select 1") == [("1",)]

    run(tmp_path, body, listen_fds=tuple(each.detach() for each in sockets))


@pytest.mark.parametrize(
    ("form", "overrides"),
    [
        ("options", {"user": "demo", "options": "--tenant=demo-17"}),
        ("database", {"user": "demo", "dbname": "demo-17.demo"}),
        ("sni", {"user": "demo", "host": "demo-17.localhost", "hostaddr": "127.0.0.1"}),
        ("user", {"dbname": ""}),
    ],
)
def test_every_form_reaches_the_pod(tmp_path: Path, form: str, overrides: dict[str, str]) -> None:
    async def body(setup: Setup) -> None:
        before = metrics.ROUTED.labels(form)._value.get()
        async with await connect(setup, **overrides) as connection:
            assert await query(connection, "select 1") == [("1",)]
        parameters = setup.pod.startups[0].parameters
        assert parameters["user"] == "demo"
        assert parameters.get("database", "demo") == "demo"
        assert "tenant" not in parameters.get("options", "")
        assert setup.plane.wakes == 0
        assert metrics.ROUTED.labels(form)._value.get() == before + 1

    run(tmp_path, body)


def test_errors_say_what_is_wrong_and_no_more(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        assert "connections without TLS" in await refusal(setup, sslmode="disable")
        assert "names no tenant" in await refusal(setup, user="demo")
        assert "--tenant=<name>-<id>" in await refusal(setup, user="demo")
        assert "two different tenants" in await refusal(setup, options="--tenant=demo-18")
        wrong_id = await refusal(setup, user="demo.demo-18")
        wrong_name = await refusal(setup, user="demo.damo-17")
        assert "there is no such tenant" in wrong_id
        assert wrong_id == wrong_name
        assert "wrong password" in await refusal(setup, password="x")
        assert setup.plane.wakes == 0

    run(tmp_path, body)


def test_libpq_settles_for_tls_by_itself(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with await connect(setup, sslmode="prefer", gssencmode="prefer") as connection:
            assert connection.pgconn.ssl_in_use

    run(tmp_path, body)


# The opening, byte by byte


async def raw(setup: Setup, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", setup.port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.02)
    data = await reader.read()
    writer.close()
    return data


def sqlstate_of(data: bytes) -> str:
    frames = FrameDecoder()
    frames.feed(data)
    frame = frames.next()
    assert frame is not None
    assert frame.kind == ord("E")
    return notices.parse(frame.body).sqlstate


def test_a_startup_in_the_clear_is_refused_in_the_clear(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        startup = StartupMessage({"user": "demo.demo-17"}).build()
        assert sqlstate_of(await raw(setup, startup)) == "28000"
        assert sqlstate_of(await raw(setup, startup[:3], startup[3:9], startup[9:])) == "28000"
        answer = await raw(setup, GSSENC_REQUEST, startup)
        assert answer[:1] == b"N"
        assert sqlstate_of(answer[1:]) == "28000"

    run(tmp_path, body)


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x04....", b"\xff" * 8, GSSENC_REQUEST * 5]
)
def test_nonsense_is_a_protocol_violation(tmp_path: Path, junk: bytes) -> None:
    async def body(setup: Setup) -> None:
        answer = (await raw(setup, junk)).lstrip(b"N")
        assert sqlstate_of(answer) == "08P01"

    run(tmp_path, body)


def test_bytes_smuggled_behind_an_ssl_request_never_count(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        startup = StartupMessage({"user": "demo.demo-17"}).build()
        answer = await raw(setup, SSL_REQUEST + startup)
        # The startup message goes to the TLS handshake, which fails.
        assert answer[:1] == b"S"
        assert setup.pod.startups == []

    run(tmp_path, body)


def _tls(setup: Setup, *, alpn: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(setup.ca))
    if alpn:
        context.set_alpn_protocols(["postgresql"])
    return context


@pytest.mark.parametrize("alpn", [True, False])
def test_direct_tls_needs_alpn(tmp_path: Path, alpn: bool) -> None:
    async def body(setup: Setup) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            setup.port,
            ssl=_tls(setup, alpn=alpn),
            server_hostname="proxy.dormouse.internal",
        )
        writer.write(StartupMessage({"user": "demo.demo-17"}).build())
        data = await reader.read(1000)
        if alpn:
            assert data[:1] == b"R"
        else:
            assert sqlstate_of(data) == "08P01"
        writer.close()

    run(tmp_path, body)


def test_a_client_that_says_nothing_is_ended_in_time(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        assert sqlstate_of(await raw(setup)) == "57014"

    run(tmp_path, body, ProxyLimits(startup_timeout=0.3))


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with await connect(setup), await connect(setup):
            assert "too many clients" in await refusal(setup)
        # The places are free again once the proxy has seen the clients go.
        for _ in range(200):
            try:
                async with await connect(setup):
                    return
            except psycopg.OperationalError:
                await asyncio.sleep(0.02)
        raise AssertionError("no place was ever free again")

    run(tmp_path, body, ProxyLimits(connections_max=2))


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


async def raw_session(
    setup: Setup,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Logged in, with what the server has said so far."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        setup.port,
        ssl=_tls(setup, alpn=True),
        server_hostname="proxy.dormouse.internal",
    )
    writer.write(StartupMessage({"user": "demo.demo-17"}).build())
    writer.write(_message(b"p", PASSWORD.encode() + b"\0"))
    return reader, writer, await reader.readuntil(b"Z\0\0\0\x05I")


# Cancel


def test_a_cancel_request_reaches_its_session(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with await connect(setup) as bystander, await connect(setup) as connection:
            sleeping = asyncio.gather(query(connection, "sleep"), return_exceptions=True)
            await asyncio.sleep(0.05)
            await connection.cancel_safe(timeout=20)
            (outcome,) = await sleeping
            assert isinstance(outcome, psycopg.errors.QueryCanceled)
            assert await query(connection, "select 1") == [("1",)]
            assert await query(bystander, "select 1") == [("1",)]

    run(tmp_path, body)


def test_a_cancel_request_in_the_clear_works_and_a_guess_does_nothing(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        reader, writer, greeting = await raw_session(setup)
        writer.write(_message(b"Q", b"sleep\0"))
        key = greeting[greeting.index(b"K\0\0\0\x0c") + 5 :][:8]
        pid, secret = int.from_bytes(key[:4], "big"), key[4:]
        guess = b"\0\0\0\x01"  # the pod's own
        assert secret != guess
        answer = asyncio.gather(reader.readuntil(b"Z\0\0\0\x05I"))
        assert await raw(setup, CancelRequest(pid, guess).build()) == b""
        assert not answer.done()
        assert await raw(setup, CancelRequest(pid, secret).build()) == b""
        assert sqlstate_of((await answer)[0]) == "57014"
        writer.close()

    run(tmp_path, body)


# Pods that come and go


def test_a_pod_that_refuses_is_replaced_by_a_woken_one(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        other = FakePod()
        await other.start()
        setup.pod.refuse = "57P03"
        setup.plane.sleeping[17] = [other]
        async with await connect(setup) as connection:
            assert await query(connection, "select 1") == [("1",)]
        assert len(other.startups) == 1
        other.stop()

    run(tmp_path, body)


@pytest.mark.parametrize("gone", ["stopped", "another tenant's"])
def test_a_pod_that_is_not_there_is_replaced(tmp_path: Path, gone: str) -> None:
    async def body(setup: Setup) -> None:
        good, bad = setup.pod, FakePod(identity=18)
        await bad.start()
        if gone == "stopped":
            bad.stop()
        setup.plane.running[17] = [bad]
        setup.plane.sleeping[17] = [good]
        await setup.publish()
        async with await connect(setup) as connection:
            assert await query(connection, "select 1") == [("1",)]
        assert bad.startups == []
        assert setup.plane.wakes == 1
        bad.stop()

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("code", "sqlstate"),
    [
        (grpc.StatusCode.UNAVAILABLE, "57P03"),
        (grpc.StatusCode.NOT_FOUND, "08004"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "53300"),
    ],
)
def test_a_failed_wake_is_told_by_its_sqlstate(
    tmp_path: Path, code: grpc.StatusCode, sqlstate: str
) -> None:
    async def body(setup: Setup) -> None:
        setup.plane.wake_fails = code
        context = _tls(setup, alpn=True)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", setup.port, ssl=context, server_hostname="proxy.dormouse.internal"
        )
        writer.write(StartupMessage({"user": "demo.demo-17"}).build())
        assert sqlstate_of(await reader.read()) == sqlstate
        writer.close()

    run(tmp_path, body, asleep=True)


def test_a_running_tenant_needs_neither_control_nor_autoscaler(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with await connect(setup):
            pass
        await setup.plane.stop()
        async with await connect(setup) as connection:
            assert await query(connection, "select 1") == [("1",)]

    run(tmp_path, body)


def test_a_pod_lost_between_messages_is_told_and_a_torn_row_is_not_mended(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        connection = await connect(setup)
        with pytest.raises(psycopg.OperationalError) as caught:
            await query(connection, "die")
        assert caught.value.sqlstate == "57P01"
        await connection.close()
        connection = await connect(setup)
        with pytest.raises(psycopg.OperationalError) as caught:
            await query(connection, "tear")
        assert caught.value.sqlstate is None
        await connection.close()

    run(tmp_path, body)


def test_a_goodbye_is_answered_by_silence(tmp_path: Path) -> None:
    # node-postgres takes anything after its Terminate for an error of the session.
    async def body(setup: Setup) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            setup.port,
            ssl=_tls(setup, alpn=True),
            server_hostname="proxy.dormouse.internal",
        )
        writer.write(StartupMessage({"user": "demo.demo-17", "database": "demo"}).build())
        writer.write(struct.pack("!cI", b"p", len(PASSWORD) + 5) + PASSWORD.encode() + b"\0")
        await reader.readuntil(b"Z\x00\x00\x00\x05I")
        writer.write(b"X\x00\x00\x00\x04")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()

    run(tmp_path, body)


def test_when_the_proxy_ends_clients_get_57p01(tmp_path: Path) -> None:
    async def main() -> None:
        async with proxied(tmp_path) as setup:
            connection = await connect(setup)
        with pytest.raises(psycopg.OperationalError) as caught:
            await query(connection, "select 1")
        assert caught.value.sqlstate == "57P01"
        await connection.close()

    uvloop.run(main())


# Much data


class SlowReader(threading.Thread):
    """A client that asks for much and does not read until told to."""

    def __init__(self, setup: Setup, statement: bytes) -> None:
        super().__init__()
        self._setup = setup
        self._statement = statement
        self.asked = threading.Event()
        self.read_on = threading.Event()
        self.received = 0

    def run(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self._setup.port))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        plain.sendall(SSL_REQUEST)
        assert plain.recv(1) == b"S"
        context = _tls(self._setup, alpn=False)
        with context.wrap_socket(plain, server_hostname="proxy.dormouse.internal") as client:
            client.sendall(StartupMessage({"user": "demo.demo-17"}).build())
            client.sendall(_message(b"p", PASSWORD.encode() + b"\0"))
            client.sendall(_message(b"Q", self._statement + b"\0"))
            self.asked.set()
            self.read_on.wait(60)
            tail = b""
            while not tail.endswith(b"SELECT 1\0Z\0\0\0\x05I"):
                data = client.recv(1 << 16)
                self.received += len(data)
                tail = (tail + data)[-32:]


def test_a_slow_reader_costs_bounded_memory(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        reader = SlowReader(setup, b"rows 40000")
        reader.start()
        await asyncio.to_thread(reader.asked.wait, 60)
        await asyncio.sleep(1.0)
        resident = _anonymous_bytes()
        reader.read_on.set()
        await asyncio.to_thread(reader.join, 60)
        assert reader.received > 40_000_000
        # The 40 MB were never in this process, which holds pod, proxy and client.
        assert resident - before < 20_000_000

    before = _anonymous_bytes()
    run(tmp_path, body)


def _anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def test_much_data_in(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        _, writer, _ = await raw_session(setup)
        writer.write(_message(b"Q", b"copy\0"))
        piece = _message(b"d", b"y" * 10_000)
        for _ in range(2000):
            writer.write(piece)
            await writer.drain()
        for _ in range(2000):
            if setup.pod.copied == 20_000_000:
                break
            await asyncio.sleep(0.01)
        assert setup.pod.copied == 20_000_000
        writer.close()

    run(tmp_path, body)
