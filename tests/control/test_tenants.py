"""Deleting, whatever is away at the time."""

import asyncio
from pathlib import Path

import pytest

from control.tenants import NoSuchTenant, Tenants
from control.watchers import Watchers
from dormouse.base import tasks
from tests.control.support import FakePeers, registry_at


def test_pods_end_before_the_data_goes(tmp_path: Path) -> None:
    async def body() -> None:
        peers = FakePeers()
        async with registry_at(tmp_path) as registry:
            tenants = Tenants(registry, peers, connections_max=1, watchers=Watchers())
            tenant, _ = await tenants.create("a")
            assert peers.asked == []
            assert await tenants.delete(tenant.id)
            assert peers.asked == [("suspend", tenant.id), ("drop", tenant.id)]
            assert await registry.to_purge(1) == []
            with pytest.raises(NoSuchTenant):
                await tenants.delete(tenant.id)

    asyncio.run(body())


def test_an_interrupted_deletion_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def interrupted() -> None:
        peers = FakePeers()
        peers.away = True
        async with registry_at(tmp_path) as registry:
            tenants = Tenants(registry, peers, connections_max=1, watchers=Watchers())
            tenant, _ = await tenants.create("a")
            assert not await tenants.delete(tenant.id)
            with pytest.raises(NoSuchTenant):
                await tenants.get(tenant.id)

    async def resumed() -> None:
        peers = FakePeers()
        async with registry_at(tmp_path) as registry:
            tenants = Tenants(registry, peers, connections_max=1, watchers=Watchers())
            purging = tasks.spawn(tenants.purge_forever(), name="purge")
            await peers.dropped.wait()
            await tasks.cancel(purging)
            assert [what for what, _ in peers.asked] == ["suspend", "drop"]

    asyncio.run(interrupted())
    asyncio.run(resumed())


def test_one_deletion_that_fails_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def body() -> None:
        peers = FakePeers()
        peers.away = True
        async with registry_at(tmp_path) as registry:
            tenants = Tenants(registry, peers, connections_max=1, watchers=Watchers())
            made = [(await tenants.create(name))[0].id for name in ("a", "b")]
            for tenant in made:
                await tenants.delete(tenant)
            peers.away, peers.broken = False, made[0]
            purging = tasks.spawn(tenants.purge_forever(), name="purge")
            await peers.dropped.wait()
            await tasks.cancel(purging)
            assert ("drop", made[1]) in peers.asked
            assert made[0] in await registry.to_purge(10)

    asyncio.run(body())
