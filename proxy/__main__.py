"""The proxy as a process: `python -m proxy --config FILE`.

SIGTERM drains it: it accepts nobody new and lives on for the sessions it has. SIGINT, or a second
SIGTERM, ends it at once. SIGHUP looks for new certificates.
"""

import asyncio
import random
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dormouse.base import metrics as metrics_page
from dormouse.base import role
from dormouse.base.clock import SystemClock
from dormouse.base.revocation import Revocations
from dormouse.base.rpc import make_channel
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Identity, Role
from proto.autoscaler_pb2_grpc import AutoscalerStub
from proto.control_pb2_grpc import ControlStub
from proxy.acceptor import host_port, inherit_or_listen, listen
from proxy.access import cut_pod, enforce
from proxy.addresses import Networks
from proxy.certificates import Certificates
from proxy.config import ProxySettings
from proxy.door import Door
from proxy.guests import Guests
from proxy.mover import Mover
from proxy.peers import Peers
from proxy.pods import Pods
from proxy.reporter import Reporter
from proxy.server import ProxyServer
from proxy.tenants import Tenants

PICTURE_SECONDS = 5.0
"""How long to wait for the autoscaler's picture before serving without it."""


@asynccontextmanager
async def serve(settings: ProxySettings) -> AsyncIterator[role.Service]:
    """Run the proxy inside the block; yields its addresses, its drain and its reload."""
    _take_all_descriptors()
    clock = SystemClock()
    certificates = Certificates(settings.certs, clock)
    credentials = certificates.peer
    revocations = Revocations(settings.certs)
    control = make_channel(settings.control_address, credentials, Identity(role=Role.CONTROL))
    scaler = make_channel(settings.autoscaler_address, credentials, Identity(role=Role.AUTOSCALER))
    tenants = Tenants(ControlStub(control), clock)
    peer_listeners = _listen_to_peers(settings)
    peer_address = _peer_address(settings, peer_listeners)
    autoscaler = AutoscalerStub(scaler)
    pods = Pods(autoscaler, clock, peer_address=peer_address)
    door = Door(
        limits=settings.limits,
        client_tls=certificates.client,
        peer_tls=certificates.peer,
        revocations=revocations,
        tenants=tenants,
        pods=pods,
        clock=clock,
        guests=Guests(settings.limits),
    )
    tenants.on_change = lambda tenant, known: enforce(door.guests, tenant, known)
    revocations.on_revoked = lambda tenant, pod: cut_pod(door.sessions, tenant, pod)
    peers = Peers(door)
    server = _make_server(settings, door, peers)
    ready = {"address": server.address}
    if server.balanced_address:
        ready["proxy_protocol"] = server.balanced_address
    peers.serve(peer_listeners)
    ready["peer"] = peer_address
    watching = [
        spawn(pods.watch(), name="watch-pods"),
        spawn(Mover(door, random.SystemRandom()).run(), name="move-sessions"),
        spawn(Reporter(autoscaler, pods, door.census).run(), name="report-sessions"),
        spawn(tenants.watch(door.guests.tenants), name="watch-tenants"),
        spawn(revocations.watch(), name="watch-revocations"),
        spawn(certificates.watch(settings.certificate_poll_seconds), name="watch-certificates"),
    ]
    for task in watching:
        task.add_done_callback(_end_with)
    page: object = None
    try:
        await _wait_for_picture(pods)
        server.start()
        metrics_port, page = metrics_page.serve(settings.metrics_host, settings.metrics_port)
        ready["metrics"] = f"http://{settings.metrics_host}:{metrics_port}/metrics"
        yield role.Service(ready=ready, drain=server.drain, reload=certificates.look)
    finally:
        await server.stop()
        await peers.stop()
        metrics_page.stop(page)
        await cancel(*watching)
        await control.close(None)
        await scaler.close(None)


def _make_server(settings: ProxySettings, door: Door, peers: Peers) -> ProxyServer:
    listeners = inherit_or_listen(settings.listen_fds, settings.host, settings.port)
    behind = settings.proxy_protocol
    if behind is None:
        return ProxyServer(door, peers, listeners)
    return ProxyServer(
        door,
        peers,
        listeners,
        balanced=inherit_or_listen(behind.listen_fds, behind.host, behind.port),
        trusted=Networks.parse(behind.trusted_networks),
    )


def _take_all_descriptors() -> None:
    """A session takes two: the system's usual limit is for programs that need few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen_to_peers(settings: ProxySettings) -> list[socket.socket]:
    return [listen(settings.peer_host, settings.peer_port)] if settings.peer_host else []


def _peer_address(settings: ProxySettings, listeners: list[socket.socket]) -> str:
    """What other proxies are told; empty: they cannot reach this one."""
    if not listeners:
        return ""
    return host_port(settings.peer_name or settings.peer_host, listeners[0].getsockname()[1])


async def _wait_for_picture(pods: Pods) -> None:
    try:
        await asyncio.wait_for(pods.complete.wait(), PICTURE_SECONDS)
    except TimeoutError:
        return  # the first connection of each tenant asks for a wake instead


def _end_with(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        signal.raise_signal(signal.SIGINT)  # without its picture the role only half lives


if __name__ == "__main__":
    role.run("proxy", ProxySettings, serve)
