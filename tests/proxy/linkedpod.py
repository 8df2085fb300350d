"""A pod whose sessions can leave, and a client that says exactly what it is told to."""

import asyncio
import json
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from pgwire import backend, notices
from pgwire.framing import FrameDecoder
from pgwire.link import (
    KIND,
    LINK_OPTION,
    RESUME_OPTION,
    Checkpoint,
    GivenAway,
    Held,
    Link,
    Refused,
)
from pgwire.startup import CancelRequest, StartupDecoder, StartupMessage
from tests.proxy.doubles import PASSWORD, FakePod, Setup, next_frame, some
from tests.support.waiting import GUARD_SECONDS

FIELD = backend.Field("value", 0, 0, 25, -1, -1, 0)


class Ended(Exception):
    """The session is over."""


class LinkedPod(FakePod):
    """Every statement is answered with its number in the session and its text.

    The number is the session's state: it goes on where the session goes. `begin` and `commit` make
    a transaction, `hold` and `release` tie it to the pod, `nap` takes 0.2 s, `sleep` waits for a
    cancel request, `last` sends a FATAL error, `rows N` N rows of 1 kB.
    """

    def __init__(self, tenant: int = 17) -> None:
        super().__init__(tenant)
        self.sessions: list[LinkedSession] = []
        """Those that are open."""
        self.resumed = 0
        self.refuses_to_give = ""
        self.dies_when = ""
        """When it loses all connections at once: asked, resumed, or ready (just behind it)."""
        self.takes_up = asyncio.Event()
        """Until it is set, a session that is to be taken up gets no answer."""
        self.takes_up.set()
        self.own_pids = False
        """It does not take the pid that a link asks for."""
        self.padding = 0
        """Bytes by which states are longer."""
        self.keys: dict[tuple[int, bytes], LinkedSession] = {}

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        startup = StartupDecoder()
        while (packet := startup.next()) is None:
            startup.feed(await some(reader))
        if isinstance(packet, CancelRequest):
            if found := self.keys.get((packet.pid, packet.secret)):
                found.cancelled.set()
            return
        assert isinstance(packet, StartupMessage)
        self.startups.append(packet)
        frames = FrameDecoder()
        frames.feed(startup.rest())
        session = LinkedSession(self, packet, frames, reader, writer)
        try:
            await session.run()
        except Ended:
            await writer.drain()
        finally:
            session.forget()

    def die(self) -> None:
        """As by kill -9: nobody listens, and all connections are reset."""
        self.stop()


class LinkedSession:
    """One session of such a pod."""

    def __init__(
        self,
        pod: LinkedPod,
        startup: StartupMessage,
        frames: FrameDecoder,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.pod = pod
        self.cancelled = asyncio.Event()
        self.number = 0
        self.link = Link.parse(startup.protocol_options[LINK_OPTION])
        self._resumes = startup.protocol_options.get(RESUME_OPTION) == "on"
        self._user = startup.parameters["user"]
        self._frames = frames
        self._reader = reader
        self._writer = writer
        self._status = "I"
        self._held = ""
        self._text = ""
        self._open = False
        self._copying = False
        pid = 4321 if pod.own_pids else self.link.pid
        secret = b"real" if pod.own_pids else self.link.cancel_secret
        self._key = (pid, secret)

    async def run(self) -> None:
        if self.pod.refuse:
            self._fatal(self.pod.refuse)
        if self._resumes:
            await self._resume()
        else:
            await self._log_in()
        self.pod.sessions.append(self)
        self.pod.keys[self._key] = self
        self._send(
            backend.AUTHENTICATION_OK
            + backend.parameter_status("server_version", "15.0")
            + backend.parameter_status("client_encoding", "UTF8")
            + backend.backend_key_data(*self._key)
        )
        self._ready()
        if self._resumes and self.pod.dies_when == "ready":
            self.pod.dies_when = ""
            await self._writer.drain()
            self.pod.hang_up()
        while True:
            frame = await next_frame(self._frames, self._reader)
            await self._handle(frame.kind, frame.body)

    def forget(self) -> None:
        if self in self.pod.sessions:
            self.pod.sessions.remove(self)
        self.pod.keys.pop(self._key, None)

    async def _log_in(self) -> None:
        self._send(backend.authentication_cleartext())
        password = (await next_frame(self._frames, self._reader)).body.rstrip(b"\0").decode()
        if password != PASSWORD:
            self._fatal("28P01")

    async def _resume(self) -> None:
        frame = await next_frame(self._frames, self._reader)
        assert frame.kind == KIND
        await self.pod.takes_up.wait()
        if self.pod.dies_when == "resumed":
            self.pod.die()
        state = json.loads(frame.body.rstrip(b" "))
        if state["user"] != self._user:
            self._fatal("28000")
        self.number = state["number"]
        self.pod.resumed += 1

    async def _handle(self, kind: int, body: bytes) -> None:
        match chr(kind):
            case "X":
                raise Ended
            case "M":
                await self._give_away(body)
            case "Q":
                await self._statement(body.rstrip(b"\0").decode())
                if not self._copying:
                    self._ready()
            case "P":
                self._open = True
                self._text = body.split(b"\0")[1].decode()
                self._send(backend.PARSE_COMPLETE)
            case "B":
                self._send(backend.BIND_COMPLETE)
            case "E":
                await self._statement(self._text)
            case "S":
                self._open = False
                self._ready()
            case "d":
                self.pod.copied += len(body)
            case "c":
                self._copying = False
                self._send(backend.command_complete("COPY 1"))
                self._ready()

    async def _statement(self, text: str) -> None:
        self.number += 1
        if text in ("begin", "commit"):
            self._status = "T" if text == "begin" else "I"
        elif text in ("hold", "release"):
            self._held = "it is held" if text == "hold" else ""
        elif text == "nap":
            await asyncio.sleep(0.2)
        elif text == "sleep":
            await self.cancelled.wait()
            self.cancelled.clear()
            self._send(notices.error_response(notices.Notice("ERROR", "57014", "canceled")))
            return
        elif text == "last":
            self._fatal("57P01")
        elif text == "copy":
            self._copying = True
            self._send(backend.copy_in_response(1))
            return
        elif text.startswith("rows "):
            await self._rows(int(text[5:]))
            return
        self._send(backend.data_rows([backend.cells([f"{self.number}:{text}".encode()])], 1))
        self._send(backend.command_complete("SELECT 1"))

    async def _rows(self, count: int) -> None:
        batch = backend.data_rows([backend.cells([b"x" * 1000] * 100)], 100)
        for _ in range(count // 100):
            self._writer.write(batch)
            await self._writer.drain()
        self._send(backend.command_complete(f"SELECT {count}"))

    def _ready(self) -> None:
        if self._status == "I":
            frame = Held(self._held) if self._held else Checkpoint(self._state())
            self._send(frame.build())
        self._send(backend.ready_for_query(self._status))

    async def _give_away(self, body: bytes) -> None:
        self.link.purpose_of(body)
        if self.pod.dies_when == "asked":
            self.pod.die()
            raise ConnectionResetError
        reason = self.pod.refuses_to_give or self._held
        if self._status != "I":
            reason = "a transaction is open"
        elif self._open or self._copying:
            reason = "a pipeline is open"
        if reason:
            self._send(Refused(reason).build())
            return
        self._send(GivenAway(self._state()).build())
        raise Ended

    def _state(self) -> bytes:
        state = json.dumps({"user": self._user, "number": self.number})
        return state.encode() + b" " * self.pod.padding

    def _fatal(self, sqlstate: str) -> None:
        self._send(notices.error_response(notices.Notice("FATAL", sqlstate, "not now")))
        raise Ended

    def _send(self, data: bytes) -> None:
        self._writer.write(data)


class Client:
    """A connection to the proxy, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.greeting = b""

    @property
    def key(self) -> CancelRequest:
        """What it was told at login."""
        at = self.greeting.index(b"K\0\0\0\x0c") + 5
        return CancelRequest(
            int.from_bytes(self.greeting[at : at + 4], "big"), self.greeting[at + 4 : at + 8]
        )

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(GUARD_SECONDS):
            return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        """All until the end of the connection."""
        async with asyncio.timeout(GUARD_SECONDS):
            return await self.reader.read()

    async def ask(self, text: str) -> str:
        """One statement; its answer."""
        self.send(query(text))
        return answer_of(await self.until(b"Z\0\0\0\x05I"))

    def read_nothing(self) -> None:
        """From now on; what comes stays in the socket and before it."""
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    def read_on(self) -> None:
        cast("asyncio.Transport", self.writer.transport).resume_reading()

    async def idle(self) -> bool:
        """Whether the proxy has said nothing for a moment, and the connection is open."""
        try:
            async with asyncio.timeout(0.05):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


def query(text: str) -> bytes:
    return message(b"Q", text.encode() + b"\0")


def pipeline(text: str) -> bytes:
    """The same in the extended protocol."""
    return (
        message(b"P", b"\0" + text.encode() + b"\0\0\0")
        + message(b"B", b"\0" * 8)
        + message(b"E", b"\0" * 5)
        + message(b"S")
    )


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def frames_of(data: bytes) -> list[tuple[str, bytes]]:
    decoder = FrameDecoder()
    decoder.feed(data)
    frames = []
    while (frame := decoder.next()) is not None:
        frames.append((chr(frame.kind), frame.body))
    assert decoder.buffered == 0
    return frames


def answer_of(data: bytes) -> str:
    """The value of the one row, or the SQLSTATE of the error."""
    for kind, body in frames_of(data):
        if kind == "D":
            return body[6:].decode()
        if kind == "E":
            return notices.parse(body).sqlstate
    return ""


@asynccontextmanager
async def client(setup: Setup, early: bytes = b"") -> AsyncIterator[Client]:
    """Logged in. `early`: sent with the password."""
    context = ssl.create_default_context(cafile=str(setup.ca))
    context.set_alpn_protocols(["postgresql"])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        setup.port,
        ssl=context,
        server_hostname="proxy.dormouse.internal",
        limit=1 << 26,
    )
    connection = Client(reader, writer)
    try:
        writer.write(StartupMessage({"user": "demo.demo-17"}).build())
        writer.write(message(b"p", PASSWORD.encode() + b"\0") + early)
        connection.greeting = await connection.until(b"Z\0\0\0\x05I")
        yield connection
    finally:
        writer.transport.abort()
