"""What the proxy remembers of tenants: for how long, and what changes of them do to it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import grpc.aio
import pytest

from dormouse.base.clock import ManualClock
from dormouse.base.errors import DormouseError
from dormouse.base.ids import TenantAddress, TenantId
from dormouse.base.tasks import cancel, spawn
from proto.control_pb2 import (
    ResolveTenantRequest,
    Tenant,
    TenantChange,
    TenantSettings,
    WatchTenantsRequest,
)
from proxy.addresses import parse_address
from proxy.tenants import (
    KNOWN_SECONDS,
    STALE_SECONDS,
    UNKNOWN_SECONDS,
    KnownTenant,
    Tenants,
)

DEMO = TenantAddress("demo", TenantId(17))
DAMO = TenantAddress("damo", TenantId(17))


class Broken(grpc.aio.AioRpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "", "")


class FakeControl:
    """Answers as a stub does. `gate` holds answers back after they were made."""

    def __init__(self) -> None:
        self.tenants: dict[int, Tenant] = {17: Tenant(tenant_id=17, name="demo")}
        self.down = False
        self.asked = 0
        self.patience: list[bool] = []
        """Of each question: whether it waits for a control that cannot be reached."""
        self.was_asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.streams: asyncio.Queue[WatchTenantsRequest] = asyncio.Queue()
        self.changes: asyncio.Queue[TenantChange | None] = asyncio.Queue()

    def set_limit(self, connections_max: int) -> Tenant:
        settings = TenantSettings(connections_max=connections_max)
        self.tenants[17] = Tenant(tenant_id=17, name="demo", settings=settings)
        return self.tenants[17]

    async def ResolveTenant(  # noqa: N802
        self, request: ResolveTenantRequest, timeout: float, *, wait_for_ready: bool
    ) -> Tenant:
        self.asked += 1
        self.patience.append(wait_for_ready)
        self.was_asked.set()
        tenant = self.tenants.get(request.tenant_id)
        down = self.down
        await self.gate.wait()
        if down:
            raise Broken(grpc.StatusCode.UNAVAILABLE)
        if tenant is None or tenant.name != request.name:
            raise Broken(grpc.StatusCode.NOT_FOUND)
        return tenant

    async def WatchTenants(  # noqa: N802
        self, request: WatchTenantsRequest, wait_for_ready: bool
    ) -> AsyncIterator[TenantChange]:
        self.streams.put_nowait(request)
        while (change := await self.changes.get()) is not None:
            yield change
        raise Broken(grpc.StatusCode.UNAVAILABLE)


class Rig:
    def __init__(self) -> None:
        self.control = FakeControl()
        self.clock = ManualClock()
        stub: Any = self.control
        self.tenants = Tenants(stub, self.clock)
        self.told: asyncio.Queue[KnownTenant | None] = asyncio.Queue()
        self.tenants.on_change = lambda _tenant, known: self.told.put_nowait(known)

    async def check(self, address: TenantAddress = DEMO) -> KnownTenant | str:
        try:
            return await self.tenants.check(address)
        except DormouseError as error:
            return error.sqlstate

    async def limit(self) -> int:
        known = await self.check()
        assert isinstance(known, KnownTenant)
        return known.connections_max

    async def follow(self, *live: TenantId) -> WatchTenantsRequest:
        """Wait for the stream to be asked for, and let it begin."""
        request = await self.control.streams.get()
        self.control.changes.put_nowait(TenantChange())
        # A change of somebody else: once it has been told, the beginning has been seen.
        self.control.changes.put_nowait(TenantChange(tenant=Tenant(tenant_id=99, name="x")))
        await self.told.get()
        return request

    async def change(self, change: TenantChange) -> KnownTenant | None:
        self.control.changes.put_nowait(change)
        return await self.told.get()


Body = Callable[[Rig], Coroutine[Any, Any, None]]


def run(body: Body) -> None:
    async def main() -> None:
        await asyncio.wait_for(body(Rig()), 30)

    asyncio.run(main())


def watching(live: list[TenantId]) -> Callable[[Body], Body]:
    """The body with `watch` running beside it."""

    def wrap(body: Body) -> Body:
        async def wrapped(rig: Rig) -> None:
            task = spawn(rig.tenants.watch(lambda: live), name="watch")
            try:
                await body(rig)
            finally:
                await cancel(task)

        return wrapped

    return wrap


def test_a_known_tenant_is_asked_for_now_and_then() -> None:
    async def body(rig: Rig) -> None:
        for _ in range(3):
            assert await rig.limit() == 0
        assert rig.control.asked == 1
        rig.control.set_limit(5)
        rig.clock.advance(KNOWN_SECONDS)
        assert await rig.limit() == 5
        assert rig.control.asked == 2

    run(body)


def test_while_control_is_down_the_known_stay_known_for_an_hour() -> None:
    async def body(rig: Rig) -> None:
        assert await rig.limit() == 0
        rig.control.down = True
        rig.clock.advance(STALE_SECONDS - 1)
        assert await rig.limit() == 0
        assert await rig.check(TenantAddress("other", TenantId(18))) == "57P03"
        assert rig.control.patience == [True, False, True]
        rig.clock.advance(1)
        assert await rig.check() == "57P03"

    run(body)


def test_an_unknown_tenant_is_unknown_for_seconds() -> None:
    async def body(rig: Rig) -> None:
        del rig.control.tenants[17]
        assert await rig.check() == "08004"
        assert await rig.check() == "08004"
        assert rig.control.asked == 1
        rig.control.set_limit(3)
        rig.clock.advance(UNKNOWN_SECONDS)
        assert await rig.limit() == 3

    run(body)


def test_a_wrong_name_is_no_tenant_and_does_not_unmake_the_right_one() -> None:
    async def body(rig: Rig) -> None:
        assert await rig.check(DAMO) == "08004"
        assert await rig.limit() == 0
        assert await rig.check(DAMO) == "08004"
        assert rig.control.asked == 2
        rig.clock.advance(UNKNOWN_SECONDS)
        # What is known of the number is enough: nobody is asked.
        assert await rig.check(DAMO) == "08004"
        assert rig.control.asked == 2

    run(body)


def test_those_who_ask_together_ask_once() -> None:
    async def body(rig: Rig) -> None:
        rig.control.gate.clear()
        checks = [spawn(rig.check(), name="check") for _ in range(20)]
        await asyncio.sleep(0)
        rig.control.gate.set()
        assert len({str(await each) for each in checks}) == 1
        assert rig.control.asked == 1

    run(body)


def test_what_is_followed_needs_no_asking() -> None:
    @watching([])
    async def body(rig: Rig) -> None:
        await rig.follow()
        assert await rig.limit() == 0
        known = await rig.change(TenantChange(tenant=rig.control.set_limit(5)))
        assert known is not None
        assert known.connections_max == 5
        rig.clock.advance(STALE_SECONDS * 10)
        assert await rig.limit() == 5
        assert rig.control.asked == 1
        assert await rig.change(TenantChange(tenant=Tenant(tenant_id=17), deleted=True)) is None
        del rig.control.tenants[17]
        assert await rig.check() == "08004"

    run(body)


def test_a_tenant_that_is_created_is_known_at_once() -> None:
    @watching([])
    async def body(rig: Rig) -> None:
        await rig.follow()
        tenant = rig.control.tenants.pop(17)
        assert await rig.check() == "08004"
        rig.control.tenants[17] = tenant
        await rig.change(TenantChange(tenant=tenant))
        assert await rig.limit() == 0

    run(body)


def test_when_the_stream_breaks_what_was_known_is_good_for_a_while() -> None:
    @watching([TenantId(17)])
    async def body(rig: Rig) -> None:
        assert list((await rig.follow()).tenant_ids) == [17]
        assert await rig.limit() == 0
        rig.clock.advance(1e6)
        rig.control.changes.put_nowait(None)
        request = await rig.control.streams.get()  # and it does not begin yet
        assert list(request.tenant_ids) == [17]
        rig.control.set_limit(5)
        assert await rig.limit() == 0
        rig.clock.advance(KNOWN_SECONDS)
        assert await rig.limit() == 5

    run(body)


def test_a_new_stream_makes_everything_doubtful_that_it_does_not_tell_of() -> None:
    @watching([])
    async def body(rig: Rig) -> None:
        await rig.follow()
        assert await rig.limit() == 0
        rig.control.changes.put_nowait(None)
        rig.control.set_limit(5)
        await rig.follow()
        assert await rig.limit() == 5

    run(body)


def test_an_answer_that_a_change_has_overtaken_is_asked_for_again() -> None:
    @watching([])
    async def body(rig: Rig) -> None:
        await rig.follow()
        rig.control.gate.clear()
        check = spawn(rig.limit(), name="check")
        await rig.control.was_asked.wait()
        await rig.change(TenantChange(tenant=rig.control.set_limit(5)))
        rig.control.gate.set()
        assert await check == 5
        assert rig.control.asked == 2

    run(body)


def test_who_came_while_the_stream_was_on_its_way_is_looked_at_again() -> None:
    live: list[TenantId] = []

    @watching(live)
    async def body(rig: Rig) -> None:
        request = await rig.control.streams.get()
        assert list(request.tenant_ids) == []
        assert await rig.limit() == 0
        live.append(TenantId(17))
        rig.control.set_limit(5)
        rig.control.changes.put_nowait(TenantChange())
        known = await rig.told.get()
        assert known is not None
        assert known.connections_max == 5

    run(body)


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        ((), "192.0.2.1", None),
        (("192.0.2.0/24", "2001:db8::/32"), "2001:db8::1", "192.0.3.1"),
        (("nonsense", "192.0.2.0/24"), None, "192.0.2.1"),
    ],
)
def test_networks_are_read_and_what_cannot_be_read_lets_nobody_in(
    networks: tuple[str, ...], inside: str | None, outside: str | None
) -> None:
    settings = TenantSettings(allowed_networks=networks)
    known = KnownTenant.read(Tenant(tenant_id=1, name="a", settings=settings))
    assert (known.allowed is None) == (not networks)
    if known.allowed is not None:
        assert inside is None or parse_address(inside) in known.allowed
        assert outside is None or parse_address(outside) not in known.allowed
