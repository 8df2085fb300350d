"""Who `<name>-<id>` is and what holds for it: asked of control, remembered, and kept up to date.

    check ──▶ remembered and fresh? ──▶ answer
                    └─ no ──▶ ResolveTenant (all who ask for a tenant at a time share a question)
    watch ◀── control: every change, at once ──▶ remembered, and `on_change` told

What was learnt while a stream of changes is live stays fresh as long as that stream lives. When it
breaks, what is remembered is good for KNOWN_SECONDS; and for STALE_SECONDS while control does not
answer, so that running tenants need no control. A new stream begins with the tenants that have
clients here, as they are by then; everything else from before it is asked for when next needed. An
unknown tenant is remembered for a few seconds only: it may be created at any time.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from dormouse.base.clock import Clock
from dormouse.base.errors import Blame, Unavailable
from dormouse.base.ids import TenantAddress, TenantId
from dormouse.base.tasks import spawn
from proto.control_pb2 import ResolveTenantRequest, Tenant, TenantChange, WatchTenantsRequest
from proxy import metrics
from proxy.addresses import Networks
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
ASKS_OVERTAKEN_MAX = 3
RECONNECT_SECONDS = 0.2
RECONNECT_MAX_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownTenant:
    """What the proxy has to know of a tenant."""

    id: TenantId
    name: str
    connections_max: int = 0
    """Client connections at a time through this proxy; 0: as many as the proxy takes."""
    allowed: Networks | None = None
    """Where clients may come from; None: from anywhere."""

    @classmethod
    def read(cls, tenant: Tenant) -> "KnownTenant":
        """From control's message. A network that cannot be read lets nobody in."""
        texts = tenant.settings.allowed_networks
        return cls(
            TenantId(tenant.tenant_id),
            tenant.name,
            tenant.settings.connections_max,
            _networks(tenant.tenant_id, texts) if texts else None,
        )


def _networks(tenant: int, texts: Iterable[str]) -> Networks:
    try:
        return Networks.parse(texts)
    except ValueError as error:  # control checks them: this is not the network its owner meant
        _log.error("unreadable networks", extra={"tenant": tenant, "cause": str(error)})
        return Networks()


@dataclass(slots=True)
class _Entry:
    tenant: KnownTenant
    confirmed_at: float
    stream: int
    """The stream of changes that was live when it was asked for; 0: none."""


OnChange = Callable[[TenantId, KnownTenant | None], None]
"""Told of a tenant as it is now; None: it is no more."""


@dataclass(slots=True)
class _Ask:
    """A question under way, and whether a change has come in that its answer may not know of."""

    overtaken: bool = False
    task: "asyncio.Task[bool | None] | None" = field(default=None)


class Tenants:
    """The proxy's memory of which tenants exist."""

    def __init__(self, control: "ControlAsyncStub", clock: Clock) -> None:
        self.on_change: OnChange = lambda _tenant, _known: None
        self._control = control
        self._clock = clock
        self._known: OrderedDict[TenantId, _Entry] = OrderedDict()
        self._unknown: OrderedDict[TenantAddress, float] = OrderedDict()
        self._asking: dict[TenantAddress, _Ask] = {}
        self._stream = 0
        """The live stream's number; 0: there is none."""
        self._streams = 0

    def __repr__(self) -> str:
        return (
            f"<Tenants known={len(self._known)} asking={len(self._asking)} stream={self._stream}>"
        )

    # What arrivals ask

    async def check(self, address: TenantAddress) -> KnownTenant:
        """The tenant. Raises Rejected if there is none, Unavailable if nobody knows."""
        now = self._clock.monotonic()
        entry = self._known.get(address.id)
        if entry is not None and self._is_fresh(entry, now):
            self._known.move_to_end(address.id)
            return _named(address, entry.tenant)
        asked_at = self._unknown.get(address)
        if asked_at is not None and now - asked_at < UNKNOWN_SECONDS:
            raise unknown_tenant()
        exists = await self._ask(address)
        entry = self._known.get(address.id)
        if exists is False:
            raise unknown_tenant()
        if entry is None or now - entry.confirmed_at >= STALE_SECONDS:
            raise Unavailable("the tenant cannot be looked up right now", blame=Blame.CONTROL)
        return _named(address, entry.tenant)

    def _is_fresh(self, entry: _Entry, now: float) -> bool:
        if self._stream:
            return entry.stream == self._stream
        return now - entry.confirmed_at < KNOWN_SECONDS

    async def _ask(self, address: TenantAddress) -> bool | None:
        """Whether there is such a tenant; None: nobody knows."""
        ask = self._asking.get(address)
        if ask is None:
            if len(self._asking) >= ASKING_MAX:
                return None
            ask = self._asking[address] = _Ask()
            ask.task = spawn(self._resolve(address, ask), name=f"resolve-{address}")
            ask.task.add_done_callback(lambda _: self._asking.pop(address, None))
        return await asyncio.shield(ask.task) if ask.task is not None else None

    async def _resolve(self, address: TenantAddress, ask: _Ask) -> bool | None:
        request = ResolveTenantRequest(
            protocol_version=PROTOCOL_VERSION, tenant_id=address.id, name=address.name
        )
        tenant: Tenant | None = None
        for _ in range(ASKS_OVERTAKEN_MAX):
            ask.overtaken = False
            stream = self._stream
            try:
                tenant = await self._control.ResolveTenant(
                    request,
                    timeout=ASK_TIMEOUT,
                    # Who has nothing to fall back on waits for a control that is being restarted.
                    wait_for_ready=address.id not in self._known,
                )
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    extra = {"tenant": address.id, "code": error.code().name}
                    _log.warning("control does not answer", extra=extra)
                    return None
                tenant = None
            if not ask.overtaken:
                break
        else:
            stream = 0  # a tenant that changes all the time is asked for again next time
        if tenant is None:
            self._forget(address)
            return False
        self._remember(KnownTenant.read(tenant), stream)
        return True

    def _remember(self, tenant: KnownTenant, stream: int) -> None:
        self._known[tenant.id] = _Entry(tenant, self._clock.monotonic(), stream)
        self._known.move_to_end(tenant.id)
        self._unknown.pop(TenantAddress(tenant.name, tenant.id), None)
        while len(self._known) > ENTRIES_MAX:
            self._known.popitem(last=False)

    def _forget(self, address: TenantAddress) -> None:
        entry = self._known.get(address.id)
        if entry is not None and entry.tenant.name == address.name:
            del self._known[address.id]
        self._unknown[address] = self._clock.monotonic()
        self._unknown.move_to_end(address)
        while len(self._unknown) > ENTRIES_MAX:
            self._unknown.popitem(last=False)

    # What control tells

    async def watch(self, live: Callable[[], Iterable[TenantId]]) -> None:
        """Follow control until cancelled. `live`: the tenants that have clients here."""
        delay = RECONNECT_SECONDS
        while True:
            streams = self._streams
            try:
                await self._follow(live)
            except grpc.aio.AioRpcError as error:
                _log.info("changes of tenants unknown", extra={"code": error.code().name})
            finally:
                self._end_stream()
            delay = RECONNECT_SECONDS if self._streams > streams else delay * 2
            await asyncio.sleep(min(delay, RECONNECT_MAX_SECONDS))

    async def _follow(self, live: Callable[[], Iterable[TenantId]]) -> None:
        asked = set(live())
        request = WatchTenantsRequest(protocol_version=PROTOCOL_VERSION, tenant_ids=sorted(asked))
        async for change in self._control.WatchTenants(request, wait_for_ready=True):
            if not self._stream:
                self._begin_stream()
                self._ask_again(set(live()) - asked)
            if change.HasField("tenant"):
                self._apply(change)

    def _begin_stream(self) -> None:
        self._streams += 1
        self._stream = self._streams
        for ask in self._asking.values():
            ask.overtaken = True  # its answer may be older than the stream
        metrics.TENANTS_FOLLOWED.set(1)

    def _end_stream(self) -> None:
        now = self._clock.monotonic()
        for entry in self._known.values():
            if self._stream and entry.stream == self._stream:
                entry.confirmed_at = now
        self._stream = 0
        metrics.TENANTS_FOLLOWED.set(0)

    def _ask_again(self, tenants: set[TenantId]) -> None:
        """Clients that came while the stream was on its way may have been let in by old rules."""
        for tenant in tenants:
            if (entry := self._known.get(tenant)) is not None:
                address = TenantAddress(entry.tenant.name, tenant)
                spawn(self._confirm(address), name=f"confirm-{address}")

    async def _confirm(self, address: TenantAddress) -> None:
        exists = await self._ask(address)
        if exists is not None:
            entry = self._known.get(address.id)
            self.on_change(address.id, entry.tenant if exists and entry is not None else None)

    def _apply(self, change: TenantChange) -> None:
        known = None if change.deleted else KnownTenant.read(change.tenant)
        tenant = TenantId(change.tenant.tenant_id)
        for address, ask in self._asking.items():
            if address.id == tenant:
                ask.overtaken = True
        if known is None:
            self._known.pop(tenant, None)
        elif tenant in self._known:
            self._remember(known, self._stream)
        else:
            self._unknown.pop(TenantAddress(known.name, tenant), None)
        metrics.TENANT_CHANGES.inc()
        self.on_change(tenant, known)


def _named(address: TenantAddress, tenant: KnownTenant) -> KnownTenant:
    if tenant.name != address.name:
        raise unknown_tenant()
    return tenant
