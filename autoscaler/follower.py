"""Follows control's stream of tenants, so that a changed setting counts at once.

Whoever was cut off has missed changes: each new stream therefore asks for the tenants that are
awake, and for those that are to have pods at all times, who need not have one yet.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from autoscaler.controller import Controller
from autoscaler.limits import Defaults
from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from proto.control_pb2 import TenantChange, WatchTenantsRequest

if TYPE_CHECKING:
    from proto.control_pb2_grpc import ControlAsyncStub

PROTOCOL_VERSION = 1
RETRY_SECONDS = 0.2
RETRY_SECONDS_MAX = 5.0

_log = logging.getLogger(__name__)


class TenantFollower:
    """Tells the fleet what control says of tenants."""

    def __init__(
        self,
        controller: Controller,
        control: "ControlAsyncStub",
        defaults: Defaults,
        ended: Callable[[TenantId], Coroutine[Any, Any, object]],
    ) -> None:
        """`ended` puts a tenant to sleep that has been deleted."""
        self._controller = controller
        self._control = control
        self._defaults = defaults
        self._ended = ended
        self.following = False
        """Whether nothing is being missed."""

    def __repr__(self) -> str:
        return f"<TenantFollower following={self.following}>"

    async def run(self) -> None:
        """Follow until cancelled."""
        delay = RETRY_SECONDS
        while True:
            try:
                async for change in self._changes():
                    delay = RETRY_SECONDS
                    self._note(change)
                _log.info("control ended the stream of tenants")
            except grpc.aio.AioRpcError as error:
                _log.info("tenants not followed", extra={"code": error.code().name})
            self.following = False
            await asyncio.sleep(delay * (0.5 + random.random()))
            delay = min(2 * delay, RETRY_SECONDS_MAX)

    async def _changes(self) -> AsyncIterator[TenantChange]:
        request = WatchTenantsRequest(
            protocol_version=PROTOCOL_VERSION,
            tenant_ids=list(self._controller.fleet.tenants),
            with_pods_min=True,
        )
        stream = self._control.WatchTenants(request, wait_for_ready=True)
        try:
            while isinstance(change := await stream.read(), TenantChange):
                yield change
        finally:
            stream.cancel()

    def _note(self, change: TenantChange) -> None:
        if not change.HasField("tenant"):
            self.following = True
            return
        tenant = TenantId(change.tenant.tenant_id)
        fleet, now = self._controller.fleet, self._controller.clock.monotonic()
        if change.deleted:
            fleet.tenant_deleted(tenant, now, version=change.tenant.settings.version)
            if fleet.of(tenant):
                spawn(self._ended(tenant), name=f"end-deleted-{tenant}")
        else:
            fleet.limits_told(tenant, self._defaults.fill(change.tenant.settings), now)
        self._controller.step(tenant)
