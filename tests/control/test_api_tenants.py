"""Deleting with grace, restoring, renaming, labels, filters, passwords and URLs over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from control.pictures import Picture
from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from tests.control.support import FakePeers, Rig, rig_at

_Body = Callable[[Rig, httpx.AsyncClient, FakePeers, ManualClock], Awaitable[None]]


def _run(folder: Path, body: _Body, **settings: Any) -> None:
    async def run() -> None:
        peers, clock = FakePeers(), ManualClock()
        async with rig_at(folder, peers, clock=clock, **settings) as rig, rig.client() as client:
            await body(rig, client, peers, clock)

    asyncio.run(run())


async def _create(client: httpx.AsyncClient, name: str, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/tenants", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _check(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def _ids(client: httpx.AsyncClient, query: str) -> list[int]:
    answer = await client.get(f"/v1/tenants?{query}")
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["tenants"]]


def test_a_deleted_tenant_comes_back_within_its_grace(tmp_path: Path) -> None:
    async def body(
        rig: Rig, client: httpx.AsyncClient, peers: FakePeers, clock: ManualClock
    ) -> None:
        tenant = await _create(client, "shop")
        path = f"/v1/tenants/{tenant['id']}"
        before = await rig.services.stores.registry.get(TenantId(tenant["id"]))
        assert before is not None
        gone = await client.delete(path)
        assert (gone.status_code, gone.json()["state"]) == (200, "deleted")
        assert gone.json()["restorable_until"] == "2023-11-21T22:13:20Z"
        operation = await client.get(gone.headers["operation-location"])
        assert (operation.json()["kind"], operation.json()["status"]) == ("delete", "succeeded")
        assert peers.asked == [("suspend", tenant["id"])]
        _check(await client.get(path), 404, "tenant_not_found")
        _check(await client.delete(path), 404, "tenant_not_found")
        assert await _ids(client, "state=deleted") == [tenant["id"]]
        other = await _create(client, "shop")
        _check(await client.post(f"{path}/restore"), 409, "name_taken")
        clock.advance(7 * 86_400 - 1)
        back = await client.post(f"{path}/restore", json={"name": "shop2"})
        assert (back.status_code, back.json()["name"]) == (200, "shop2")
        after = await rig.services.stores.registry.get(TenantId(tenant["id"]))
        assert after is not None
        assert after.scram_verifier == before.scram_verifier
        registry = rig.services.stores.registry
        assert len(registry.session_key_of(after)) == 32
        assert registry.session_key_of(after) != registry.session_key_of(before)
        assert await _ids(client, "") == [tenant["id"], other["id"]]
        listed = (await client.get(f"{path}/operations")).json()["operations"]
        assert [(each["kind"], each["status"]) for each in listed] == [
            ("delete", "succeeded"),
            ("restore", "succeeded"),
        ]
        _check(await client.post(f"{path}/restore"), 404, "tenant_not_found")

    _run(tmp_path, body)


def test_after_the_grace_the_data_goes(tmp_path: Path) -> None:
    async def body(
        rig: Rig, client: httpx.AsyncClient, peers: FakePeers, clock: ManualClock
    ) -> None:
        tenant = await _create(client, "shop")
        path = f"/v1/tenants/{tenant['id']}"
        await client.delete(path)
        registry = rig.services.stores.registry
        assert await registry.to_purge(10) == []
        clock.advance(7 * 86_400)
        assert await registry.to_purge(10) == [tenant["id"]]
        _check(await client.post(f"{path}/restore"), 404, "tenant_not_found")
        later = await _create(client, "shop")
        await client.delete(f"/v1/tenants/{later['id']}")
        purged = await client.delete(f"/v1/tenants/{later['id']}?purge=true")
        assert purged.status_code == 204
        assert ("drop", later["id"]) in peers.asked

    _run(tmp_path, body)


def test_a_new_name_is_a_new_address(tmp_path: Path) -> None:
    async def body(
        rig: Rig, client: httpx.AsyncClient, peers: FakePeers, clock: ManualClock
    ) -> None:
        tenant = await _create(client, "shop")
        await _create(client, "other")
        path = f"/v1/tenants/{tenant['id']}"
        read = (await client.get(path)).headers["etag"]
        renamed = await client.patch(path, json={"name": "store"}, headers={"If-Match": read})
        assert renamed.json()["name"] == "store"
        assert f"store-{tenant['id']}" in renamed.json()["connection_url"]
        assert renamed.json()["database"] == "shop"
        assert renamed.headers["etag"] != read
        late = await client.patch(path, json={"name": "x"}, headers={"If-Match": read})
        _check(late, 412, "tenant_changed")
        _check(await client.patch(path, json={"name": "other"}), 409, "name_taken")
        _check(await client.patch(path, json={"name": "No"}), 422, "invalid_request")

    _run(tmp_path, body)


def test_tenants_are_found_by_what_they_are(tmp_path: Path) -> None:
    async def body(
        rig: Rig, client: httpx.AsyncClient, peers: FakePeers, clock: ManualClock
    ) -> None:
        acme = (await client.post("/v1/organisations", json={"name": "acme"})).json()
        one = (await _create(client, "one", labels={"stage": "test", "team": "a"}))["id"]
        two = (await _create(client, "two", labels={"stage": "live"}))["id"]
        three = (await _create(client, "three", organisation=acme["id"]))["id"]
        assert await _ids(client, "label=stage") == [one, two]
        assert await _ids(client, "label=stage=test&label=team=a") == [one]
        assert await _ids(client, "label=stage=live&label=team=a") == []
        assert await _ids(client, f"organisation={acme['id']}") == [three]
        await client.patch(f"/v1/tenants/{one}", json={"labels": {"stage": "live"}})
        assert await _ids(client, "label=stage=live") == [one, two]
        assert await _ids(client, "label=team") == []
        peers.known[TenantId(two)] = Picture("running", 1, 1)
        peers.known[TenantId(three)] = Picture("asleep", 0, 0, parked=1)
        assert await _ids(client, "state=running") == [two]
        assert await _ids(client, "state=asleep") == [one, three]
        assert await _ids(client, "state=waking") == []
        peers.away = True
        assert (await client.get("/v1/tenants?state=running")).status_code == 503
        many = {f"l{number}": "x" for number in range(33)}
        for labels in (many, {"Upper": "x"}, {"a": "x" * 129}, {"a": 1}, {"a": "\n"}):
            answer = await client.post("/v1/tenants", json={"name": "bad", "labels": labels})
            _check(answer, 422, "invalid_request")

    _run(tmp_path, body)


def test_a_new_password_and_every_url(tmp_path: Path) -> None:
    async def body(
        rig: Rig, client: httpx.AsyncClient, peers: FakePeers, clock: ManualClock
    ) -> None:
        tenant = await _create(client, "shop")
        path = f"/v1/tenants/{tenant['id']}"
        before = await rig.services.stores.registry.get(TenantId(tenant["id"]))
        reset = (await client.post(f"{path}/roles/owner/password")).json()
        after = await rig.services.stores.registry.get(TenantId(tenant["id"]))
        assert before is not None
        assert after is not None
        assert before.scram_verifier != after.scram_verifier
        assert reset["password"] != tenant["password"]
        assert reset["password"] in reset["connection_url"]
        urls = {
            k: unquote(v) for k, v in (await client.get(f"{path}/connection-urls")).json().items()
        }
        address = f"shop-{tenant['id']}"
        assert f"//owner.{address}@localhost:5433/shop?" in urls["user"]
        assert f"//owner@{address}.dormouse.localhost:5433/shop?" in urls["sni"]
        assert "//owner@localhost:5433/shop?" in urls["options"]
        assert f"options=--tenant={address}" in urls["options"]
        assert f"//owner@localhost:5433/{address}.shop?" in urls["database"]

    _run(tmp_path, body)


def test_a_tenant_is_woken_and_searched_for(tmp_path: Path) -> None:
    async def body(
        _rig: Rig, client: httpx.AsyncClient, peers: FakePeers, _clock: ManualClock
    ) -> None:
        tenant, other = await _create(client, "shop"), await _create(client, "work-shop")
        woken = await client.post(f"/v1/tenants/{tenant['id']}/wake")
        assert (woken.status_code, woken.json()["state"]) == (200, "running")
        assert peers.asked == [("wake", tenant["id"])]
        _check(await client.post("/v1/tenants/99/wake"), 404, "tenant_not_found")
        assert await _ids(client, "search=SHOP") == [tenant["id"], other["id"]]
        assert await _ids(client, f"search=shop-{tenant['id']}") == [tenant["id"]]
        peers.away = True
        _check(await client.post(f"/v1/tenants/{tenant['id']}/wake"), 503, "unavailable")

    _run(tmp_path, body)


def test_while_nobody_tells_states_all_are_unknown(tmp_path: Path) -> None:
    async def body(
        rig: Rig, client: httpx.AsyncClient, peers: FakePeers, clock: ManualClock
    ) -> None:
        for name in ("a", "b", "c"):
            await _create(client, name)
        assert await _ids(client, "state=unknown") == []
        peers.away = True
        for state in ("asleep", "running"):
            refused = await client.get(f"/v1/tenants?state={state}")
            _check(refused, 503, "unavailable")
            assert refused.headers["retry-after"] == "1"
        page = (await client.get("/v1/tenants?state=unknown&limit=2")).json()
        assert [each["id"] for each in page["tenants"]] == [1, 2]
        assert await _ids(client, f"state=unknown&after={page['next']}") == [3]
        assert await _ids(client, "state=deleted") == []

    _run(tmp_path, body)


def test_what_is_inside_is_told_without_a_wake(tmp_path: Path) -> None:
    async def body(
        rig: Rig, client: httpx.AsyncClient, peers: FakePeers, clock: ManualClock
    ) -> None:
        await _create(client, "shop")
        roles = (await client.get("/v1/tenants/1/roles")).json()
        assert roles == {"roles": [{"name": "owner", "is_owner": True}]}
        databases = (await client.get("/v1/tenants/1/databases")).json()
        assert databases == {"databases": [{"name": "shop", "owner": "owner"}]}
        for path in ("roles", "databases"):
            _check(await client.get(f"/v1/tenants/2/{path}"), 404, "tenant_not_found")
        assert peers.asked == []

    _run(tmp_path, body)
