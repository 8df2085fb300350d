"""A control that hears reports and tells leaves as a test wants, and a pod that follows it.

async def body(pod: LimitedPod) -> None:
    client = await Linked.open(pod)
    await pod.told(stopped())

with_limits(body, leave=open_up_to(units=1000))
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from dormouse.base.rpc import Access, make_server
from dormouse.base.tls import Identity, Role
from dormouse.base.units import MICRO, units_of
from proto.control_pb2 import SpendLeave, UsageAck, UsageReport, WatchSpendingRequest
from proto.control_pb2_grpc import ControlServicer, add_ControlServicer_to_server
from sqlnode.session.tenant import Tenant
from sqlnode.spending.spending import Spending
from tests.support.bornpod import Pod, with_pod

LIMIT = "50000 request units a month"
DECEMBER = 1_796_083_200
"""2026-12-01 00:00 UTC."""
_METHODS = ("ReportUsage", "WatchSpending", "ReportStatements")


def free(**changes: Any) -> SpendLeave:
    """Nothing stops or slows."""
    return _leave(SpendLeave.FREE, **changes)


def open_up_to(units: float, **changes: Any) -> SpendLeave:
    """A ceiling, in request units since the stamp."""
    return _leave(SpendLeave.OPEN, ceiling_micro_units=int(units * MICRO), **changes)


def throttled(units_per_second: float, **changes: Any) -> SpendLeave:
    """Statements wait."""
    rate = int(units_per_second * MICRO)
    return _leave(SpendLeave.THROTTLED, rate_micro_units=rate, percent=100, **changes)


def stopped(units_per_second: float = 50, **changes: Any) -> SpendLeave:
    """Only reading and deleting, at a trickle."""
    rate = int(units_per_second * MICRO)
    return _leave(SpendLeave.STOPPED, rate_micro_units=rate, percent=100, **changes)


def _leave(state: SpendLeave.State.ValueType, **changes: Any) -> SpendLeave:
    leave = SpendLeave(state=state, limit=LIMIT, resets_at_unix=DECEMBER)
    leave.MergeFrom(SpendLeave(**changes))
    return leave


@dataclass
class FakeControl(ControlServicer):
    """`leave` is told at once to who watches, and again whenever it changes."""

    leave: SpendLeave = field(default_factory=SpendLeave)
    heard: list[UsageReport] = field(default_factory=list)
    on_report: Callable[[UsageReport], None] = lambda _: None
    """Called with each report, before it is acknowledged."""
    away: bool = False
    """Every call fails."""
    watches: list[WatchSpendingRequest] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, leave: SpendLeave) -> None:
        """From now on this leave, under the next number."""
        number = self.leave.number + 1
        self.leave = SpendLeave()
        self.leave.CopyFrom(leave)
        self.leave.number = number
        self._wake()

    def leave_them(self) -> None:
        """Break every stream, and answer nothing."""
        self.away = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def ReportUsage(self, request: UsageReport, context: Any) -> UsageAck:  # noqa: N802
        """See proto/control.proto."""
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        self.heard.append(request)
        self.on_report(request)
        return UsageAck(sequence=request.sequence)

    async def WatchSpending(  # noqa: N802
        self, request: WatchSpendingRequest, context: Any
    ) -> AsyncIterator[SpendLeave]:
        """See proto/control.proto."""
        self.watches.append(request)
        while not self.away:
            changed = self._changed
            yield self.leave
            await changed.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    async def ReportStatements(self, request: Any, context: Any) -> UsageAck:  # noqa: N802
        """See proto/control.proto."""
        return UsageAck(sequence=request.sequence)

    ResolveTenant = IssuePod = RenewPod = ReportStatements  # type: ignore[assignment]
    WatchTenants = ReportStatements  # type: ignore[assignment]

    @property
    def billed_units(self) -> float:
        """What the last report says."""
        return units_of(self.heard[-1]).total / MICRO


@dataclass(frozen=True)
class LimitedPod:
    """A stamped pod and its control."""

    pod: Pod
    control: FakeControl

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of the proxy's."""
        return await self.pod.dial()

    @property
    def tenant(self) -> Tenant:
        """The pod's inside."""
        tenant = self.pod.service._tenant
        assert tenant is not None
        return tenant

    @property
    def spending(self) -> Spending:
        """What the sessions ask."""
        return self.tenant.spending

    @property
    def used_units(self) -> float:
        """By the pod's own count, billed or not."""
        assert self.spending._scale is not None
        return self.spending._scale.used() / MICRO

    async def told(self, leave: SpendLeave) -> None:
        """Tell a leave and wait until the pod goes by it."""
        self.control.tell(leave)
        await self.until(lambda: self.spending.leave.number == self.control.leave.number)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0.002)


def with_limits(
    body: Callable[[LimitedPod], Awaitable[None]],
    *,
    leave: SpendLeave | None = None,
    first: SpendLeave | None = None,
    **stamp: Any,
) -> None:
    """Run `body` with a fresh pod that follows a control which says `leave`; `first` is what the
    stamp says, where that is another."""

    async def run(pod: Pod) -> None:
        control = FakeControl(leave or free())
        access = Access(tenant_field="tenant_id")
        server = make_server({f"/dormouse.control.v1.Control/{name}": access for name in _METHODS})
        add_ControlServicer_to_server(control, server)
        credentials = pod.authority.credentials(Identity(role=Role.CONTROL))
        port = server.add_secure_port("127.0.0.1:0", credentials.for_grpc_server())
        await server.start()
        try:
            await pod.stamp(
                control_address=f"127.0.0.1:{port}",
                spending=(first or control.leave).SerializeToString(),
                sessions_max=20,
                **stamp,
            )
            await body(LimitedPod(pod, control))
            await pod.service.close()
        finally:
            control.leave_them()
            await server.stop(None)

    with_pod(run)
