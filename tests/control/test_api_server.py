"""The HTTP server: TLS that is replaced, and an end for whoever is too slow. Real sockets."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from control.api import server
from control.api.gate import is_for_good
from control.api.server import Limits, serve_http
from control.api.tls import ApiTls, Exposed, refuse_exposed
from control.authority import Authority
from dormouse.base.clock import SystemClock
from dormouse.base.tasks import spawn

_LIMITS = Limits(
    connections_max=100,
    connections_per_address=100,
    handshake_seconds=30.0,
    head_seconds=30.0,
    unread_seconds=30.0,
)
_SHORT = 0.2
_REQUEST = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"
_ANSWER = b"answered"


class _App:
    """Answers everybody; `large` with more than a socket holds, and `hold` when it is told to."""

    def __init__(self) -> None:
        self.size = len(_ANSWER)
        self.go = asyncio.Event()
        self.go.set()
        self.asked = asyncio.Semaphore(0)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        self.asked.release()
        await self.go.wait()
        headers = [(b"content-length", b"%d" % self.size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _ANSWER.ljust(self.size)})


class _Served:
    """The server, and ways to speak to it."""

    def __init__(self, app: _App, port: int) -> None:
        self.app = app
        self.port = port
        self.writers: list[asyncio.StreamWriter] = []

    async def open(
        self, context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = "localhost" if context is not None else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=name
        )
        self.writers.append(writer)
        return reader, writer

    async def ask(self, context: ssl.SSLContext | None = None) -> asyncio.StreamWriter:
        """One request and its answer; the connection, which stays."""
        reader, writer = await self.open(context)
        writer.write(_REQUEST)
        assert (await _answer(reader))[1] == _ANSWER
        return writer


@asynccontextmanager
async def _served(tls: ApiTls | None = None, **limits: Any) -> AsyncIterator[_Served]:
    app = _App()
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    async with serve_http(app, [listener], limits=replace(_LIMITS, **limits), tls=tls):
        served = _Served(app, port)
        try:
            yield served
        finally:
            app.go.set()
            for writer in served.writers:
                writer.transport.abort()


def _run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    uvloop.run(bounded())


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def _ended(reader: asyncio.StreamReader) -> bool:
    """Wait for the other side's end."""
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass
    return True


def _trickle(writer: asyncio.StreamWriter, text: bytes) -> "asyncio.Task[None]":
    """Send a byte now and then, for as long as it is taken."""

    async def send() -> None:
        for number in range(len(text)):
            writer.write(text[number : number + 1])
            await asyncio.sleep(_SHORT / 10)

    return asyncio.get_running_loop().create_task(send())


@pytest.mark.parametrize("is_first", [True, False])
def test_a_head_that_comes_byte_by_byte_has_an_end(is_first: bool) -> None:
    async def body() -> None:
        async with _served(head_seconds=_SHORT) as served:
            reader, writer = await served.open()
            if not is_first:
                writer.write(_REQUEST)
                assert (await _answer(reader))[0] == 200
            sending = _trickle(writer, b"GET / HTTP/1.1\r\nX: " + b"x" * 1000)
            status, document = await _answer(reader)
            assert (status, json.loads(document)["code"]) == (408, "head_timeout")
            assert await _ended(reader)
            sending.cancel()
            await served.ask()

    _run(body)


def test_who_says_nothing_has_an_end() -> None:
    async def body() -> None:
        async with _served(head_seconds=_SHORT) as served:
            crowd = [await served.open() for _ in range(50)]
            assert all([await _ended(reader) for reader, _ in crowd])
            await served.ask()

    _run(body)


def test_a_request_in_work_has_time(tmp_path: Path) -> None:
    async def body() -> None:
        async with _served(head_seconds=_SHORT) as served:
            served.app.go.clear()
            reader, writer = await served.open()
            writer.write(_REQUEST)
            await served.app.asked.acquire()
            # This one came later, and its end says that the time of the first would be over.
            silent, _ = await served.open()
            assert await _ended(silent)
            served.app.go.set()
            assert await _answer(reader) == (200, _ANSWER)

    _run(body)


@pytest.mark.parametrize(
    "head",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000, b"\x16\x03\x01\x02\x00\x01"],
    ids=["nonsense", "too large", "TLS"],
)
def test_what_is_no_http_is_told_so(head: bytes) -> None:
    async def body() -> None:
        async with _served() as served:
            reader, writer = await served.open()
            writer.write(head)
            status, document = await _answer(reader)
            assert (status, json.loads(document)["code"]) == (400, "bad_request")
            assert await _ended(reader)
            await served.ask()

    _run(body)


def test_a_body_that_turns_into_nonsense_ends_the_request() -> None:
    async def body() -> None:
        async with _served() as served:
            served.app.go.clear()
            reader, writer = await served.open()
            writer.write(b"POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n")
            await served.app.asked.acquire()
            writer.write(b"this is no chunk\r\n")
            assert (await _answer(reader))[0] == 400
            assert await _ended(reader)
            served.app.go.set()
            await served.ask()

    _run(body)


def test_two_requests_at_once_are_both_answered() -> None:
    async def body() -> None:
        async with _served() as served:
            reader, writer = await served.open()
            writer.write(_REQUEST + _REQUEST)
            assert [await _answer(reader) for _ in range(2)] == [(200, _ANSWER)] * 2

    _run(body)


@pytest.mark.parametrize("asks", [True, False])
def test_the_end_waits_for_who_has_just_come(monkeypatch: pytest.MonkeyPatch, asks: bool) -> None:
    monkeypatch.setattr(server, "_UNHEARD_SECONDS", 20.0 if asks else _SHORT)

    async def body() -> None:
        app, listener = _App(), socket.create_server(("127.0.0.1", 0))
        served = _Served(app, int(listener.getsockname()[1]))
        async with AsyncExitStack() as stack:
            running = serve_http(app, [listener], limits=_LIMITS, tls=None)
            await stack.enter_async_context(running)
            reader, writer = await served.open()
            (await served.ask()).transport.abort()  # so the one before it has been let in
            ending = spawn(stack.pop_all().aclose(), name="the server's end")
            await asyncio.wait({ending}, timeout=2 * _SHORT)
            if asks:
                writer.write(_REQUEST)
                assert (await _answer(reader))[1] == _ANSWER
            assert await _ended(reader)
            await ending
            writer.close()

    _run(body)


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    async def body() -> None:
        async with _served(unread_seconds=_SHORT) as served:
            served.app.size = 32 << 20
            reader, writer = await served.open()
            writer.write(_REQUEST)
            await served.app.asked.acquire()
            await asyncio.sleep(2 * _SHORT)  # reads nothing meanwhile
            received = 0
            try:
                while chunk := await reader.read(1 << 20):
                    received += len(chunk)
            except ConnectionError:
                pass
            assert received < served.app.size

    _run(body)


def test_a_crowd_pushes_itself_out_and_not_those_who_work() -> None:
    async def body() -> None:
        async with _served(connections_max=3) as served:
            served.app.go.clear()
            reader, writer = await served.open()
            writer.write(_REQUEST)
            await served.app.asked.acquire()
            crowd = [await served.open() for _ in range(6)]
            assert all([await _ended(silent) for silent, _ in crowd[:4]])
            served.app.go.set()
            assert await _answer(reader) == (200, _ANSWER)

    _run(body)


def test_where_all_work_the_newcomer_is_turned_away() -> None:
    async def body() -> None:
        async with _served(connections_per_address=2) as served:
            served.app.go.clear()
            pairs = [await served.open() for _ in range(2)]
            for _, writer in pairs:
                writer.write(_REQUEST)
                await served.app.asked.acquire()
            reader, _ = await served.open()
            assert await _ended(reader)
            served.app.go.set()
            assert [await _answer(each) for each, _ in pairs] == [(200, _ANSWER)] * 2
            await served.ask()

    _run(body)


def _issue(folder: Path, name: str = "localhost") -> tuple[ApiTls, Path]:
    authority = Authority.open(folder / "authority", SystemClock())
    authority.ensure_api(folder, ["localhost", name], ["127.0.0.1"])
    return _tls(folder), folder / "ca.crt"


def _tls(folder: Path) -> ApiTls:
    return ApiTls(folder, folder / "api.crt", folder / "api.key", SystemClock())


def test_over_tls_and_nothing_older_than_1_2(tmp_path: Path) -> None:
    tls, authority = _issue(tmp_path)

    async def body() -> None:
        async with _served(tls) as served:
            context = ssl.create_default_context(cafile=authority)
            writer = await served.ask(context)
            assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            old = ssl.create_default_context(cafile=authority)
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            writer = await served.ask(old)
            assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
            with pytest.raises(ssl.SSLCertVerificationError):
                await served.open(ssl.create_default_context())

    _run(body)


def test_a_handshake_that_does_not_come_has_an_end(tmp_path: Path) -> None:
    tls, authority = _issue(tmp_path)

    async def body() -> None:
        async with _served(tls, handshake_seconds=_SHORT) as served:
            silent, _ = await served.open()
            slow, writer = await served.open()
            writer.write(b"\x16\x03\x01")
            plain, writer = await served.open()
            writer.write(_REQUEST)
            assert [await _ended(each) for each in (silent, slow, plain)] == [True] * 3
            await served.ask(ssl.create_default_context(cafile=authority))

    _run(body)


def test_a_new_certificate_is_used_and_a_broken_one_is_not(tmp_path: Path) -> None:
    tls, authority = _issue(tmp_path)

    async def serial(served: _Served) -> bytes:
        writer = await served.ask(ssl.create_default_context(cafile=authority))
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return found

    async def body() -> None:
        async with _served(tls) as served:
            first = await serial(served)
            _issue(tmp_path, "other.example")  # made anew, for its names are others
            assert await serial(served) == first
            await tls.reload()
            second = await serial(served)
            assert second != first
            (tmp_path / "api.crt").write_text("nonsense")
            await tls.reload()
            assert await serial(served) == second
            _issue(tmp_path, "third.example")
            await tls.reload()
            assert await serial(served) not in (first, second)

    _run(body)


def test_a_key_that_wants_a_password_asks_nobody(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    _issue(tmp_path)
    file = tmp_path / "api.key"
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(OSError, match=r"(?i)password|decrypt|pem|ssl"):
        _tls(tmp_path)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
def test_others_are_not_answered_in_the_clear(address: str) -> None:
    with pytest.raises(Exposed, match="in the clear"):
        refuse_exposed(["127.0.0.1", address], has_tls=False, is_insecure=False)
    refuse_exposed([address], has_tls=True, is_insecure=False)
    refuse_exposed([address], has_tls=False, is_insecure=True)
    refuse_exposed(["127.0.0.1", "::1", "127.0.0.2"], has_tls=False, is_insecure=False)


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("https", b"gateway.example", True),
        ("https", b"gateway.example:8443", True),
        ("http", b"gateway.example", False),
        ("https", b"localhost:8443", False),
        ("https", b"shop-17.dormouse.localhost", False),
        ("https", b"192.0.2.1:8443", False),
        ("https", b"[2001:db8::1]:8443", False),
        ("https", b"[", False),
        ("https", b"", False),
    ],
)
def test_a_name_is_promised_to_stay_encrypted(scheme: str, host: bytes, expected: bool) -> None:
    scope = {"type": "http", "scheme": scheme, "headers": [(b"host", host)]}
    assert is_for_good(scope) is expected
