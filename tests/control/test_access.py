"""The table of access, cell by cell against the real application: every endpoint, every kind of
key, on what is its own and on what is somebody else's."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter

from control.access import PUBLIC, TABLE, Target, check_complete
from control.actor import Access, OrganisationId, Reach, Scope
from control.api.app import make_api
from control.operations import Kind
from control.webhooks.store import Terms
from dormouse.base.ids import TenantId
from tests.control.invoices.world import add_invoice
from tests.control.support import FakePeers, Rig, rig_at


@dataclass(frozen=True, slots=True)
class _World:
    """One organisation with a tenant, a key, an operation and a webhook; twice."""

    organisation: int
    tenant: int
    key: int
    operation: int
    webhook: int
    delivery: int
    invoice: int

    def path(self, endpoint: str) -> str:
        number = {
            Target.NOTHING: 0,
            Target.TENANT: self.tenant,
            Target.ORGANISATION: self.organisation,
            Target.KEY: self.key,
            Target.OPERATION: self.operation,
            Target.WEBHOOK: self.webhook,
            Target.INVOICE: self.invoice,
        }[TABLE[endpoint].target]
        path = endpoint.partition(" ")[2].replace("{id}", str(number))
        path = path.replace("{piece}", "0")
        return path.replace("{delivery}", str(self.delivery)).replace("{pod}", "00000000000000a1")


async def _world(rig: Rig, name: str) -> _World:
    stores = rig.services.stores
    organisation = await stores.organisations.add(name=name, time_zone="UTC")
    tenant, _ = await rig.services.tenants.create(name, organisation=organisation.id)
    reach = Reach(Scope.TENANT, Access.READ, organisation.id, tenant.id)
    key, _ = await stores.keys.add(reach, label="x", expires_ns=None, created_by=None)
    operation = await stores.operations.start(Kind.SUSPEND, tenant.id)
    terms = Terms("https://example.com/", ("*",))
    webhook, _ = await stores.webhooks.add(organisation.id, terms)
    delivery = await stores.deliveries.test(webhook)
    invoice = await add_invoice(stores.database, organisation.id)
    return _World(
        organisation.id, tenant.id, key.id, operation.id, webhook.id, delivery.id, invoice
    )


def _reach(scope: Scope, access: Access, world: _World) -> dict[str, Any]:
    named = {"organisation": world.organisation, "tenant": world.tenant}
    return {"scope": scope, "access": access} | {k: v for k, v in named.items() if k == scope}


def _expected(endpoint: str, scope: Scope, access: Access, *, own: bool) -> set[int]:
    """The statuses that the table allows for this cell."""
    rule = TABLE[endpoint]
    if scope not in rule.scopes or (rule.access is Access.WRITE and access is Access.READ):
        return {403}
    if not own and scope is not Scope.ADMIN and rule.target is not Target.NOTHING:
        return {404}
    if endpoint.endswith("/restore") or "/restores/{id}" in endpoint:
        return {404}  # the tenant lives
    if endpoint.startswith("DELETE /v1/organisations"):
        return {409}  # its tenant lives
    return {200, 201, 202, 204}


@pytest.mark.parametrize("endpoint", sorted(TABLE))
def test_every_cell_holds(tmp_path: Path, endpoint: str) -> None:
    async def check(rig: Rig, scope: Scope, access: Access, *, own: bool) -> None:
        cell = f"{scope}-{access}-{own}".lower()
        mine, theirs = await _world(rig, f"mine-{cell}"), await _world(rig, f"theirs-{cell}")
        body = {"label": "probe", **_reach(scope, access, mine)}
        async with rig.client() as admin:
            key = (await admin.post("/v1/keys", json=body)).json()["key"]
        method = endpoint.partition(" ")[0]
        json = (
            {"POST /v1/keys": body}.get(endpoint, {})
            if method in ("POST", "PATCH", "PUT")
            else None
        )
        if endpoint in ("POST /v1/tenants", "POST /v1/organisations"):
            json = {"name": f"new-{cell}"}
        if endpoint == "POST /v1/restores":
            json = {"name": f"new-{cell}", "rows": 0, "counters": 0, "has_catalog": False}
        if endpoint == "POST /v1/webhooks":
            json = {"url": "https://example.com/", "events": ["*"]}
        async with rig.client(key) as client:
            path = (mine if own else theirs).path(endpoint)
            answer = await client.request(method, path, json=json)
        expected = _expected(endpoint, scope, access, own=own)
        assert answer.status_code in expected, (scope, access, own, answer.text)
        if answer.status_code == 404 and not own:
            assert answer.json() == await _absent(rig, key, method, endpoint, json)

    async def run() -> None:
        async with rig_at(tmp_path, FakePeers(), manages_certificates=True) as rig:
            for scope in Scope:
                for access in Access:
                    for own in (True, False):
                        await check(rig, scope, access, own=own)

    asyncio.run(run())


async def _absent(rig: Rig, key: str, method: str, endpoint: str, json: Any) -> Any:
    """What is answered where there is nothing at all: it has to be the same."""
    nobody = _World(9999, 9999, 9999, 9999, 9999, 9999, 9999)
    async with rig.client(key) as client:
        return (await client.request(method, nobody.path(endpoint), json=json)).json()


def test_lists_end_where_the_reach_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig_at(tmp_path, FakePeers()) as rig:
            mine, theirs = await _world(rig, "mine"), await _world(rig, "theirs")
            for scope in (Scope.ORGANISATION, Scope.TENANT):
                body = {"label": "probe", **_reach(scope, Access.READ, mine)}
                async with rig.client() as admin:
                    key = (await admin.post("/v1/keys", json=body)).json()["key"]
                async with rig.client(key) as client:
                    for query in ("", f"?organisation={theirs.organisation}"):
                        tenants = (await client.get(f"/v1/tenants{query}")).json()["tenants"]
                        assert [t["id"] for t in tenants] == ([] if query else [mine.tenant])
                    for query in ("", f"?tenant={theirs.tenant}"):
                        keys = (await client.get(f"/v1/keys{query}")).json()["keys"]
                        assert theirs.key not in [each["id"] for each in keys]
                        assert bool(keys) is not bool(query)
                        entries = (await client.get(f"/v1/audit{query}")).json()["entries"]
                        assert {e["organisation"] for e in entries} <= {mine.organisation}
                        assert bool(entries) is not bool(query)
                        events = (await client.get(f"/v1/events{query}")).json()["events"]
                        assert {e["organisation"] for e in events} <= {mine.organisation}
                        assert bool(events) is not bool(query)

    asyncio.run(run())


def test_a_route_without_an_entry_is_not_served() -> None:
    check_complete([*TABLE, *PUBLIC])
    with pytest.raises(LookupError, match="GET /v1/new"):
        check_complete([*TABLE, *PUBLIC, "GET /v1/new"])
    with pytest.raises(LookupError, match="without an endpoint"):
        check_complete([*PUBLIC, *list(TABLE)[1:]])
    router = APIRouter()

    @router.get("/v1/new")
    async def read_new() -> None:
        raise AssertionError

    async def is_ready() -> bool:
        return True

    with pytest.raises(LookupError, match="GET /v1/new"):
        make_api(router, is_ready)


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("access", list(Access))
def test_reach_is_an_order(scope: Scope, access: Access) -> None:
    def reach(scope: Scope, access: Access, organisation: int = 2, tenant: int = 3) -> Reach:
        return Reach(
            scope,
            access,
            None if scope is Scope.ADMIN else OrganisationId(organisation),
            TenantId(tenant) if scope is Scope.TENANT else None,
        )

    order = list(Scope)
    mine = reach(scope, access)
    for other in Scope:
        for wanted in Access:
            fits = order.index(other) >= order.index(scope)
            fits = fits and not (wanted is Access.WRITE and access is Access.READ)
            assert mine.covers(reach(other, wanted)) is fits
            if scope is not Scope.ADMIN:
                assert not mine.covers(reach(other, wanted, organisation=9, tenant=9))
