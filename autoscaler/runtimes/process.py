"""Pods as processes of this machine, forked by the pod host.

Speaks `proto/podhost.proto` over the host's Unix socket. The host replaces an older connection by a
newer one and greets each with the pods that live, so a cut connection is simply made again.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
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
from dormouse.base.frames import BadFrame, FrameReader, encode
from proto.podhost_pb2 import ForkPod, HostCommand, HostEvent, KillPod

PROTOCOL_VERSION = 1
RECONNECT_SECONDS = 0.1
RECONNECT_MAX_SECONDS = 0.4
"""A host is back within a second or two, and every wake waits for it."""
_READ_BYTES = 64 << 10

_log = logging.getLogger(__name__)


class WrongProtocol(Exception):
    """The peer speaks another version of the protocol, or nonsense."""


class ProcessRuntime:
    """See `PodRuntime`. Pods are named by their pid."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._generation = 0
        self._writer: asyncio.StreamWriter | None = None

    def __repr__(self) -> str:
        return f"<ProcessRuntime {self._path} {'connected' if self._writer else 'cut off'}>"

    def start(self, ticket: int) -> None:
        """See `PodRuntime.start`."""
        self._send(HostCommand(fork=ForkPod(ticket=ticket)))

    def kill(self, pod: PodKey) -> None:
        """See `PodRuntime.kill`."""
        self._send(HostCommand(kill=KillPod(pid=int(pod))))

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        """See `PodRuntime.events`."""
        delay = RECONNECT_SECONDS
        while True:
            try:
                async for event in self._connection():
                    delay = RECONNECT_SECONDS
                    yield event
            except (OSError, BadFrame, WrongProtocol) as error:
                level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
                _log.log(level, "pod host: %s", error)
            yield Lost()
            await asyncio.sleep(delay)
            delay = min(2 * delay, RECONNECT_MAX_SECONDS)

    async def _connection(self) -> AsyncIterator[RuntimeEvent]:
        reader, writer = await asyncio.open_unix_connection(sock=await _connect(self._path))
        frames = FrameReader()
        try:
            while data := await reader.read(_READ_BYTES):
                for message in frames.feed(data):
                    event = HostEvent.FromString(message)
                    if event.HasField("hello"):
                        self._greet(event)
                        self._writer = writer
                        self._generation = event.hello.generation
                    for translated in _translate(event, self._generation):
                        yield translated
        finally:
            self._writer = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _greet(self, event: HostEvent) -> None:
        version = event.hello.protocol_version
        if version != PROTOCOL_VERSION:
            raise WrongProtocol(f"pod host speaks version {version}, not {PROTOCOL_VERSION}")

    def _send(self, command: HostCommand) -> None:
        # Commands are a few bytes each and few (forks and kills are limited by the caller), so the
        # transport's buffer stays small even where the host does not read for a while.
        if self._writer is not None:
            self._writer.write(encode(command.SerializeToString()))


def _translate(event: HostEvent, generation: int) -> list[RuntimeEvent]:
    match event.WhichOneof("event"):
        case "hello":
            living = {
                PodKey(str(pod.pid)): Living(pod.control_address, generation)
                for pod in event.hello.living
            }
            return [Connected(living, generation)]
        case "started":
            pod = event.started
            return [Started(pod.ticket, PodKey(str(pod.pid)), pod.control_address, generation)]
        case "failed":
            return [StartFailed(event.failed.ticket, event.failed.reason)]
        case "ended":
            return [Ended(PodKey(str(event.ended.pid)), event.ended.status)]
    return []  # an event of a later version: nothing we know to act on


async def _connect(path: Path) -> socket.socket:
    # A socket's name holds about 100 bytes; a path through an open folder is always short.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        name = f"/proc/self/fd/{folder}/{path.name}"
        await asyncio.get_running_loop().sock_connect(connection, name)
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection
