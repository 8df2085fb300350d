"""A proxy's end of a pod session: a client over a socket with a link, which moves and parks it.

    async with pods_running(folder, 2) as (here, there):
        client = await Linked.open(here)
        await client.query("SET work_mem = '8MB'")
        await client.move_to(there)

Frames of the link are taken out of the replies and kept in `frames`; `checkpoint` is the last
state the pod has pushed, None where it said that there is none.
"""

import asyncio
import itertools
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self

from pgwire import frontend, link
from pgwire.backend import message
from pgwire.client import LoginClient, parse_data_row
from pgwire.framing import FrameDecoder
from pgwire.link import Checkpoint, GivenAway, Held, Link, PodFrame, Purpose, Refused
from pgwire.notices import Notice, parse
from pgwire.startup import CancelRequest, StartupMessage
from tests.support.kv import storage_running
from tests.support.pod import DATABASE, PASSWORD, USER, PodForTest, pod_on

SESSION_KEY = bytes(range(32))
Replies = list[tuple[str, bytes]]
_opened: "list[Linked]" = []
_pids = itertools.count(1 << 20 | 17)


@asynccontextmanager
async def pods_running(
    folder: Path, count: int = 1, **options: Any
) -> AsyncIterator[tuple[PodForTest, ...]]:
    """Pods of one tenant on one storage, with one session key."""
    given = {"session_key": SESSION_KEY, **options}
    async with storage_running(folder, engine="memory") as storage, AsyncExitStack() as stack:
        pods = [await stack.enter_async_context(pod_on(storage, **given)) for _ in range(count)]
        try:
            yield tuple(pods)
        finally:
            await hang_up()


async def hang_up() -> None:
    """Close every client that is still open."""
    while _opened:
        await _opened.pop().close()


class Pod(Protocol):
    """Whatever a proxy can connect to."""

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection."""
        ...


class Linked:
    """See the module. Made by `open` or `resume`."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self.writer = streams
        self.link: Link | None = None
        self.login = LoginClient(USER, PASSWORD, b"n" * 18, DATABASE)
        self.frames: list[PodFrame] = []
        self.checkpoint: bytes | None = None
        self.pid, self.secret = 0, b""
        self.settings: dict[str, str] = {}
        self._decoder = FrameDecoder(small=frozenset())
        _opened.append(self)

    # --- beginnings --------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        pod: Pod,
        the_link: Link | None = None,
        *,
        protocol: dict[str, str] | None = None,
        **parameters: str,
    ) -> Self:
        """Log in through a link."""
        client = cls(await pod.dial())
        client.link = the_link or Link.new(next(_pids))
        await client._log_in(protocol or {}, parameters)
        return client

    @classmethod
    async def resume(cls, pod: Pod, the_link: Link, sealed: bytes, *, user: str = USER) -> Self:
        """Take a session up on a pod. Raises Refusal."""
        client = cls(await pod.dial())
        client.link = the_link
        startup = StartupMessage(
            {"user": user, "database": DATABASE}, 0, client._options({link.RESUME_OPTION: "on"})
        )
        client.writer.write(startup.build() + link.resume(sealed))
        await client._welcomed()
        return client

    def _options(self, more: dict[str, str]) -> dict[str, str]:
        given = {} if self.link is None else {link.LINK_OPTION: self.link.option()}
        return {**given, **more}

    async def _log_in(self, protocol: dict[str, str], parameters: dict[str, str]) -> None:
        names = {"user": USER, "database": DATABASE, **parameters}
        self.writer.write(StartupMessage(names, 0, self._options(protocol)).build())
        await self._welcomed()

    async def _welcomed(self) -> None:
        for kind, body in await self.until("Z"):
            if kind == "E":
                raise Refusal(parse(body))
            if kind == "K":
                self.pid, self.secret = struct.unpack(">I", body[:4])[0], body[4:]
            if kind == "S":
                name, value = body[:-1].decode().split("\0")
                self.settings[name] = value

    # --- talking -----------------------------------------------------------------------------

    def send(self, *messages: frontend.FrontendMessage | bytes) -> None:
        """Write messages, or bytes as they are, in one piece."""
        self.writer.write(
            b"".join(m if isinstance(m, bytes) else frontend.build(m) for m in messages)
        )

    async def next(self) -> tuple[str, bytes] | None:
        """The next message of the pod, link frames included; None at the end."""
        while (frame := self._decoder.next()) is None:
            try:
                data = await self.reader.read(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self._decoder.feed(data)
        kind = chr(frame.kind)
        if kind == "M":
            self._take(link.parse_pod_frame(frame.body))
        return kind, frame.body

    def _take(self, frame: PodFrame) -> None:
        self.frames.append(frame)
        if isinstance(frame, Checkpoint):
            self.checkpoint = frame.sealed
        elif isinstance(frame, Held):
            self.checkpoint = None

    async def until(self, last: str = "Z") -> Replies:
        """The pod's messages up to the next of type `last` (or to the end), its frames left out."""
        replies: Replies = []
        while (found := await self.next()) is not None:
            if found[0] == "R":
                self._answer(found[1])
            if found[0] != "M":
                replies.append(found)
            if found[0] == last:
                break
        return replies

    def _answer(self, body: bytes) -> None:
        if answer := self.login.feed(message(b"R", body)):
            self.writer.write(answer)

    async def query(self, text: str) -> Replies:
        """A simple query."""
        self.send(frontend.Query(text))
        return await self.until()

    async def rows(self, text: str) -> list[tuple[str | None, ...]]:
        """The rows of a simple query, as text. Raises Refusal."""
        replies = await self.query(text)
        for kind, body in replies:
            if kind == "E":
                raise Refusal(parse(body))
        return rows_of(replies)

    # --- the link ----------------------------------------------------------------------------

    async def answer(self) -> PodFrame:
        """The pod's next frame; every message before it is dropped."""
        while (found := await self.next()) is not None:
            if found[0] == "M":
                return self.frames[-1]
        raise ConnectionError("the pod hung up")

    async def give_away(self, purpose: Purpose = Purpose.MOVE) -> GivenAway | Refused:
        """Ask for the session, with nothing else on its way."""
        if self.link is None:
            raise RuntimeError("no link")
        self.send(self.link.give_away(purpose))
        answer = await self.answer()
        if isinstance(answer, GivenAway) and await self.next() is not None:
            raise AssertionError("a pod says nothing after it has given a session away")
        if not isinstance(answer, GivenAway | Refused):
            raise TypeError(answer)
        return answer

    async def moved(self, pod: Pod, purpose: Purpose = Purpose.MOVE) -> "Linked":
        """The session on another pod."""
        given = await self.give_away(purpose)
        if not isinstance(given, GivenAway) or self.link is None:
            raise AssertionError(given)
        await self.close()
        return await Linked.resume(pod, self.link, given.sealed)

    async def close(self) -> None:
        """Hang up. Idempotent."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Refusal(Exception):
    """The pod answered with an error."""

    def __init__(self, notice: Notice) -> None:
        super().__init__(f"{notice.severity} {notice.sqlstate}: {notice.message}")
        self.notice = notice


def rows_of(replies: Replies) -> list[tuple[str | None, ...]]:
    """The rows among replies, as text."""
    return [
        tuple(None if value is None else value.decode() for value in parse_data_row(body))
        for kind, body in replies
        if kind == "D"
    ]


def kinds(replies: Replies) -> str:
    """The type letters of replies."""
    return "".join(kind for kind, _ in replies)


def error(replies: Replies) -> Notice:
    """The first error among replies."""
    return next(parse(body) for kind, body in replies if kind == "E")


async def cancel(pod: Pod, pid: int, secret: bytes) -> None:
    """Send a CancelRequest and wait until it was read."""
    reader, writer = await pod.dial()
    writer.write(CancelRequest(pid, secret).build())
    await reader.read()
    writer.close()
