"""Pods as processes of this machine, forked by pod hosts.

    folder                        podhost-3.sock   podhost-4.sock
       │ looked at 4 times a second    │ retired        │ newest: forks
       └──▶ one connection each ───────┴───── Hosts ────┘
                                               │
                                            events()

Speaks `proto/podhost.proto`. There is one host as a rule, and two or more while new code replaces
old: forks go to the newest, and the others are told to retire until they say that they have. A
host replaces an older connection by a newer one and greets each with the pods that live, so a cut
connection is simply made again. A socket that refuses to be connected to was left by a host that
was killed, and is removed.
"""

import asyncio
import functools
import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from autoscaler.pods import PodKey
from autoscaler.runtimes.base import RuntimeEvent, StartFailed
from autoscaler.runtimes.hostlink import HostGone, HostLink, WrongProtocol
from autoscaler.runtimes.hosts import Hosts
from autoscaler.runtimes.memory import MemorySums, PodMemory, memory_of
from dormouse.base.frames import BadFrame
from dormouse.base.tasks import cancel, spawn
from proto.podhost_pb2 import ForkPod, HostCommand, HostEvent, KillPod, Retire

SCAN_SECONDS = 0.25
GREETING_SECONDS_MAX = 5.0
"""How long the picture waits for a host that was seen and says nothing."""
RECONNECT_SECONDS = 0.1
RECONNECT_MAX_SECONDS = 0.4
"""A host is back within a second or two, and every wake waits for it."""
RETIRE_AGAIN_ROUNDS = 20
MEMORY_ROUNDS = 4
"""One pod a second is asked for its memory: a small part of a percent of a core."""
HOSTS_MAX = 64
"""Sockets looked at, the newest first."""
UNREAD_EVENTS_MAX = 1_000
"""Beyond this the hosts are not read until somebody takes the events."""

_SOCKET = re.compile(r"podhost-(\d{1,18})\.sock")
_log = logging.getLogger(__name__)


class ProcessRuntime:
    """See `PodRuntime`. Pods are named by their pid; `folder` is where the hosts' sockets are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts = Hosts()
        self._links: dict[int, HostLink] = {}
        self._following: dict[int, asyncio.Task[None]] = {}
        self._memory = MemorySums(self.memory_of)
        self._events: deque[RuntimeEvent] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ProcessRuntime {self._folder} {self._hosts} links={sorted(self._links)}>"

    def start(self, ticket: int, *, urgent: bool) -> None:
        """See `PodRuntime.start`."""
        if (newest := self._hosts.newest) is not None:
            self._send(newest, HostCommand(fork=ForkPod(ticket=ticket, urgent=urgent)))

    def kill(self, pod: PodKey) -> None:
        """See `PodRuntime.kill`."""
        if (generation := self._hosts.of(pod)) is not None:
            self._send(generation, HostCommand(kill=KillPod(pid=int(pod))))

    def memory_of(self, pod: PodKey) -> PodMemory | None:
        """What the pod uses just now; see `autoscaler.runtimes.memory` for what asking costs."""
        return memory_of(int(pod))

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        """See `PodRuntime.events`."""
        scanning = spawn(self._scan(), name="find pod hosts")
        scanning.add_done_callback(lambda _: self._changed.set())
        try:
            while True:
                while self._events:
                    self._room.set()
                    yield self._events.popleft()
                if scanning.done():
                    scanning.result()  # only a defect ends it
                self._changed.clear()
                await self._changed.wait()
        finally:
            await cancel(scanning, *self._following.values())

    # Finding hosts

    async def _scan(self) -> None:
        rounds = 0
        while True:
            self._find()
            await asyncio.sleep(SCAN_SECONDS)
            rounds += 1
            if rounds % MEMORY_ROUNDS == 0:
                self._memory.refresh(self._hosts.pods())
            if rounds % RETIRE_AGAIN_ROUNDS == 0:
                self._retire_outdated()

    def _find(self) -> None:
        """Follow every host that has come."""
        for generation, path in self._sockets():
            if generation not in self._following and len(self._following) < HOSTS_MAX:
                self._hosts.seen(generation)
                task = spawn(self._follow(generation, path), name=f"pod host {generation}")
                self._following[generation] = task
                task.add_done_callback(functools.partial(self._unfollow, generation))

    def _unfollow(self, generation: int, _task: asyncio.Task[None]) -> None:
        del self._following[generation]

    def _sockets(self) -> list[tuple[int, Path]]:
        """The newest first."""
        try:
            paths = list(self._folder.iterdir())
        except OSError as error:
            _log.warning("the pod hosts' folder cannot be read", extra={"reason": str(error)})
            return []
        named = ((_SOCKET.fullmatch(path.name), path) for path in paths)
        found = [(int(match[1]), path) for match, path in named if match is not None]
        return sorted(found, reverse=True)

    # One host

    async def _follow(self, generation: int, path: Path) -> None:
        """Be connected to a host until it is gone."""
        patience = asyncio.get_running_loop().call_later(
            GREETING_SECONDS_MAX, lambda: self._tell(self._hosts.given_up(generation))
        )
        delay = RECONNECT_SECONDS
        try:
            while True:
                try:
                    await self._talk(await HostLink.open(path, generation))
                except (BadFrame, WrongProtocol) as error:
                    _log.error("pod host: %s", error, extra={"generation": generation})
                except OSError as error:
                    _log.debug("pod host: %s", error, extra={"generation": generation})
                if self._links.pop(generation, None) is not None:
                    delay = RECONNECT_SECONDS
                    self._tell(self._hosts.cut(generation))
                await asyncio.sleep(delay)
                delay = min(2 * delay, RECONNECT_MAX_SECONDS)
        except HostGone:
            _forget(path)
            _log.info("pod host gone", extra={"generation": generation})
        finally:
            patience.cancel()
            self._tell(self._hosts.gone(generation))

    async def _talk(self, link: HostLink) -> None:
        """Follow one connection to its end."""
        try:
            while events := await link.read():
                for event in events:
                    self._note(link, event)
                while len(self._events) >= UNREAD_EVENTS_MAX:
                    self._room.clear()
                    await self._room.wait()
        finally:
            await link.close()

    def _note(self, link: HostLink, event: HostEvent) -> None:
        generation = link.generation
        match event.WhichOneof("event"):
            case "hello":
                self._links[generation] = link
                living = {_key(pod.pid): pod.control_address for pod in event.hello.living}
                self._tell(self._hosts.greeted(generation, living, event.hello.retired))
                self._retire_outdated()
            case "started":
                pod = event.started
                address = pod.control_address
                self._tell(self._hosts.started(generation, pod.ticket, _key(pod.pid), address))
            case "failed":
                self._tell([StartFailed(event.failed.ticket, event.failed.reason)])
            case "ended":
                ended = event.ended
                self._tell(self._hosts.ended(generation, _key(ended.pid), ended.status))
            # Anything else is an event of a later version: nothing we know to act on.

    def _retire_outdated(self) -> None:
        for generation in self._hosts.outdated():
            _log.info("pod host is told to retire", extra={"generation": generation})
            self._send(generation, HostCommand(retire=Retire()))

    def _send(self, generation: int, command: HostCommand) -> None:
        if (link := self._links.get(generation)) is not None:
            link.send(command)

    def _tell(self, events: Iterable[RuntimeEvent]) -> None:
        self._events.extend(events)
        self._changed.set()


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def _key(pid: int) -> PodKey:
    return PodKey(str(pid))
