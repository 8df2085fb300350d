"""The listening sockets: accept, count, and at the end tell everybody.

Beyond `connections_max` a client is still heard out, for PostgreSQL's error says what is wrong; but
only POLITE_MAX of those at a time, after which connections are simply closed.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Sequence

from dormouse.base.tasks import cancel, spawn
from proxy import metrics
from proxy.arrival import Arrival
from proxy.door import Door, tune

BACKLOG = 1024
POLITE_MAX = 100
ACCEPT_RETRY_SECONDS = 0.1

_log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on host:port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


class ProxyServer:
    """Serves the sessions of its listening sockets, of which there is at least one."""

    def __init__(self, door: Door, listeners: Sequence[socket.socket]) -> None:
        self._door = door
        self._listeners = listeners
        for listener in listeners:
            listener.setblocking(False)
        self._accepting: list[asyncio.Task[None]] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ProxyServer {self.address} starting={len(self._starting)} {self._door}>"

    @property
    def address(self) -> str:
        """host:port of the first socket."""
        host, port = self._listeners[0].getsockname()[:2]
        return f"{host}:{port}"

    def start(self) -> None:
        """Accept from now on."""
        self._accepting = [
            spawn(self._accept(listener), name="accept") for listener in self._listeners
        ]

    async def stop(self) -> None:
        """Stop accepting, tell every client, and wait a while for them to be gone."""
        await cancel(*self._accepting)
        for listener in self._listeners:
            listener.close()
        await cancel(*self._starting)
        for session in list(self._door.sessions):
            session.shut_down()
        try:
            async with asyncio.timeout(self._door.limits.stop_timeout):
                while self._door.connections:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            _log.warning("connections cut", extra={"connections": self._door.connections})

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
            except ConnectionError:
                continue  # it went away while it waited
            except OSError as error:  # out of descriptors: those who leave make room
                _log.error("accept failed", extra={"cause": repr(error)})
                await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                continue
            self._welcome(client)

    def _welcome(self, client: socket.socket) -> None:
        door = self._door
        client.setblocking(False)
        if door.connections >= door.limits.connections_max + POLITE_MAX:
            client.close()
            return
        door.connections += 1
        metrics.CONNECTIONS.inc()
        tune(client)
        arrival = Arrival(door, client, secrets.token_hex(4), self._gone)
        welcome = door.connections <= door.limits.connections_max
        task = spawn(arrival.run(welcome=welcome), name="session")
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def _gone(self) -> None:
        self._door.connections -= 1
        metrics.CONNECTIONS.dec()
        self._empty.set()
