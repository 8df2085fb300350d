"""Deleting, purging and restoring, whatever is away at the time."""

import asyncio
from pathlib import Path

import pytest

from control.operations import INTERRUPTED, Kind, Status
from control.tenants import NoSuchTenant
from dormouse.base import tasks
from tests.control.support import FakePeers, services_over, stores_at


def test_pods_end_before_the_data_goes(tmp_path: Path) -> None:
    async def body() -> None:
        peers = FakePeers()
        async with stores_at(tmp_path) as stores:
            services = services_over(stores, peers, folder=tmp_path)
            tenants, deletion, registry = services.tenants, services.deletion, stores.registry
            tenant, _ = await tenants.create("a")
            assert peers.asked == []
            _, operation = await deletion.delete(tenant.id, purge=True)
            assert operation.status is Status.SUCCEEDED
            assert peers.asked == [("suspend", tenant.id), ("drop", tenant.id)]
            assert await registry.to_purge(1) == []
            with pytest.raises(NoSuchTenant):
                await deletion.delete(tenant.id)

    asyncio.run(body())


def test_an_interrupted_deletion_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def interrupted() -> None:
        peers = FakePeers()
        peers.away = True
        async with stores_at(tmp_path) as stores:
            services = services_over(stores, peers, folder=tmp_path)
            tenants, deletion = services.tenants, services.deletion
            tenant, _ = await tenants.create("a")
            _, operation = await deletion.delete(tenant.id, purge=True)
            assert operation.status is Status.RUNNING
            with pytest.raises(NoSuchTenant):
                await tenants.get(tenant.id)

    async def resumed() -> None:
        peers = FakePeers()
        async with stores_at(tmp_path) as stores:
            services = services_over(stores, peers, folder=tmp_path)
            deletion = services.deletion
            purging = tasks.spawn(deletion.work_forever(), name="purge")
            await peers.dropped.wait()
            await tasks.cancel(purging)
            assert [what for what, _ in peers.asked] == ["suspend", "drop"]

    asyncio.run(interrupted())
    asyncio.run(resumed())


def test_one_deletion_that_fails_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def body() -> None:
        peers = FakePeers()
        peers.away = True
        async with stores_at(tmp_path) as stores:
            services = services_over(stores, peers, folder=tmp_path)
            tenants, deletion, registry = services.tenants, services.deletion, stores.registry
            made = [(await tenants.create(name))[0].id for name in ("a", "b")]
            for tenant in made:
                await deletion.delete(tenant, purge=True)
            peers.away, peers.broken = False, made[0]
            purging = tasks.spawn(deletion.work_forever(), name="purge")
            await peers.dropped.wait()
            await tasks.cancel(purging)
            assert ("drop", made[1]) in peers.asked
            assert made[0] in await registry.to_purge(10)

    asyncio.run(body())


def test_what_a_restart_interrupts_goes_on_or_has_failed(tmp_path: Path) -> None:
    async def interrupted() -> None:
        peers = FakePeers()
        peers.away = True
        async with stores_at(tmp_path) as stores:
            services = services_over(stores, peers, folder=tmp_path)
            deleted, _ = await services.tenants.create("a")
            _, operation = await services.deletion.delete(deleted.id)
            assert operation.status is Status.RUNNING
            asleep, _ = await services.tenants.create("b")
            await stores.operations.start(Kind.SUSPEND, asleep.id)

    async def resumed() -> None:
        peers = FakePeers()
        async with stores_at(tmp_path) as stores:
            await stores.operations.fail_interrupted()
            services = services_over(stores, peers, folder=tmp_path)
            working = tasks.spawn(services.deletion.work_forever(), name="delete")
            async with asyncio.timeout(30):
                # Only the database tells the end.
                while await stores.operations.running(Kind.DELETE, 1):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await tasks.cancel(working)
            ended = [await stores.operations.get(number) for number in (1, 2)]
            assert [each.status for each in ended if each] == [Status.SUCCEEDED, Status.FAILED]
            assert ended[1] is not None
            assert ended[1].error == INTERRUPTED
            assert [what for what, _ in peers.asked] == ["suspend"]

    asyncio.run(interrupted())
    asyncio.run(resumed())
