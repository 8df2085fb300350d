"""The process runtime against a pod host that the test plays on a real Unix socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from autoscaler.fleet import PodKey
from autoscaler.runtimes.base import (
    Connected,
    Ended,
    Living,
    Lost,
    RuntimeEvent,
    Started,
    StartFailed,
)
from autoscaler.runtimes.process import ProcessRuntime
from dormouse.base.frames import FrameReader, encode
from proto.podhost_pb2 import (
    ForkFailed,
    HostCommand,
    HostEvent,
    HostHello,
    PodEnded,
    PodStarted,
)


class ToyHost:
    """One end of the protocol; `living` is what it greets with."""

    def __init__(self) -> None:
        self.living: list[int] = []
        self.version = 1
        self.commands: asyncio.Queue[HostCommand] = asyncio.Queue()
        self.greetings = 0
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.greetings += 1
        hello = HostHello(protocol_version=self.version)
        hello.living.extend(PodStarted(pid=pid, control_address=f"h:{pid}") for pid in self.living)
        self.say(HostEvent(hello=hello))
        frames = FrameReader()
        while data := await reader.read(4096):
            for message in frames.feed(data):
                self.commands.put_nowait(HostCommand.FromString(message))
        writer.close()

    def say(self, event: HostEvent) -> None:
        assert self._writer is not None
        self._writer.write(encode(event.SerializeToString()))

    def say_raw(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    def hang_up(self) -> None:
        assert self._writer is not None
        self._writer.close()


@asynccontextmanager
async def hosted(path: Path) -> AsyncIterator[tuple[ToyHost, ProcessRuntime]]:
    host = ToyHost()
    server = await asyncio.start_unix_server(host.serve, path)
    try:
        yield host, ProcessRuntime(path)
    finally:
        server.close()
        host.hang_up()
        await asyncio.sleep(0)


async def next_of(events: AsyncIterator[RuntimeEvent]) -> RuntimeEvent:
    async with asyncio.timeout(20):
        return await anext(events)


def test_commands_and_events_cross(tmp_path: Path) -> None:
    async def body() -> None:
        async with hosted(tmp_path / "s") as (host, runtime):
            host.living = [11]
            events = runtime.events()
            assert await next_of(events) == Connected({PodKey("11"): Living("h:11", 0)}, 0)
            runtime.start(5)
            assert (await host.commands.get()).fork.ticket == 5
            host.say(HostEvent(started=PodStarted(ticket=5, pid=12, control_address="h:12")))
            assert await next_of(events) == Started(5, PodKey("12"), "h:12", 0)
            runtime.kill(PodKey("12"))
            assert (await host.commands.get()).kill.pid == 12
            host.say(HostEvent(ended=PodEnded(pid=12, status=-9)))
            assert await next_of(events) == Ended(PodKey("12"), -9)
            host.say(HostEvent(failed=ForkFailed(ticket=6, reason="full")))
            assert await next_of(events) == StartFailed(6, "full")
            await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(body())


def test_a_cut_connection_is_made_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with hosted(tmp_path / "s") as (host, runtime):
            events = runtime.events()
            assert await next_of(events) == Connected({}, 0)
            host.living = [3]
            host.hang_up()
            assert await next_of(events) == Lost()
            runtime.start(1)  # nobody hears it, nothing breaks
            assert await next_of(events) == Connected({PodKey("3"): Living("h:3", 0)}, 0)
            host.say_raw(b"\xff\xff\xff\xff")
            assert await next_of(events) == Lost()
            assert await next_of(events) == Connected({PodKey("3"): Living("h:3", 0)}, 0)
            await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(body())


def test_a_host_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async def body() -> None:
        runtime = ProcessRuntime(tmp_path / "s")
        events = runtime.events()
        assert await next_of(events) == Lost()
        async with hosted(tmp_path / "s"):
            while not isinstance(event := await next_of(events), Connected):
                assert event == Lost()
            await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(body())


def test_a_host_of_another_version_is_not_spoken_to(tmp_path: Path) -> None:
    async def body() -> None:
        async with hosted(tmp_path / "s") as (host, runtime):
            host.version = 2
            events = runtime.events()
            assert await next_of(events) == Lost()
            host.version = 1
            assert isinstance(await next_of(events), Connected)
            await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(body())
