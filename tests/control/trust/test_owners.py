"""New passwords reach running pods, at once or as soon as that is possible, also over restarts."""

import asyncio
from pathlib import Path

import pytest

from control import owners
from control.owners import OwnerNews
from dormouse.base.errors import Unavailable
from dormouse.base.ids import TenantId
from dormouse.base.tasks import cancel, spawn
from tests.control.support import FakePeers, Rig, rig_at, stores_at


async def _tenant(rig: Rig) -> TenantId:
    async with rig.client() as client:
        return TenantId((await client.post("/v1/tenants", json={"name": "shop"})).json()["id"])


async def _reset(rig: Rig, tenant: TenantId) -> bool:
    async with rig.client() as client:
        answer = await client.post(f"/v1/tenants/{tenant}/roles/owner/password")
        assert answer.status_code == 200
        return bool(answer.json()["in_effect"])


async def _verifier(rig: Rig, tenant: TenantId) -> str:
    found = await rig.services.stores.registry.get(tenant)
    assert found is not None
    return found.scram_verifier


async def _left(rig: Rig) -> int:
    return len(await rig.services.stores.database.read("SELECT 1 FROM owner_news"))


async def _until_told(rig: Rig) -> None:
    for _ in range(1000):
        if not await _left(rig):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never told")


def test_a_reset_says_that_running_pods_know(tmp_path: Path) -> None:
    async def body() -> None:
        peers = FakePeers()
        async with rig_at(tmp_path, peers) as rig:
            tenant = await _tenant(rig)
            assert await _reset(rig, tenant)
            assert peers.verifiers == {tenant: await _verifier(rig, tenant)}
            assert await _left(rig) == 0

    asyncio.run(body())


def test_what_could_not_be_told_is_told_later_and_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "_RETRY_SECONDS_MIN", 0.01)

    async def body() -> None:
        peers = FakePeers()
        async with rig_at(tmp_path, peers) as rig:
            tenant = await _tenant(rig)
            peers.away = True
            assert not await _reset(rig, tenant)
            working = spawn(rig.services.owner_news.work_forever(), name="work")
            await asyncio.sleep(0.1)
            assert peers.verifiers == {}
            await cancel(working)
        peers.away = False
        async with rig_at(tmp_path, peers) as rig:
            working = spawn(rig.services.owner_news.work_forever(), name="work")
            await _until_told(rig)
            assert peers.verifiers == {tenant: await _verifier(rig, tenant)}
            peers.away = True
            assert not await _reset(rig, tenant)
            peers.away = False
            await _until_told(rig)
            assert peers.verifiers == {tenant: await _verifier(rig, tenant)}
            await cancel(working)

    asyncio.run(body())


class SlowPeers(FakePeers):
    """Hands out what it is told one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.told: list[str] = []

    async def set_owner(self, tenant: TenantId, *, owner: str, scram_verifier: str) -> None:
        await self.may_answer.wait()
        self.told.append(scram_verifier)


def test_what_pods_hear_last_is_what_the_registry_holds(tmp_path: Path) -> None:
    async def body() -> None:
        peers = SlowPeers()
        async with rig_at(tmp_path, peers) as rig:
            tenant = await _tenant(rig)
            resets = [spawn(_reset(rig, tenant), name="reset") for _ in range(5)]
            await asyncio.sleep(0.2)
            peers.may_answer.set()
            assert all(await asyncio.gather(*resets))
            assert peers.told[-1] == await _verifier(rig, tenant)
            assert await _left(rig) == 0

    asyncio.run(body())


def test_news_of_a_deleted_tenant_go(tmp_path: Path) -> None:
    async def body() -> None:
        peers = FakePeers()
        async with stores_at(tmp_path) as stores:
            tenant = await stores.registry.add(
                name="a", owner="o", database="d", scram_verifier="v", connections_max=1
            )
            await stores.registry.set_verifier(tenant.id, "w")
            await stores.registry.mark_deleted(tenant.id)
            news = OwnerNews(stores.database, peers)
            assert await news.tell(tenant.id)
            assert peers.verifiers == {}
            assert await stores.database.read("SELECT 1 FROM owner_news") == []

    asyncio.run(body())


class BrokenPeers(FakePeers):
    async def set_owner(self, tenant: TenantId, *, owner: str, scram_verifier: str) -> None:
        raise Unavailable("not every pod could be told")


def test_a_failure_is_said_and_kept(tmp_path: Path) -> None:
    async def body() -> None:
        async with rig_at(tmp_path, BrokenPeers()) as rig:
            assert not await _reset(rig, await _tenant(rig))
            assert await _left(rig) == 1

    asyncio.run(body())
