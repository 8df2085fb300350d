"""The life of one pod: born warm, stamped once, drained, gone.

    run ──▶ warm ──Stamp──▶ serving ──Drain / SIGTERM──▶ draining ──last session──▶ exit
                                         │ deadline: open sessions end with 57P01 ┘

`run` is called in a freshly forked process. Everything that threads or locks hang on (the event
loop, gRPC, the key pair) is made here, after the fork, and never before it.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable

import uvloop

from dormouse.base import scheduling
from dormouse.base.clock import SystemClock
from dormouse.base.renewal import CertificateFiles
from dormouse.base.rpc import Access, make_server
from dormouse.base.tasks import spawn
from dormouse.base.tls import Role
from proto.pod_pb2_grpc import add_PodServicer_to_server
from sqlnode.config import PodSettings
from sqlnode.podservice import PodService, make_key
from sqlnode.rehearsal import rehearse_briefly

QUIET_SECONDS = 0.3
"""When many tenants wake at once nobody rehearses: the machine has better things to do."""

_log = logging.getLogger(__name__)

_AUTOSCALER = Access(roles=frozenset({Role.AUTOSCALER}))
ACCESS = {
    f"/dormouse.pod.v1.Pod/{method}": _AUTOSCALER
    for method in ("Stamp", "Drain", "TakeBack", "Status", "SetOwner", "Renew")
}
"""Who may call a pod: the autoscaler alone."""


def run(settings: PodSettings, report: Callable[[str], None]) -> None:
    """Be a pod until it is drained or ended by a signal.

    `report` is called once with the address of the control port, when that answers.
    """
    scheduling.answer()
    uvloop.run(_live(settings, report))


async def _rehearse(settings: PodSettings) -> None:
    """Once the pod has had nothing to do for a moment; a stamp cancels it."""
    await asyncio.sleep(QUIET_SECONDS)
    for failure in await rehearse_briefly(settings):
        _log.error("the rehearsal failed", extra={"reason": failure})


async def _live(settings: PodSettings, report: Callable[[str], None]) -> None:
    service = PodService(settings, key=make_key(), clock=SystemClock())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    server = make_server(ACCESS)
    add_PodServicer_to_server(service, server)
    # Looked at when somebody connects, which is seldom: no pod wakes up for its files.
    files, credentials = CertificateFiles.of(settings.certs, Role.POD)
    port = server.add_secure_port(f"{settings.host}:0", credentials.for_grpc_server(files.look))
    await server.start()
    report(f"{settings.host}:{port}")
    _log.info("warm", extra={"pid": os.getpid(), "control_port": port})
    service.rehearsal = spawn(_rehearse(settings), name="rehearsal")
    try:
        await service.ended.wait()
    finally:
        await service.close()
        await server.stop(settings.stop_seconds)
    _log.info("ended", extra={"pid": os.getpid()})
