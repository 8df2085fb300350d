"""The autoscaler as a process: `python -m autoscaler --config FILE`."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from autoscaler.actions import Policy
from autoscaler.config import AutoscalerSettings
from autoscaler.core import Core
from autoscaler.limits import Defaults
from autoscaler.podcontrol import PodControl
from autoscaler.runtimes.process import ProcessRuntime
from autoscaler.service import ACCESS
from autoscaler.waker import WakeLimits
from dormouse.base import metrics as metrics_page
from dormouse.base import role
from dormouse.base.clock import SystemClock
from dormouse.base.errors import Unavailable
from dormouse.base.renewal import CertificateFiles, LiveCredentials
from dormouse.base.rpc import make_channel, make_server
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Identity, Role
from proto.autoscaler_pb2_grpc import add_AutoscalerServicer_to_server
from proto.control_pb2_grpc import ControlStub

if TYPE_CHECKING:
    from proto.control_pb2_grpc import ControlAsyncStub

STOP_SECONDS = 1.0


@asynccontextmanager
async def serve(settings: AutoscalerSettings) -> AsyncIterator[role.Ready]:
    """Run the autoscaler inside the block; yields its addresses.

    Raises Unavailable where the pod host does not answer in time. Pods outlive the block: the next
    autoscaler takes them over.
    """
    files, credentials = CertificateFiles.of(settings.certs, "autoscaler")
    channel = make_channel(settings.control_address, credentials, Identity(role=Role.CONTROL))
    channel.get_state(try_to_connect=True)  # so that the first wake finds it connected
    core = make_core(settings, credentials, ControlStub(channel))
    core.running.add_done_callback(_end_with)
    server = make_server(ACCESS)
    add_AutoscalerServicer_to_server(core.service, server)
    address = f"{settings.listen_host}:{settings.listen_port}"
    port = server.add_secure_port(address, credentials.for_grpc_server())
    watching = spawn(files.watch(), name="watch-certificates")
    page: object = None
    try:
        full = await core.until_ready(settings.ready_timeout_seconds)
        if not full and not core.controller.fleet.connected:
            raise Unavailable("the pod host does not answer")
        await server.start()
        metrics_port, page = metrics_page.serve(settings.listen_host, settings.metrics_port)
        yield {
            "address": f"{settings.listen_host}:{port}",
            "metrics": f"http://{settings.listen_host}:{metrics_port}/metrics",
        }
    finally:
        await server.stop(STOP_SECONDS)
        metrics_page.stop(page)
        await cancel(watching)
        await core.close()
        await channel.close(None)


def _end_with(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        signal.raise_signal(signal.SIGTERM)  # without its controller the role only looks alive


def make_core(
    settings: AutoscalerSettings, credentials: LiveCredentials, control: "ControlAsyncStub"
) -> Core:
    """The autoscaler of the pods of this machine."""
    return Core(
        policy=Policy(
            warm_pods=settings.warm_pods,
            warm_pods_max=max(settings.warm_pods_max, settings.warm_pods),
            warm_age_max=settings.warm_age_seconds,
            pods_max=settings.pods_max,
            refills_max=settings.refills_max,
            stamp_timeout=settings.stamp_timeout_seconds,
            drain_seconds=settings.drain_seconds,
            replacements_max=settings.replacements_max,
            scale=settings.scale,
        ),
        limits=WakeLimits(
            wake_timeout=settings.wake_timeout_seconds,
            stamp_timeout=settings.stamp_timeout_seconds,
            wakes_max=settings.wakes_max,
        ),
        defaults=Defaults(
            idle_timeout=settings.idle_timeout_seconds,
            pods_min=settings.pods_per_tenant_min,
            pods_max=settings.pods_per_tenant_max,
        ),
        runtime=ProcessRuntime(settings.podhost_sockets),
        pods=PodControl(credentials),
        control=control,
        storage_address=settings.storage_address,
        control_address=settings.control_address,
        clock=SystemClock(),
    )


if __name__ == "__main__":
    role.run("autoscaler", AutoscalerSettings, serve)
