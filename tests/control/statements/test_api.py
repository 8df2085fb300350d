"""What statements and roles cost, as the API tells it; and how much a tenant may store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx

from control.amounts import Amounts
from control.database import Database, open_database
from control.ledger import Ledger, Report
from control.quotas import Quota, Quotas
from control.statements import Cost, RoleSum, StatementLedger, StatementReport, StatementSum
from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from tests.control.support import FakePeers, api_at, services_over, stores_at

NOON = 1_773_144_000
"""2026-03-10, 12:00 UTC."""


class _World:
    def __init__(self, client: httpx.AsyncClient, database: Database, clock: ManualClock) -> None:
        self.client = client
        self.statements = StatementLedger(database, clock)
        self.usage = Ledger(database, clock)

    async def tell(self, tenant: int) -> None:
        """One pod's use: 13 units of a statement, 7 of another, 2.5 of nothing in particular."""
        await self.statements.add(
            StatementReport(
                tenant_id=tenant,
                pod_id=5,
                sequence=1,
                at_ms=NOON * 1000,
                statements=[
                    StatementSum("owner", -9, "select $1", 1, Cost(4, 4, 9000, 13_000_000)),
                    StatementSum("owner", 8, "COMMIT", 2, Cost(2, 0, 500, 7_000_000)),
                ],
                roles=[RoleSum("owner", 6, 20_000_000), RoleSum("", 0, 2_500_000)],
            )
        )
        total = Amounts(write_batches=22, read_batches=1)
        report = Report(tenant_id=tenant, pod_id=5, sequence=1, at_ms=NOON * 1000, total=total)
        await self.usage.add(report)


def _with_world(
    folder: Path, body: Callable[[_World], Awaitable[None]], peers: FakePeers | None = None
) -> None:
    async def run() -> None:
        clock = ManualClock(wall_ns=NOON * 10**9)
        async with (
            api_at(folder, peers or FakePeers(), clock=clock) as client,
            open_database(folder / "registry.sqlite") as database,
        ):
            await body(_World(client, database, clock))

    asyncio.run(run())


async def _tenant(client: httpx.AsyncClient, name: str = "shop", **more: object) -> int:
    return int((await client.post("/v1/tenants", json={"name": name, **more})).json()["id"])


def test_statements_of_a_tenant(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await _tenant(world.client)
        await world.tell(shop)
        path = f"/v1/tenants/{shop}/statements"
        answer = (await world.client.get(path, params={"limit": "1"})).json()
        assert answer == {
            "tenant_id": shop,
            "period_start": "2026-03-01T00:00:00Z",
            "period_end": "2026-04-01T00:00:00Z",
            "time_zone": "UTC",
            "statements": [
                {
                    "query_id": "-9",
                    "query": "select $1",
                    "role": "owner",
                    "calls": 4,
                    "rows": 4,
                    "elapsed_ms": 9.0,
                    "mean_ms": 2.25,
                    "request_units": 13.0,
                }
            ],
            "others": {"calls": 2, "rows": 0, "elapsed_ms": 0.5, "request_units": 7.0},
        }
        march = {"from": "2026-03-11", "to": "2026-04-01"}
        assert (await world.client.get(path, params=march)).json()["statements"] == []
        wrongs = ({"limit": "0"}, {"limit": "101"}, {"order": "text"}, {"from": "x"})
        for wrong in (*wrongs, {"from": "2026-03-02", "to": "2026-03-02"}):
            assert (await world.client.get(path, params=wrong)).status_code == 422, wrong
        missing = await world.client.get("/v1/tenants/999/statements")
        assert missing.json()["code"] == "tenant_not_found"

    _with_world(tmp_path, body)


def test_usage_by_role_adds_up_to_the_tenants(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await _tenant(world.client)
        await world.tell(shop)
        path = f"/v1/tenants/{shop}/usage"
        question = {"by": "role", "top_statements": "1"}
        answer = (await world.client.get(path, params=question)).json()
        assert answer["roles"] == [
            {"role": "owner", "calls": 6, "request_units": 20.0},
            {"role": None, "calls": 0, "request_units": 2.5},
        ]
        total = sum(role["request_units"] for role in answer["roles"])
        assert total == answer["request_units"] == 22.5
        assert [each["query"] for each in answer["top_statements"]] == ["select $1"]
        plain = (await world.client.get(path)).json()
        assert (plain["roles"], plain["top_statements"], plain["hours"]) == (None, None, None)
        everybody = await world.client.get("/v1/usage", params={"by": "role"})
        assert everybody.status_code == 422

    _with_world(tmp_path, body)


def test_usage_by_hour(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await _tenant(world.client)
        await world.tell(shop)
        for path in (f"/v1/tenants/{shop}/usage", "/v1/usage", "/v1/organisations/1/usage"):
            answer = (await world.client.get(path, params={"by": "hour"})).json()
            [hour] = answer["hours"]
            assert (hour["hour"], hour["request_units"]) == ("2026-03-10T12:00:00Z", 22.5)
            assert hour["by_cause"]["writes"] == 22.0

    _with_world(tmp_path, body)


def test_days_are_the_organisations(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        zone = {"name": "far", "time_zone": "Pacific/Kiritimati"}  # UTC+14: already the 11th
        made = await world.client.post("/v1/organisations", json=zone)
        shop = await _tenant(world.client, organisation=made.json()["id"])
        await world.tell(shop)
        path = f"/v1/tenants/{shop}/statements"
        for day, found in (("10", 0), ("11", 2)):
            days = {"from": f"2026-03-{day}", "to": f"2026-03-{int(day) + 1}"}
            answer = (await world.client.get(path, params=days)).json()
            assert len(answer["statements"]) == found
            roles = await world.client.get(
                f"/v1/tenants/{shop}/usage", params={**days, "by": "role"}
            )
            assert len(roles.json()["roles"]) == found

    _with_world(tmp_path, body)


def test_a_limit_is_told_at_once_and_again_where_it_was_not_heard(tmp_path: Path) -> None:
    peers = FakePeers()

    async def body(world: _World) -> None:
        shop, other = await _tenant(world.client), await _tenant(world.client, "other")
        path = f"/v1/tenants/{shop}/settings"
        await world.client.patch(path, json={"storage_max_bytes": 5 << 20})
        assert peers.quotas == {TenantId(shop): Quota(5 << 20, None)}
        await world.client.patch(path, json={"pods_max": 2})
        peers.away = True
        answer = await world.client.patch(path, json={"storage_max_bytes": None})
        assert answer.json()["storage_max_bytes"] is None
        more = {"storage_max_bytes": 7 << 20, "recovery_window_seconds": 3600}
        await world.client.patch(f"/v1/tenants/{other}/settings", json=more)
        assert peers.quotas == {TenantId(shop): Quota(5 << 20, None)}
        async with open_database(tmp_path / "registry.sqlite") as database:
            quotas = Quotas(database, peers, default=Quota(0, 0))
            await quotas.tell_all()  # not heard, and no harm
            peers.away = False
            await quotas.tell_all()
        assert peers.quotas == {TenantId(other): Quota(7 << 20, 3600)}

    _with_world(tmp_path, body, peers)


def test_an_older_limit_never_follows_a_newer_one(tmp_path: Path) -> None:
    class Slow(FakePeers):
        """A storage whose first hearing takes until somebody else has asked to be heard."""

        def __init__(self) -> None:
            super().__init__()
            self.asked_twice = asyncio.Event()
            self.slow = False

        async def set_quotas(
            self, quotas: Mapping[TenantId, Quota], *, default: Quota, only_these: bool
        ) -> None:
            if self.slow:
                self.slow = False
                await self.asked_twice.wait()
            await super().set_quotas(quotas, default=default, only_these=only_these)

    async def body() -> None:
        peers = Slow()
        async with stores_at(tmp_path) as stores:
            services = services_over(stores, peers, folder=tmp_path)
            shop, _ = await services.tenants.create("shop")
            await services.tenants.change(shop.id, {"storage_max_bytes": 5 << 20})
            peers.slow = True
            all_of_it = spawn(services.quotas.tell_all(), name="all limits")
            await asyncio.sleep(0.05)
            change = {"storage_max_bytes": 7 << 20}
            one = spawn(services.tenants.change(shop.id, change), name="a change")
            await asyncio.sleep(0.05)
            peers.asked_twice.set()
            await asyncio.gather(all_of_it, one)
            assert peers.quotas == {shop.id: Quota(7 << 20, None)}

    asyncio.run(body())
