"""The autoscaler as a process: `python -m autoscaler --config FILE`."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from autoscaler import metrics
from autoscaler.config import AutoscalerSettings
from autoscaler.controller import Controller
from autoscaler.decide import Policy
from autoscaler.fleet import Fleet
from autoscaler.podcontrol import PodControl
from autoscaler.runtimes.process import ProcessRuntime
from autoscaler.service import ACCESS, AutoscalerService
from autoscaler.waker import WakeLimits, Waker
from dormouse.base import metrics as metrics_page
from dormouse.base import role
from dormouse.base.clock import SystemClock
from dormouse.base.errors import Unavailable
from dormouse.base.rpc import make_channel, make_server
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Credentials, Identity, Role
from proto.autoscaler_pb2_grpc import add_AutoscalerServicer_to_server
from proto.control_pb2_grpc import ControlStub

STOP_SECONDS = 1.0


@asynccontextmanager
async def serve(settings: AutoscalerSettings) -> AsyncIterator[role.Ready]:
    """Run the autoscaler inside the block; yields its addresses.

    Raises Unavailable where the pod host does not answer in time. Pods outlive the block: the next
    autoscaler takes them over.
    """
    credentials = Credentials.read(settings.certs, "autoscaler")
    channel = make_channel(settings.control_address, credentials, Identity(role=Role.CONTROL))
    channel.get_state(try_to_connect=True)  # so that the first wake finds it connected
    controller = make_controller(settings, credentials)
    waker = Waker(
        controller,
        ControlStub(channel),
        settings.storage_address,
        WakeLimits(
            wake_timeout=settings.wake_timeout_seconds,
            stamp_timeout=settings.stamp_timeout_seconds,
            wakes_max=settings.wakes_max,
            idle_timeout=settings.idle_timeout_seconds,
        ),
    )
    running = spawn(controller.run(), name="controller")
    running.add_done_callback(_end_with)
    server = make_server(ACCESS)
    add_AutoscalerServicer_to_server(AutoscalerService(controller, waker), server)
    address = f"{settings.listen_host}:{settings.listen_port}"
    port = server.add_secure_port(address, credentials.for_grpc_server())
    page: object = None
    try:
        full = await controller.until_warm(settings.ready_timeout_seconds)
        if not full and not controller.fleet.connected:
            raise Unavailable("the pod host does not answer")
        await server.start()
        metrics_port, page = metrics_page.serve(settings.listen_host, settings.metrics_port)
        metrics.POOL_WANTED.set(settings.warm_pods)
        yield {
            "address": f"{settings.listen_host}:{port}",
            "metrics": f"http://{settings.listen_host}:{metrics_port}/metrics",
        }
    finally:
        await server.stop(STOP_SECONDS)
        metrics_page.stop(page)
        await cancel(running)
        await channel.close(None)


def _end_with(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        signal.raise_signal(signal.SIGTERM)  # without its controller the role only looks alive


def make_controller(settings: AutoscalerSettings, credentials: Credentials) -> Controller:
    """The controller of the pods of this machine."""
    policy = Policy(
        warm_pods=settings.warm_pods,
        pods_max=settings.pods_max,
        stamp_timeout=settings.stamp_timeout_seconds,
    )
    runtime = ProcessRuntime(settings.podhost_sockets)
    return Controller(Fleet(), policy, runtime, PodControl(credentials), SystemClock())


if __name__ == "__main__":
    role.run("autoscaler", AutoscalerSettings, serve)
