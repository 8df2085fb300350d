"""Cancel requests among proxies: whichever a client reaches, its session's proxy hears of it.

    client ──cancel──▶ proxy 3 ── whose is the pid? ──▶ its own: the session's pod
                                        │
                                        └── proxy 5's ══mutual TLS══▶ proxy 5 ──▶ the session's pod

A process id begins with its proxy's number, so one hop is enough, and what came from a peer is
never passed on. The same packet travels as from a client; the answer is the end of the connection,
once the pod has taken the request, and only then is the client's closed, as PostgreSQL does it.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence

from dormouse.base.tasks import cancel as cancel_tasks
from dormouse.base.tasks import spawn
from dormouse.base.tls import Identity, Role, peer_identity
from pgwire.errors import ProtocolViolation
from pgwire.startup import CANCEL_SECRET_BYTES_MAX, CancelRequest, parse_packet
from proxy import metrics
from proxy.acceptor import Acceptor
from proxy.dialer import SHUTDOWN_SECONDS, cancel
from proxy.door import Door, tune

FORWARDS_MAX = 100
PEERS_MAX = 200
PEER_SECONDS = 10.0
"""From a peer's connection until the pod has its request."""
PACKET_BYTES_MAX = 12 + CANCEL_SECRET_BYTES_MAX

_PROXY = Identity(role=Role.PROXY)
_log = logging.getLogger(__name__)


class Peers:
    """Where cancel requests go, and where those of other proxies arrive."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._forwards = 0
        self._acceptors: list[Acceptor] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Peers forwards={self._forwards} arrivals={len(self._tasks)}>"

    async def cancel(self, shown: CancelRequest) -> None:
        """A client's request; returns when it has been handed over, or is nobody's."""
        if await self._cancel_here(shown):
            return
        address = self._door.pods.proxies.get(self._door.keys.owner_of(shown))
        if address is None:
            metrics.CANCELS.labels("unknown").inc()
        elif self._forwards >= FORWARDS_MAX:
            metrics.CANCELS.labels("dropped").inc()
            _log.warning("cancel request dropped", extra={"forwards": self._forwards})
        else:
            metrics.CANCELS.labels("forwarded").inc()
            await self._forward(address, shown)

    async def _cancel_here(self, shown: CancelRequest) -> bool:
        target = self._door.keys.find(shown)
        if target is None:
            return False
        metrics.CANCELS.labels("here").inc()
        await cancel(self._door, target)
        return True

    async def _forward(self, address: str, shown: CancelRequest) -> None:
        self._forwards += 1
        try:
            async with asyncio.timeout(PEER_SECONDS):
                await send_request(address, self._door.peer_tls.tls_client, shown)
        except (OSError, TimeoutError) as error:
            _log.info("cancel not forwarded", extra={"peer": address, "cause": repr(error)})
        finally:
            self._forwards -= 1

    # What other proxies forward

    def serve(self, listeners: Sequence[socket.socket]) -> None:
        """Take requests from now on."""
        self._acceptors = [Acceptor(each, self._welcome) for each in listeners]
        for acceptor in self._acceptors:
            acceptor.start()

    async def stop(self) -> None:
        """Take no more, and drop those under way."""
        for acceptor in self._acceptors:
            await acceptor.stop()
        await cancel_tasks(*self._tasks)

    def _welcome(self, client: socket.socket, address: str) -> None:
        if len(self._tasks) >= PEERS_MAX:
            client.close()
            return
        tune(client)
        task = spawn(self._answer(client, address), name="peer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, client: socket.socket, address: str) -> None:
        try:
            async with asyncio.timeout(PEER_SECONDS):
                await self._take(client)
        except (OSError, TimeoutError, EOFError, ProtocolViolation) as error:
            _log.info("peer turned away", extra={"peer": address, "cause": repr(error)})

    async def _take(self, client: socket.socket) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: asyncio.StreamReaderProtocol(reader),
            client,
            ssl=self._door.peer_tls.tls_server,
            ssl_handshake_timeout=PEER_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
        try:
            if peer_identity(_certificate_of(transport)) != _PROXY:
                raise ProtocolViolation("not a proxy")
            request = await _read_request(reader)
            if not await self._cancel_here(request):
                metrics.CANCELS.labels("unknown").inc()
        finally:
            transport.close()


def _certificate_of(transport: asyncio.Transport) -> Callable[[], object]:
    connection: ssl.SSLObject = transport.get_extra_info("ssl_object")
    return connection.getpeercert


async def _read_request(reader: asyncio.StreamReader) -> CancelRequest:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if not 8 <= length <= PACKET_BYTES_MAX:
        raise ProtocolViolation("invalid length of cancel request packet")
    packet = parse_packet(await reader.readexactly(length - 4))
    if not isinstance(packet, CancelRequest):
        raise ProtocolViolation("not a cancel request")
    return packet


async def send_request(address: str, tls: ssl.SSLContext, request: CancelRequest) -> None:
    """Send the request to the proxy at host:port, and wait until it hangs up. Raises OSError."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(
        host.strip("[]"), int(port), ssl=tls, server_hostname=_PROXY.server_name
    )
    try:
        writer.write(request.build())
        await reader.read(1)
    finally:
        writer.close()
