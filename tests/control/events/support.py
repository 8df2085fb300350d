"""A sender over a registry, with a clock that tests move."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from control.actor import OrganisationId
from control.database import Database, open_database
from control.events import Event, EventKind
from control.services import Stores
from control.webhooks.addresses import AddressPolicy
from control.webhooks.deliveries import Delivery
from control.webhooks.sender import Sender
from control.webhooks.store import Terms, Webhook
from control.webhooks.transport import Resolve, Transport, open_transport
from dormouse.base import tasks
from dormouse.base.clock import Clock, ManualClock, SystemClock
from dormouse.base.ids import TenantId

ORGANISATION = OrganisationId(7)
TENANT = TenantId(1)
LOOPBACK = ("127.0.0.0/8", "::1/128")
BELONGING_TO_NOBODY = 2**62


def created_event(name: str = "shop", organisation: OrganisationId | None = ORGANISATION) -> Event:
    tenant = TENANT if organisation is not None else None
    kind = EventKind.TENANT_CREATED
    return Event(kind=kind, organisation=organisation, tenant=tenant, data={"name": name})


@dataclass(frozen=True, slots=True)
class SenderRig:
    """A sender and what it stands on."""

    database: Database
    stores: Stores
    clock: ManualClock

    async def record(self, event: Event | None = None) -> int:
        async with self.database.transaction() as connection:
            return await self.stores.events.record(connection, event or created_event())

    async def webhook(
        self,
        url: str,
        *events: str,
        organisation: OrganisationId | None = ORGANISATION,
    ) -> tuple[Webhook, str]:
        return await self.stores.webhooks.add(organisation, Terms(url, events or ("*",)))

    async def read(self, webhook: Webhook) -> Webhook:
        found = await self.stores.webhooks.get(webhook.id)
        assert found is not None
        return found

    async def deliveries(self, webhook: Webhook) -> list[Delivery]:
        """Oldest first."""
        found = await self.stores.deliveries.page(webhook.id, before=BELONGING_TO_NOBODY, limit=500)
        return found[::-1]

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.stores.events.wanted.set()

    async def settled(
        self, webhook: Webhook, done: Callable[[list[Delivery]], bool]
    ) -> list[Delivery]:
        """The webhook's deliveries, when that is so of them."""
        async with asyncio.timeout(20):
            while True:
                found = await self.deliveries(webhook)
                if done(found):
                    return found
                await asyncio.sleep(0.01)


@asynccontextmanager
async def rig_at(folder: Path, clock: ManualClock | None = None) -> AsyncIterator[SenderRig]:
    clock = clock or ManualClock()
    async with open_database(folder / "registry.sqlite") as database:
        yield SenderRig(database, Stores.over(database, clock), clock)


@asynccontextmanager
async def sending(
    rig: SenderRig,
    *,
    allowed: tuple[str, ...] = LOOPBACK,
    ca_file: Path | None = None,
    resolve: Resolve | None = None,
    disable_seconds: float = 5 * 86_400,
) -> AsyncIterator[Sender]:
    """Inside the block the rig's sender works."""
    policy, clock = AddressPolicy.of(allowed), SystemClock()
    async with open_transport(policy, clock, ca_file=ca_file, resolve=resolve) as transport:
        sender = sender_over(rig, transport, disable_seconds=disable_seconds)
        task = tasks.spawn(sender.work_forever(), name="webhooks")
        try:
            yield sender
        finally:
            await tasks.cancel(task)


def sender_over(
    rig: SenderRig, transport: Transport, *, disable_seconds: float = 5 * 86_400
) -> Sender:
    clock: Clock = rig.clock
    return Sender(
        database=rig.database,
        events=rig.stores.events,
        webhooks=rig.stores.webhooks,
        deliveries=rig.stores.deliveries,
        transport=transport,
        clock=clock,
        disable_seconds=disable_seconds,
        random=lambda: 0.5,
    )
