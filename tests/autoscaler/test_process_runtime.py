"""The process runtime against pod hosts that the test plays on real Unix sockets."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from autoscaler.pods import PodKey
from autoscaler.runtimes import process
from autoscaler.runtimes.base import (
    Connected,
    Ended,
    Living,
    Lost,
    RuntimeEvent,
    Started,
    StartFailed,
)
from autoscaler.runtimes.memory import PRIVATE, PSS, MemorySums, PodMemory, memory_of
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

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.living: list[int] = []
        self.retired = False
        self.version = 1
        self.commands: asyncio.Queue[HostCommand] = asyncio.Queue()
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.greet()
        frames = FrameReader()
        while data := await reader.read(4096):
            for message in frames.feed(data):
                self.commands.put_nowait(HostCommand.FromString(message))
        writer.close()

    def greet(self) -> None:
        hello = HostHello(
            protocol_version=self.version, generation=self.generation, retired=self.retired
        )
        hello.living.extend(PodStarted(pid=pid, control_address=f"h:{pid}") for pid in self.living)
        self.say(HostEvent(hello=hello))

    def say(self, event: HostEvent) -> None:
        self.say_raw(encode(event.SerializeToString()))

    def say_raw(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    def hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def command(self) -> HostCommand:
        async with asyncio.timeout(20):
            return await self.commands.get()


@asynccontextmanager
async def hosted(folder: Path, generation: int = 1, *living: int) -> AsyncIterator[ToyHost]:
    """A host that listens before its socket has its name, and takes the name with it."""
    host, path = ToyHost(generation), folder / f"podhost-{generation}.sock"
    host.living = list(living)
    server = await asyncio.start_unix_server(host.serve, folder / f"new-{generation}")
    (folder / f"new-{generation}").rename(path)
    try:
        yield host
    finally:
        path.unlink(missing_ok=True)
        server.close()
        host.hang_up()
        await asyncio.sleep(0)


class Watched:
    """A runtime and what it tells."""

    def __init__(self, folder: Path) -> None:
        self.runtime = ProcessRuntime(folder)
        self._events = self.runtime.events()

    async def next(self) -> RuntimeEvent:
        async with asyncio.timeout(20):
            return await anext(self._events)

    async def close(self) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]


def run(body: Callable[[Watched], Awaitable[None]], folder: Path) -> None:
    async def whole() -> None:
        watched = Watched(folder)
        try:
            await body(watched)
        finally:
            await watched.close()

    asyncio.run(whole())


def pods(*pids: int, generation: int = 1) -> dict[PodKey, Living]:
    return {PodKey(str(pid)): Living(f"h:{pid}", generation) for pid in pids}


def test_commands_and_events_cross(tmp_path: Path) -> None:
    async def body(watched: Watched) -> None:
        async with hosted(tmp_path, 1, 11) as host:
            assert await watched.next() == Connected(pods(11), 1)
            watched.runtime.start(5, urgent=True)
            fork = (await host.command()).fork
            assert (fork.ticket, fork.urgent) == (5, True)
            host.say(HostEvent(started=PodStarted(ticket=5, pid=12, control_address="h:12")))
            assert await watched.next() == Started(5, PodKey("12"), "h:12", 1)
            watched.runtime.kill(PodKey("12"))
            assert (await host.command()).kill.pid == 12
            host.say(HostEvent(ended=PodEnded(pid=12, status=-9)))
            assert await watched.next() == Ended(PodKey("12"), -9)
            host.say(HostEvent(failed=ForkFailed(ticket=6, reason="full")))
            assert await watched.next() == StartFailed(6, "full")

    run(body, tmp_path)


def test_a_cut_connection_is_made_again(tmp_path: Path) -> None:
    async def body(watched: Watched) -> None:
        async with hosted(tmp_path) as host:
            assert await watched.next() == Connected({}, 1)
            host.living = [3]
            host.hang_up()
            assert await watched.next() == Lost()
            watched.runtime.start(1, urgent=False)  # nobody hears it, nothing breaks
            assert await watched.next() == Connected(pods(3), 1)
            host.say_raw(b"\xff\xff\xff\xff")
            assert await watched.next() == Lost()
            assert await watched.next() == Connected(pods(3), 1)

    run(body, tmp_path)


def test_a_host_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async def body(watched: Watched) -> None:
        waiting = asyncio.ensure_future(watched.next())  # noqa: TID251 - a test's own
        await asyncio.sleep(0.05)
        assert not waiting.done()
        async with hosted(tmp_path):
            assert await waiting == Connected({}, 1)

    run(body, tmp_path)


@pytest.mark.parametrize("wrong", ["version", "generation"])
def test_a_host_of_another_protocol_is_not_spoken_to(tmp_path: Path, wrong: str) -> None:
    async def body(watched: Watched) -> None:
        async with hosted(tmp_path, 1, 4) as host:
            setattr(host, wrong, 9)
            waiting = asyncio.ensure_future(watched.next())  # noqa: TID251 - a test's own
            await asyncio.sleep(0.05)
            assert not waiting.done()
            watched.runtime.start(1, urgent=False)
            assert host.commands.empty()
            setattr(host, wrong, 1)
            assert await waiting == Connected(pods(4), 1)

    run(body, tmp_path)


def test_a_new_host_takes_the_forks_and_the_old_one_is_retired(tmp_path: Path) -> None:
    async def body(watched: Watched) -> None:
        async with hosted(tmp_path, 2, 7) as new:
            async with hosted(tmp_path, 1, 3) as old:
                both = pods(3) | pods(7, generation=2)
                # In whichever order they greet, the picture is told once and whole.
                assert await watched.next() == Connected(both, 2)
                assert (await old.command()).HasField("retire")
                watched.runtime.start(5, urgent=False)
                assert (await new.command()).fork.ticket == 5
                watched.runtime.kill(PodKey("3"))
                assert (await old.command()).kill.pid == 3
            assert await watched.next() == Connected(pods(7, generation=2), 2)
            assert new.commands.empty()

    run(body, tmp_path)


def test_a_host_found_later_is_joined(tmp_path: Path) -> None:
    async def body(watched: Watched) -> None:
        async with hosted(tmp_path, 1, 3) as old:
            assert await watched.next() == Connected(pods(3), 1)
            async with hosted(tmp_path, 2):
                assert await watched.next() == Connected(pods(3), 2)
                assert (await old.command()).HasField("retire")
            # The successor died: what is left forks again, if it has not retired.
            assert await watched.next() == Connected(pods(3), 1)

    run(body, tmp_path)


def test_retire_is_repeated_until_the_host_says_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SCAN_SECONDS", 0.01)
    monkeypatch.setattr(process, "RETIRE_AGAIN_ROUNDS", 2)

    async def body(watched: Watched) -> None:
        async with hosted(tmp_path, 1) as old, hosted(tmp_path, 2):
            assert await watched.next() == Connected({}, 2)
            for _ in range(3):
                assert (await old.command()).HasField("retire")
            old.retired = True
            old.greet()
            watched.runtime.start(1, urgent=False)
            await asyncio.sleep(0.1)
            while not old.commands.empty():  # on their way before it said so
                old.commands.get_nowait()
            await asyncio.sleep(0.1)
            assert old.commands.empty()

    run(body, tmp_path)


def test_a_silent_host_holds_nobody_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GREETING_SECONDS_MAX", 0.05)

    async def body(watched: Watched) -> None:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(tmp_path / "podhost-9.sock"))
            silent.listen(1)
            async with hosted(tmp_path, 1, 3):
                assert await watched.next() == Connected(pods(3), 1)

    run(body, tmp_path)


def test_the_socket_of_a_killed_host_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "podhost-8.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))
    (tmp_path / "podhost-x.sock").touch()

    async def body(watched: Watched) -> None:
        async with hosted(tmp_path, 9, 3):
            assert await watched.next() == Connected(pods(3, generation=9), 9)
            async with asyncio.timeout(20):
                while left.exists():  # noqa: ASYNC110 - a file has no event
                    await asyncio.sleep(0.01)

    run(body, tmp_path)
    assert (tmp_path / "podhost-x.sock").exists()


def test_events_that_nobody_takes_stop_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "UNREAD_EVENTS_MAX", 4)

    async def body(watched: Watched) -> None:
        async with hosted(tmp_path) as host:
            await watched.next()
            for ticket in range(1, 101):
                host.say(HostEvent(failed=ForkFailed(ticket=ticket, reason="x" * 10_000)))
                if ticket % 5 == 0:
                    await asyncio.sleep(0.001)
            assert len(watched.runtime._events) < 50
            for ticket in range(1, 101):
                event = await watched.next()
                assert isinstance(event, StartFailed)
                assert event.ticket == ticket

    run(body, tmp_path)


def test_memory_is_counted_as_shared_and_as_private(tmp_path: Path) -> None:
    runtime = ProcessRuntime(tmp_path)
    here = runtime.memory_of(PodKey(str(os.getpid())))
    assert here is not None
    assert 1 << 20 < here.private <= here.pss
    assert memory_of(2**22 + 1) is None
    for name, text in {
        "5": "00-ff ---p [rollup]\n",
        "6": "Pss: 3 kB\nPrivate_Dirty: 2 kB\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "smaps_rollup").write_text(text)
    assert memory_of(5, tmp_path) is None
    some = memory_of(6, tmp_path)
    assert some is not None
    assert (some.pss, some.private) == (3072, 2048)


def test_memory_is_summed_up_by_one_question_at_a_time() -> None:
    asked: list[str] = []

    def ask(pod: PodKey) -> PodMemory | None:
        asked.append(pod)
        return PodMemory(int(pod) * 10, int(pod)) if pod != "9" else None

    sums = MemorySums(ask)
    one, two, gone = PodKey("1"), PodKey("2"), PodKey("9")
    for _ in range(3):
        sums.refresh([one, two, gone])
    assert sorted(asked) == ["1", "2", "9"]
    assert (PSS._value.get(), PRIVATE._value.get()) == (30, 3)
    sums.refresh([two])
    assert PSS._value.get() == 20
    sums.refresh([two, one])
    assert asked[-1] == "1", "a new one is asked first"
    sums.refresh([])
    assert PSS._value.get() == 0
