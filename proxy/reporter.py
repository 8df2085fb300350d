"""Tells the autoscaler what sessions this proxy holds, all of them: on change, and regularly."""

import asyncio
import logging
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from proto.autoscaler_pb2 import SessionsReport, TenantSessions
from proxy.census import Census
from proxy.pods import PROTOCOL_VERSION, Pods

if TYPE_CHECKING:
    from proto.autoscaler_pb2_grpc import AutoscalerAsyncStub

REPORT_SECONDS = 10.0
"""At least that often."""
PAUSE_SECONDS = 1.0
"""At most that often: changes in the meantime are told together."""
TIMEOUT_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Reporter:
    """See the module."""

    def __init__(self, autoscaler: "AutoscalerAsyncStub", pods: Pods, census: Census) -> None:
        self._autoscaler = autoscaler
        self._pods = pods
        self._census = census
        pods.on_meeting = census.changed.set  # what was told on an earlier stream is forgotten

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            try:
                async with asyncio.timeout(REPORT_SECONDS):
                    await self._census.changed.wait()
            except TimeoutError:
                pass  # nothing has changed
            if self._pods.number:  # without one the autoscaler does not know whose it is
                self._census.changed.clear()
                await self._report()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _report(self) -> None:
        report = SessionsReport(
            protocol_version=PROTOCOL_VERSION,
            proxy_number=self._pods.number,
            tenants=[
                TenantSessions(tenant_id=tenant, sessions=sessions, parked=parked)
                for tenant, sessions, parked in self._census
            ],
        )
        try:
            await self._autoscaler.ReportSessions(report, timeout=TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            self._census.changed.set()
            _log.info("report not taken", extra={"code": error.code().name})
