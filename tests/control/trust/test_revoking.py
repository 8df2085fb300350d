"""Revoking a pod through the API: the list, the file, the autoscaler, and who may."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from control.peers import PodPicture
from control.trust import revoking
from dormouse.base.clock import ManualClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.revocation import FILE, Revocations
from dormouse.base.tasks import cancel, spawn
from tests.control.support import FakePeers, Rig, rig_at

POD = PodId(0xFEDCBA9876543210)
NAME = "fedcba9876543210"
START_NS = 1_800_000_000_000_000_000


async def _tenant(rig: Rig, name: str = "shop") -> TenantId:
    async with rig.client() as client:
        return TenantId((await client.post("/v1/tenants", json={"name": name})).json()["id"])


async def _revoke(rig: Rig, tenant: TenantId, pod: str = NAME) -> Any:
    async with rig.client() as client:
        return await client.post(f"/v1/tenants/{tenant}/pods/{pod}/revoke")


def test_a_pod_is_listed_revoked_and_ended(tmp_path: Path) -> None:
    async def body() -> None:
        peers, clock = FakePeers(), ManualClock(wall_ns=START_NS)
        async with rig_at(tmp_path, peers, clock=clock, manages_certificates=True) as rig:
            own = rig.services.revoking.own = Revocations(tmp_path)
            tenant = await _tenant(rig)
            peers.pod_pictures[tenant] = [PodPicture(POD, "running", 3, 250)]
            async with rig.client() as client:
                path = f"/v1/tenants/{tenant}/pods"
                shown = (await client.get(path)).json()
                assert shown == {
                    "pods": [{"id": NAME, "state": "running", "sessions": 3, "cpu_percent": 25.0}],
                    "revoked": [],
                }
                for _ in range(2):
                    answer = await _revoke(rig, tenant)
                    assert (answer.status_code, answer.json()["is_ended"]) == (200, True)
                assert peers.asked.count((f"end {POD}", tenant)) == 2
                assert own.has(tenant, POD)
                (listed,) = (await client.get(path)).json()["revoked"]
                assert listed["id"] == NAME
                entries = (await client.get("/v1/audit")).json()["entries"]
                assert entries[-1]["action"] == "pod.revoke"
                assert entries[-1]["changes"] == {"pod": {"old": None, "new": NAME}}
                clock.advance(7 * 86_400)
                assert (await client.get(path)).json()["revoked"] == []

    asyncio.run(body())


def test_without_the_autoscaler_it_is_revoked_all_the_same(tmp_path: Path) -> None:
    async def body() -> None:
        peers = FakePeers()
        async with rig_at(tmp_path, peers, manages_certificates=True) as rig:
            tenant = await _tenant(rig)
            peers.away = True
            answer = await _revoke(rig, tenant)
            assert (answer.status_code, answer.json()["is_ended"]) == (200, False)
            assert Revocations(tmp_path).has(tenant, POD)
            async with rig.client() as client:
                assert (await client.get(f"/v1/tenants/{tenant}/pods")).status_code == 503

    asyncio.run(body())


@pytest.mark.parametrize("restarts", [False, True])
def test_what_could_not_be_ended_is_ended_later(
    tmp_path: Path, restarts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "_RETRY_SECONDS", 0.01)

    async def ended(rig: Rig, peers: FakePeers, tenant: TenantId) -> None:
        working = spawn(rig.services.revoking.work_forever(), name="work")
        peers.away = False
        for _ in range(1000):
            if (f"end {POD}", tenant) in peers.asked:
                break
            await asyncio.sleep(0.01)
        await cancel(working)
        assert (f"end {POD}", tenant) in peers.asked

    async def body() -> None:
        peers = FakePeers()
        async with rig_at(tmp_path, peers, manages_certificates=True) as rig:
            tenant = await _tenant(rig)
            peers.away = True
            assert (await _revoke(rig, tenant)).json()["is_ended"] is False
            if not restarts:
                await ended(rig, peers, tenant)
        if restarts:
            async with rig_at(tmp_path, peers, manages_certificates=True) as rig:
                await ended(rig, peers, tenant)

    asyncio.run(body())


def test_the_file_is_written_at_the_start_and_forgets(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock(wall_ns=START_NS)
        async with rig_at(tmp_path, FakePeers(), clock=clock, manages_certificates=True) as rig:
            tenant = await _tenant(rig)
            await _revoke(rig, tenant)
        (tmp_path / FILE).unlink()
        async with rig_at(tmp_path, FakePeers(), clock=clock, manages_certificates=True) as rig:
            await rig.services.revoking.write()
            assert len(Revocations(tmp_path)) == 1
            clock.advance(8 * 86_400)
            await rig.services.revoking.write()
            assert len(Revocations(tmp_path)) == 0

    asyncio.run(body())


@pytest.mark.parametrize("name", ["x", "0" * 16, NAME.upper(), NAME + "0", "-" + NAME[1:]])
def test_what_names_no_pod_is_not_found(tmp_path: Path, name: str) -> None:
    async def body() -> None:
        async with rig_at(tmp_path, FakePeers()) as rig:
            answer = await _revoke(rig, await _tenant(rig), name)
            assert (answer.status_code, answer.json()["code"]) == (404, "pod_not_found")

    asyncio.run(body())


def test_the_list_is_bounded_by_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoking, "REVOKED_MAX", 2)

    async def body() -> None:
        async with rig_at(tmp_path, FakePeers()) as rig:
            tenant, other = await _tenant(rig), await _tenant(rig, "other")
            for number in (1, 2, 2):
                assert (await _revoke(rig, tenant, f"{number:016x}")).status_code == 200
            answer = await _revoke(rig, tenant, f"{3:016x}")
            assert (answer.status_code, answer.json()["code"]) == (409, "too_many_revoked")
            assert (await _revoke(rig, other, f"{3:016x}")).status_code == 200

    asyncio.run(body())
