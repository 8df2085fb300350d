"""Listening sockets, and the loop that accepts from one."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from dormouse.base.tasks import cancel, spawn

BACKLOG = 1024
RETRY_SECONDS = 0.1

_log = logging.getLogger(__name__)

Welcome = Callable[[socket.socket, str], None]
"""Takes a new connection, not blocking, and the peer's address."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on host:port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


def inherit_or_listen(descriptors: tuple[int, ...], host: str, port: int) -> list[socket.socket]:
    """The inherited listening sockets; or one of our own where there is none."""
    inherited = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    return inherited or [listen(host, port)]


def host_port(host: str, port: int) -> str:
    """host:port, where an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Acceptor:
    """Accepts from one listening socket until it is stopped."""

    def __init__(self, listener: socket.socket, welcome: Welcome) -> None:
        listener.setblocking(False)
        host, port = listener.getsockname()[:2]
        self.address = host_port(host, port)
        """host:port; stays known after the socket is closed."""
        self._listener = listener
        self._welcome = welcome
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Acceptor {self.address} {'on' if self._task else 'off'}>"

    def start(self) -> None:
        """Accept from now on."""
        self._task = spawn(self._accept(), name=f"accept {self.address}")

    async def stop(self) -> None:
        """Accept no more. Idempotent.

        The socket is closed and not shut down: if it was inherited, others have it too, and whoever
        waits in its queue is theirs.
        """
        await cancel(self._task)
        self._task = None
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(self._listener)
            except ConnectionError:
                continue  # it went away while it waited
            except OSError as error:  # out of descriptors: those who leave make room
                _log.error("accept failed", extra={"cause": repr(error)})
                await asyncio.sleep(RETRY_SECONDS)
                continue
            client.setblocking(False)
            self._welcome(client, _host(address))


def _host(address: Any) -> str:
    return str(address[0])
