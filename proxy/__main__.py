"""The proxy as a process: `python -m proxy --config FILE`."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dormouse.base import metrics as metrics_page
from dormouse.base import role
from dormouse.base.clock import SystemClock
from dormouse.base.rpc import make_channel
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Credentials, Identity, Role
from proto.autoscaler_pb2_grpc import AutoscalerStub
from proto.control_pb2_grpc import ControlStub
from proxy.config import ProxySettings
from proxy.door import Door, read_client_tls
from proxy.pods import Pods
from proxy.server import ProxyServer, listen
from proxy.tenants import Tenants

PICTURE_SECONDS = 5.0
"""How long to wait for the autoscaler's picture before serving without it."""


@asynccontextmanager
async def serve(settings: ProxySettings) -> AsyncIterator[role.Ready]:
    """Run the proxy inside the block; yields its addresses."""
    credentials = Credentials.read(settings.certs, "proxy")
    control = make_channel(settings.control_address, credentials, Identity(role=Role.CONTROL))
    scaler = make_channel(settings.autoscaler_address, credentials, Identity(role=Role.AUTOSCALER))
    clock = SystemClock()
    pods = Pods(AutoscalerStub(scaler), clock)
    door = Door(
        limits=settings.limits,
        client_tls=read_client_tls(settings.certs),
        pod_tls=credentials.for_tls_client(),
        tenants=Tenants(ControlStub(control), clock),
        pods=pods,
        clock=clock,
    )
    server = ProxyServer(door, _listeners(settings))
    control.get_state(try_to_connect=True)  # so that the first connection finds it connected
    watching = spawn(pods.watch(), name="watch-pods")
    watching.add_done_callback(_end_with)
    page: object = None
    try:
        await _wait_for_picture(pods)
        server.start()
        metrics_port, page = metrics_page.serve(settings.metrics_host, settings.metrics_port)
        yield {
            "address": server.address,
            "metrics": f"http://{settings.metrics_host}:{metrics_port}/metrics",
        }
    finally:
        await server.stop()
        metrics_page.stop(page)
        await cancel(watching)
        await control.close(None)
        await scaler.close(None)


def _listeners(settings: ProxySettings) -> list[socket.socket]:
    inherited = [socket.socket(fileno=descriptor) for descriptor in settings.listen_fds]
    return inherited or [listen(settings.host, settings.port)]


async def _wait_for_picture(pods: Pods) -> None:
    try:
        await asyncio.wait_for(pods.complete.wait(), PICTURE_SECONDS)
    except TimeoutError:
        return  # the first connection of each tenant asks for a wake instead


def _end_with(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        signal.raise_signal(signal.SIGTERM)  # without its picture the role only half lives


if __name__ == "__main__":
    role.run("proxy", ProxySettings, serve)
