"""Who `<name>-<id>` is: asked of control, remembered for a while.

A known tenant is remembered for KNOWN_SECONDS, and while control does not answer for STALE_SECONDS,
so that running tenants need no control. An unknown one is remembered for a few seconds only: it may
be created at any time. All who ask for one tenant at a time share one question.
"""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from dormouse.base.clock import Clock
from dormouse.base.errors import Blame, Unavailable
from dormouse.base.ids import TenantAddress
from dormouse.base.tasks import spawn
from proto.control_pb2 import ResolveTenantRequest
from proxy.errors import unknown_tenant

if TYPE_CHECKING:
    from proto.control_pb2_grpc import ControlAsyncStub

PROTOCOL_VERSION = 1
KNOWN_SECONDS = 30.0
UNKNOWN_SECONDS = 3.0
STALE_SECONDS = 3600.0
ENTRIES_MAX = 20_000
ASK_TIMEOUT = 5.0
ASKING_MAX = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    exists: bool
    asked_at: float


class Tenants:
    """The proxy's memory of which tenants exist."""

    def __init__(self, control: "ControlAsyncStub", clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self._entries: OrderedDict[TenantAddress, _Entry] = OrderedDict()
        self._asking: dict[TenantAddress, asyncio.Task[bool | None]] = {}

    def __repr__(self) -> str:
        return f"<Tenants known={len(self._entries)} asking={len(self._asking)}>"

    async def check(self, address: TenantAddress) -> None:
        """Return if there is such a tenant. Raises Rejected if not, Unavailable if nobody knows."""
        entry = self._entries.get(address)
        age = self._clock.monotonic() - entry.asked_at if entry is not None else 0.0
        if entry is not None and age < (KNOWN_SECONDS if entry.exists else UNKNOWN_SECONDS):
            exists: bool | None = entry.exists
        else:
            exists = await self._ask(address)
            if exists is None and entry is not None and entry.exists and age < STALE_SECONDS:
                exists = True
        if exists is None:
            raise Unavailable("the tenant cannot be looked up right now", blame=Blame.CONTROL)
        if not exists:
            raise unknown_tenant()

    async def _ask(self, address: TenantAddress) -> bool | None:
        task = self._asking.get(address)
        if task is None:
            if len(self._asking) >= ASKING_MAX:
                return None
            task = spawn(self._resolve(address), name=f"resolve-{address}")
            self._asking[address] = task
            task.add_done_callback(lambda _: self._asking.pop(address, None))
        return await asyncio.shield(task)

    async def _resolve(self, address: TenantAddress) -> bool | None:
        request = ResolveTenantRequest(
            protocol_version=PROTOCOL_VERSION, tenant_id=address.id, name=address.name
        )
        try:
            await self._control.ResolveTenant(request, timeout=ASK_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                extra = {"tenant": address.id, "code": error.code().name}
                _log.warning("control does not answer", extra=extra)
                return None
            exists = False
        else:
            exists = True
        self._entries[address] = _Entry(exists, self._clock.monotonic())
        self._entries.move_to_end(address)
        while len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)
        return exists
