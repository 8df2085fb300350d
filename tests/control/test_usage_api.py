"""Usage as it is read: periods, causes, days, costs, forecasts."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx

from control.amounts import Amounts
from control.database import open_database
from control.ledger import Ledger, Report
from control.months import month_number
from control.prices import KIB_SECONDS_PER_GIB_HOUR, PriceBook, Version
from control.schema import STEPS
from control.steps import invoices
from control.storage_sampling import StorageLevels
from dormouse.base.clock import ManualClock
from tests.control.support import FakePeers, api_at

_DAY = 86_400
_BOOK = PriceBook(
    "EUR",
    (
        Version(
            effective_from=date(1970, 1, 1),
            per_million_units=1_000_000,
            free_units=100,
            free_gib_hours=0,
            per_thousand_gib_hours=1_000_000,
        ),
    ),
)
_MEBIBYTE = 1 << 20


class _World:
    """Control's API beside a ledger on the same file; it is 2026-03-10, noon."""

    def __init__(self, client: httpx.AsyncClient, ledger: Ledger, levels: StorageLevels) -> None:
        self.client = client
        self.ledger = ledger
        self.levels = levels
        self.clock = ManualClock()
        self._sequence = 0
        self._total: dict[int, Amounts] = {}

    async def tenant(self, name: str) -> int:
        made = await self.client.post("/v1/tenants", json={"name": name})
        return int(made.json()["id"])

    async def use(self, tenant: int, **amounts: int) -> None:
        self._sequence += 1
        total = self._total.get(tenant, Amounts()) + Amounts(**amounts)
        self._total[tenant] = total
        await self.ledger.add(
            Report(tenant_id=tenant, pod_id=5, sequence=self._sequence, total=total)
        )

    async def read(self, path: str, **parameters: str) -> Any:
        found = await self.client.get(f"/v1{path}", params=parameters)
        assert found.status_code == 200, found.text
        return found.json()


def _with_world(folder: Path, body: Callable[[_World], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = ManualClock(wall_ns=1_773_144_000 * 10**9)
        async with (
            api_at(folder, FakePeers(), clock=clock, book=_BOOK) as client,
            open_database(folder / "registry.sqlite") as database,
        ):
            world = _World(client, Ledger(database, clock), StorageLevels(database, clock))
            world.clock = clock
            await body(world)

    asyncio.run(run())


def test_a_tenant_that_used_nothing(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await world.tenant("shop")
        usage = await world.read(f"/tenants/{shop}/usage")
        assert usage["period_start"] == "2026-03-01T00:00:00Z"
        assert usage["period_end"] == "2026-04-01T00:00:00Z"
        assert (usage["request_units"], usage["storage_bytes"], usage["cost_micros"]) == (0, 0, 0)
        assert usage["by_cause"] == {"sql_cpu": 0, "reads": 0, "writes": 0, "egress": 0}
        assert usage["days"] is None
        assert usage["forecast"]["cost_micros"] == 0
        assert (await world.read("/usage"))["tenants"] == []

    _with_world(tmp_path, body)


def test_use_is_seen_at_once_by_cause(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await world.tenant("shop")
        await world.use(
            shop,
            sql_cpu_micros=3000,
            read_batches=2,
            read_requests=8,
            write_batches=1,
            egress_bytes=1024,
            pod_millis=1500,
            system_read_requests=16,
            system_cpu_micros=6000,
        )
        usage = await world.read(f"/tenants/{shop}/usage")
        assert usage["by_cause"] == {"sql_cpu": 1, "reads": 2, "writes": 1, "egress": 1}
        assert usage["request_units"] == 5
        assert usage["cost_micros"] == 0  # within the allowance
        assert usage["measures"]["read_requests"] == 8
        assert usage["measures"]["pod_seconds"] == 1.5
        assert usage["system"]["request_units"] == 4
        assert usage["currency"] == "EUR"

    _with_world(tmp_path, body)


def test_days_add_up_to_their_period_and_the_allowance_runs_out(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await world.tenant("shop")
        for units in (60, 60, 60):
            await world.use(shop, write_requests=units)
            world.clock.advance(_DAY)
        usage = await world.read(f"/tenants/{shop}/usage", by="day")
        assert [
            (day["day"], day["request_units"], day["cost_micros"]) for day in usage["days"]
        ] == [
            ("2026-03-10", 60, 0),
            ("2026-03-11", 60, 20),
            ("2026-03-12", 60, 60),
        ]
        assert usage["cost_micros"] == 80
        assert usage["cost"]["request_units"] == 80
        part = await world.read(
            f"/tenants/{shop}/usage", **{"from": "2026-03-11", "to": "2026-03-12"}
        )
        assert (part["request_units"], part["cost_micros"]) == (60, 20)
        assert part["forecast"] is None
        past = await world.read(f"/tenants/{shop}/usage", **{"from": "2026-02-01"})
        assert (past["period_end"], past["request_units"]) == ("2026-03-01T00:00:00Z", 0)
        both = await world.read(
            f"/tenants/{shop}/usage", **{"from": "2026-02-15", "to": "2026-04-15"}
        )
        assert both["cost_micros"] == 80

    _with_world(tmp_path, body)


def test_storage_is_booked_while_a_tenant_sleeps(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await world.tenant("shop")
        await world.levels.take({shop: 1 << 30})
        world.clock.advance(10 * 3600)
        usage = await world.read(f"/tenants/{shop}/usage", by="day")
        assert usage["storage_bytes"] == 1 << 30
        assert usage["measures"]["storage_gib_hours"] == 10
        assert usage["cost"]["storage"] == usage["cost_micros"] == 10_000
        assert [day["cost_micros"] for day in usage["days"]] == [10_000]
        world.clock.advance(10 * 3600)
        usage = await world.read(f"/tenants/{shop}/usage", by="day")
        assert [day["storage_gib_hours"] for day in usage["days"]] == [12, 8]
        await world.levels.take({shop: 0})
        again = await world.read(f"/tenants/{shop}/usage")
        assert (again["storage_bytes"], again["cost_micros"]) == (0, 20_000)
        # ten days and a half of a GiB to come, as long as nobody knows better
        assert usage["forecast"]["cost_micros"] > usage["cost_micros"]

    _with_world(tmp_path, body)


def test_the_allowance_is_shared_by_use(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop, blog, idle = [await world.tenant(name) for name in ("shop", "blog", "idle")]
        await world.use(shop, write_requests=300)
        await world.use(blog, write_requests=100)
        everyone = await world.read("/usage")
        assert everyone["request_units"] == 400
        assert everyone["cost_micros"] == 300
        lines = [(each["name"], each["cost_micros"]) for each in everyone["tenants"]]
        assert lines == [("shop", 225), ("blog", 75)]
        page = await world.read("/usage", limit="1")
        assert ([each["id"] for each in page["tenants"]], page["next"]) == ([shop], shop)
        page = await world.read("/usage", limit="1", after=str(shop))
        assert ([each["id"] for each in page["tenants"]], page["next"]) == ([blog], None)
        assert (await world.read(f"/tenants/{idle}/usage"))["cost_micros"] == 0

    _with_world(tmp_path, body)


def test_the_forecast_goes_on_as_the_last_week_was(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await world.tenant("shop")
        for _ in range(10):
            await world.use(shop, write_requests=240)
            world.clock.advance(_DAY)
        # 10 a.m. and noon count alike: the first of the seven days began 7.5 days ago
        usage = await world.read(f"/tenants/{shop}/usage")
        rest_days = 11.5  # from the 20th, noon
        expected = 2400 + 7 * 240 / 7.5 * rest_days
        assert abs(usage["forecast"]["request_units"] - expected) <= 240
        assert usage["forecast"]["month_end"] == "2026-04-01T00:00:00Z"
        forecast = usage["forecast"]
        assert abs(forecast["cost_micros"] - (forecast["request_units"] - 100)) <= 1
        everyone = (await world.read("/usage"))["forecast"]
        assert everyone == forecast

    _with_world(tmp_path, body)


def test_what_is_no_period_or_no_tenant(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await world.tenant("shop")
        for wrong in (
            {"from": "2026-03-02", "to": "2026-03-02"},
            {"from": "2026-03-02", "to": "2027-03-04"},
            {"from": "1990-01-01"},
            {"from": "soon"},
            {"by": "minute"},
            {"by": "hour", "from": "2026-01-01", "to": "2026-03-01"},
        ):
            for path in (f"/v1/tenants/{shop}/usage", "/v1/usage"):
                answer = await world.client.get(path, params=wrong)
                assert answer.status_code == 422, wrong
                assert answer.json()["code"] == "invalid_request"
        for nobody in ("99", "shop"):
            assert (await world.client.get(f"/v1/tenants/{nobody}/usage")).status_code == 404

    _with_world(tmp_path, body)


def test_units_of_the_book_are_the_ledgers() -> None:
    assert KIB_SECONDS_PER_GIB_HOUR == 3600 * _MEBIBYTE


def test_each_organisation_has_its_own_allowance(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        made = await world.client.post("/v1/organisations", json={"name": "other"})
        other = made.json()["id"]
        shop, spare = await world.tenant("shop"), await world.tenant("spare")
        made = await world.client.post(
            "/v1/tenants", json={"name": "theirs", "organisation": other}
        )
        theirs = int(made.json()["id"])
        await world.use(shop, write_requests=150)
        await world.use(spare, write_requests=50)
        await world.use(theirs, write_requests=90)
        await world.levels.take({theirs: 1 << 30})
        world.clock.advance(3600)
        costs = [
            (await world.read(f"/tenants/{each}/usage"))["cost_micros"]
            for each in (shop, spare, theirs)
        ]
        assert costs == [75, 25, 1000]  # 100 units are free for two of them, and for the third
        for by in ("cause", "day"):
            everyone = await world.read("/usage", by=by)
            assert everyone["request_units"] == 290
            assert everyone["cost_micros"] == 1100
            assert by == "cause" or [day["cost_micros"] for day in everyone["days"]] == [1100]
        ours = await world.read("/organisations/1/usage")
        assert (ours["request_units"], ours["cost_micros"]) == (200, 100)
        assert [each["id"] for each in ours["tenants"]] == [shop, spare]
        found = await world.read(f"/organisations/{other}/usage", by="day")
        assert (found["storage_bytes"], found["cost_micros"]) == (1 << 30, 1000)
        assert [each["id"] for each in found["tenants"]] == [theirs]
        for nobody in ("x", "99"):
            answer = await world.client.get(f"/v1/organisations/{nobody}/usage")
            assert answer.status_code == 404

    _with_world(tmp_path, body)


def test_what_was_used_before_organisations_is_theirs(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        shop = await world.tenant("shop")
        await world.use(shop, write_requests=300)
        file = tmp_path / "registry.sqlite"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("DELETE FROM usage_rollups WHERE tenant_id < 0")
            connection.commit()
            for statement in STEPS[4]:
                connection.execute(statement)
            connection.commit()
        assert (await world.read("/usage"))["cost_micros"] == 200

    _with_world(tmp_path, body)


def test_months_and_days_are_the_organisations(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        made = await world.client.post(
            "/v1/organisations", json={"name": "tokyo", "time_zone": "Asia/Tokyo"}
        )
        tokyo = made.json()["id"]
        made = await world.client.post("/v1/tenants", json={"name": "sushi", "organisation": tokyo})
        sushi, shop = int(made.json()["id"]), await world.tenant("shop")
        world.clock.advance(21 * _DAY + 2 * 3600)  # the 31st, 14:00 UTC: 23:00 in Tokyo
        await world.use(sushi, write_requests=300)
        await world.use(shop, write_requests=300)
        await world.levels.take({sushi: 1 << 30})
        world.clock.advance(2 * 3600)  # 16:00 UTC: April has begun in Tokyo
        await world.use(sushi, write_requests=150)
        await world.use(shop, write_requests=150)
        april = await world.read(f"/tenants/{sushi}/usage", by="day")
        assert april["time_zone"] == "Asia/Tokyo"
        assert april["period_start"] == "2026-03-31T15:00:00Z"
        assert april["forecast"]["month_end"] == "2026-04-30T15:00:00Z"
        found = [(d["day"], d["request_units"], d["storage_gib_hours"]) for d in april["days"]]
        assert found == [("2026-04-01", 150, 1)]
        assert april["cost"]["request_units"] == 50  # another month, another allowance
        march = await world.read(f"/tenants/{sushi}/usage", **{"from": "2026-03-01"})
        assert (march["period_end"], march["forecast"]) == ("2026-03-31T15:00:00Z", None)
        assert (march["request_units"], march["measures"]["storage_gib_hours"]) == (300, 1)
        assert (await world.read(f"/tenants/{shop}/usage"))["request_units"] == 450
        # of everyone it is each organisation's own March
        everyone = await world.read("/usage", **{"from": "2026-03-01"}, by="day")
        assert everyone["request_units"] == 750
        assert [day["day"] for day in everyone["days"]] == ["2026-03-31"]
        assert everyone["period_end"] == "2026-04-01T00:00:00Z"
        theirs = (await world.read(f"/organisations/{tokyo}/usage"))["tenants"]
        assert [each["request_units"] for each in theirs] == [150]

    _with_world(tmp_path, body)


def test_a_new_time_zone_counts_from_the_next_month_on(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        made = await world.client.post(
            "/v1/organisations", json={"name": "tokyo", "time_zone": "Asia/Tokyo"}
        )
        organisation = made.json()["id"]
        made = await world.client.post(
            "/v1/tenants", json={"name": "sushi", "organisation": organisation}
        )
        tenant = int(made.json()["id"])
        await world.levels.take({tenant: 1 << 30})
        for _ in range(60):
            await world.use(tenant, write_requests=10)
            world.clock.advance(_DAY)
            if _ == 5:
                moved = await world.client.patch(
                    f"/v1/organisations/{organisation}", json={"time_zone": "America/Los_Angeles"}
                )
                assert moved.json()["time_zone"] == "America/Los_Angeles"
        path, seen = f"/tenants/{tenant}/usage", []
        for first in ("2026-03-01", "2026-04-01", "2026-05-01"):
            month = await world.read(path, **{"from": first}, by="day")
            seen.append((month["period_start"], month["period_end"], month["request_units"]))
            assert sum(day["cost_micros"] for day in month["days"]) == month["cost_micros"]
        assert seen == [
            ("2026-02-28T15:00:00Z", "2026-03-31T15:00:00Z", 220),
            ("2026-03-31T15:00:00Z", "2026-05-01T07:00:00Z", 300),
            ("2026-05-01T07:00:00Z", "2026-06-01T07:00:00Z", 80),
        ]
        whole = await world.read(path, **{"from": "2026-03-01", "to": "2026-06-01"})
        assert whole["request_units"] == 600
        assert whole["measures"]["storage_gib_hours"] == 60 * 24

    _with_world(tmp_path, body)


def test_months_of_before_the_zones_stay_as_they_were(tmp_path: Path) -> None:
    async def body(world: _World) -> None:
        made = await world.client.post(
            "/v1/organisations", json={"name": "tokyo", "time_zone": "Asia/Tokyo"}
        )
        organisation = made.json()["id"]
        file = tmp_path / "registry.sqlite"
        with closing(sqlite3.connect(file)) as connection:
            for statement in invoices.STEP[1:2]:
                connection.execute(statement)
            connection.commit()
            found = connection.execute("SELECT id, zones FROM organisations ORDER BY id").fetchall()
        this_month = month_number(datetime.now(UTC).date())
        zones = [[0, "UTC"], [this_month + 1, "Asia/Tokyo"]]
        assert [(number, json.loads(text)) for number, text in found] == [
            (1, []),
            (organisation, zones),
        ]

    _with_world(tmp_path, body)
