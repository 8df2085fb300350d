"""Runs the sender, with the transport that the settings ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from control.config import ControlSettings
from control.database import Database
from control.services import Stores
from control.webhooks.addresses import AddressPolicy
from control.webhooks.sender import Sender
from control.webhooks.transport import open_transport
from control.webhooks.urls import UrlPolicy
from dormouse.base import tasks
from dormouse.base.clock import Clock

_DAY_SECONDS = 86_400.0


def url_policy(settings: ControlSettings) -> UrlPolicy:
    """What the operator lets webhooks be. Raises ValueError for a network that is none."""
    addresses = AddressPolicy.of(settings.webhook_networks_allowed)
    return UrlPolicy(addresses, http=settings.webhook_http)


@asynccontextmanager
async def sending(
    database: Database, stores: Stores, settings: ControlSettings, clock: Clock
) -> AsyncIterator[None]:
    """Inside the block deliveries are made."""
    policy = url_policy(settings).addresses
    async with open_transport(policy, clock, ca_file=settings.webhook_ca_file) as transport:
        sender = Sender(
            database=database,
            events=stores.events,
            webhooks=stores.webhooks,
            deliveries=stores.deliveries,
            transport=transport,
            clock=clock,
            disable_seconds=settings.webhook_disable_days * _DAY_SECONDS,
        )
        task = tasks.spawn(sender.work_forever(), name="webhooks")
        try:
            yield
        finally:
            await tasks.cancel(task)
