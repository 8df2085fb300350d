"""The proxy's listening sockets: who comes in through them, and how they are closed.

    start ──▶ drain: nobody new; until all have left, or drain_timeout ──▶ stop: 57P01 to the rest

Behind a load balancer there is a second kind of listener: a connection to it begins with a PROXY
header, and only those who are trusted to tell the truth in it may connect.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Sequence

from dormouse.base.tasks import cancel, spawn
from proxy import errors, metrics
from proxy.acceptor import Acceptor
from proxy.addresses import Address, Networks, parse_address
from proxy.arrival import Arrival
from proxy.door import Door, tune
from proxy.guests import Guest
from proxy.peers import Peers

RECONNECT_HINT = "Connect again: it will be served at once."

_log = logging.getLogger(__name__)


class ProxyServer:
    """Serves what comes in through its listeners, of which there is at least one.

    `balanced` are those of load balancers, who come from the networks `trusted`.
    """

    def __init__(
        self,
        door: Door,
        peers: Peers,
        listeners: Sequence[socket.socket],
        *,
        balanced: Sequence[socket.socket] = (),
        trusted: Networks | None = None,
    ) -> None:
        self._door = door
        self._peers = peers
        self._trusted = trusted or Networks()
        self._acceptors = [Acceptor(each, self._welcome) for each in listeners]
        self._balanced = [Acceptor(each, self._welcome_balanced) for each in balanced]
        self._starting: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ProxyServer {self.address} starting={len(self._starting)} {self._door}>"

    @property
    def address(self) -> str:
        """host:port of the first socket."""
        return self._acceptors[0].address

    @property
    def balanced_address(self) -> str:
        """host:port of the first socket for load balancers; empty where there is none."""
        return self._balanced[0].address if self._balanced else ""

    def start(self) -> None:
        """Accept from now on."""
        for acceptor in (*self._acceptors, *self._balanced):
            acceptor.start()

    async def drain(self) -> None:
        """Accept no more, and wait until everybody has left or `drain_timeout` is over."""
        await self._close()
        metrics.DRAINING.set(1)
        if not await self._wait_until_empty(self._door.limits.drain_timeout):
            _log.warning("drain time is over", extra={"connections": len(self._door.guests)})

    async def stop(self) -> None:
        """Stop accepting, tell every client, and wait a while for them to be gone."""
        await self._close()
        for guest in self._door.guests.all():
            guest.cut(errors.administrator_ended(RECONNECT_HINT))
        if not await self._wait_until_empty(self._door.limits.stop_timeout):
            _log.warning("connections cut", extra={"connections": len(self._door.guests)})
        await cancel(*self._starting)

    async def _close(self) -> None:
        for acceptor in (*self._acceptors, *self._balanced):
            await acceptor.stop()

    async def _wait_until_empty(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while len(self._door.guests):
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            return False
        return True

    def _welcome_balanced(self, client: socket.socket, host: str) -> None:
        address = parse_address(host)
        if address in self._trusted:
            self._let_in(client, address, balanced=True)
        else:
            _hang_up(client, host, "untrusted")

    def _welcome(self, client: socket.socket, host: str) -> None:
        self._let_in(client, parse_address(host), balanced=False)

    def _let_in(self, client: socket.socket, address: Address, *, balanced: bool) -> None:
        guest = self._door.guests.enter()
        if guest is None:
            _hang_up(client, str(address), "full")
            return
        metrics.CONNECTIONS.inc()
        tune(client, self._door.limits.unread_timeout)
        arrival = Arrival(
            self._door,
            self._peers,
            client,
            guest,
            name=secrets.token_hex(4),
            on_gone=lambda: self._gone(guest),
        )
        task = spawn(arrival.run(address, balanced=balanced), name="arrival")
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def _gone(self, guest: Guest) -> None:
        self._door.guests.leave(guest)
        metrics.CONNECTIONS.dec()
        self._left.set()


def _hang_up(client: socket.socket, host: str, reason: str) -> None:
    metrics.HUNG_UP.labels(reason).inc()
    _log.warning("connection closed unheard", extra={"client": host, "reason": reason})
    client.close()
