"""The routes of spend limits: what is set, what is answered, who is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from control.amounts import Amounts
from control.ledger import Ledger, Report
from control.prices import PriceBook, Version
from dormouse.base.clock import ManualClock
from tests.control.support import FakePeers, Rig, rig_at

_BOOK = PriceBook(versions=(Version(effective_from=date(1970, 1, 1), free_units=100),))
"""100 units are free, and a cent buys 50,000."""
_TENANT = "/v1/tenants/1/spend-limit"
_ORGANISATION = "/v1/organisations/1/spend-limit"


@asynccontextmanager
async def _rig(
    folder: Path, clock: ManualClock | None = None
) -> AsyncIterator[tuple[Rig, httpx.AsyncClient]]:
    async with rig_at(folder, FakePeers(), book=_BOOK, clock=clock) as rig, rig.client() as client:
        await rig.services.tenants.create("shop")
        yield rig, client


async def _use(rig: Rig, clock: ManualClock, units: int, sequence: int = 1) -> None:
    """As if a pod had reported it."""
    ledger = Ledger(rig.services.stores.database, clock)
    total = Amounts(write_batches=units)
    await ledger.add(Report(tenant_id=1, pod_id=1, sequence=sequence, total=total))


async def _put(client: httpx.AsyncClient, path: str, **limit: Any) -> dict[str, Any]:
    answer = await client.put(path, json=limit)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_a_limit_is_set_read_and_taken_away(tmp_path: Path) -> None:
    async def body() -> None:
        async with _rig(tmp_path) as (_, client):
            none = (await client.get(_TENANT)).json()
            assert (none["state"], none["monthly_cents"], none["limited_by"]) == (
                "free",
                None,
                None,
            )
            made = await client.put(_TENANT, json={"monthly_cents": 2000})
            assert (made.status_code, made.headers["etag"]) == (200, '"2"')
            assert made.json()["policy"] == "stop"
            assert made.json()["state"] == "open"
            stale = await client.put(
                _TENANT, json={"monthly_cents": 1}, headers={"If-Match": '"1"'}
            )
            assert (stale.status_code, stale.json()["code"]) == (412, "spend_limit_changed")
            same = await client.put(_TENANT, json={"monthly_cents": 2000, "policy": "stop"})
            assert same.headers["etag"] == '"2"'
            gone = await client.put(_TENANT, json={"monthly_cents": None})
            assert (gone.json()["state"], gone.headers["etag"]) == ("free", '"3"')
            entries = (await client.get("/v1/audit?tenant=1")).json()["entries"]
            noted = [each for each in entries if each["action"] == "tenant.spend_limit"]
            assert [each["resource"] for each in noted] == ["tenants/1/spend-limit"] * 2
            assert noted[0]["changes"] == {"monthly_cents": {"old": None, "new": 2000}}

    asyncio.run(body())


def test_what_is_no_limit_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with _rig(tmp_path) as (_, client):
            for wrong in (
                {"monthly_cents": -1},
                {"monthly_cents": 1.5},
                {"monthly_request_units": 10**14},
                {"policy": "hope"},
                {"cents": 1},
            ):
                answer = await client.put(_TENANT, json=wrong)
                assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
            for path in ("/v1/tenants/9/spend-limit", "/v1/organisations/9/spend-limit"):
                assert (await client.get(path)).status_code == 404
                assert (await client.put(path, json={})).status_code == 404

    asyncio.run(body())


def test_use_is_measured_and_notices_are_given_once(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _rig(tmp_path, clock) as (rig, client):
            await _put(client, _TENANT, monthly_request_units=1000)
            await _use(rig, clock, 760)
            clock.advance(61)  # nobody told this application: the month is read anew
            open_ = await _put(client, _TENANT, monthly_request_units=1000, policy="notify")
            assert open_["used"] == {"request_units": 760, "cost_micros": 132, "percent": 76}
            assert [each["percent"] for each in open_["notices"]] == [50, 75]
            stopped = await _put(client, _TENANT, monthly_request_units=760)
            assert (stopped["state"], stopped["limited_by"]) == ("stopped", "tenant")
            assert [each["percent"] for each in stopped["notices"]] == [50, 75, 90, 100]
            raised = await _put(client, _TENANT, monthly_request_units=1500)
            assert (raised["state"], raised["limited_by"]) == ("open", None)
            assert [each["percent"] for each in raised["notices"]] == [50]
            await _put(client, _TENANT, monthly_request_units=760)
            events = (await client.get("/v1/events?tenant=1&kind=spend.notice")).json()["events"]
            percents = [each["data"]["percent"] for each in events]
            assert percents == [50, 75, 90, 100, 75, 90, 100]
            kinds = [
                each["kind"] for each in (await client.get("/v1/events?tenant=1")).json()["events"]
            ]
            assert kinds.count("spend.limit_reached") == 2
            assert kinds.count("spend.restored") == 1

    asyncio.run(body())


def test_an_organisations_limit_stops_its_tenants(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _rig(tmp_path, clock) as (rig, client):
            await _use(rig, clock, 101)
            whole = await _put(client, _ORGANISATION, monthly_cents=0)
            assert (whole["state"], whole["limited_by"]) == ("stopped", "organisation")
            own = (await client.get(_TENANT)).json()
            assert (own["state"], own["limited_by"]) == ("stopped", "organisation")
            assert own["used"]["percent"] == 0, "it has no limit of its own"
            relaxed = await _put(client, _ORGANISATION, monthly_cents=0, policy="throttle")
            assert relaxed["state"] == "throttled"
            assert (await _put(client, _ORGANISATION, monthly_cents=1))["state"] == "open"

    asyncio.run(body())


def test_half_of_what_is_free_is_half_of_a_limit_of_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _rig(tmp_path, clock) as (rig, client):
            await _use(rig, clock, 50)
            free = await _put(client, _TENANT, monthly_cents=0)
            assert (free["state"], free["used"]["percent"]) == ("open", 50)
            await _use(rig, clock, 100, sequence=2)
            clock.advance(61)
            assert (await client.get(_TENANT)).json()["state"] == "stopped"

    asyncio.run(body())
