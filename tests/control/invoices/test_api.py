"""The routes of invoices, and billing addresses of organisations."""

import asyncio
import csv
import io
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from control.api.models_invoices import InvoiceView
from control.prices import PriceBook, Version
from dormouse.base.clock import ManualClock
from tests.control.invoices.world import World, at, open_world
from tests.control.support import FakePeers, api_at

_BOOK = PriceBook(
    "EUR",
    (Version(effective_from=date(1970, 1, 1), per_million_units=10_000_000_000, free_units=100),),
)


def _with_api(
    folder: Path, body: Callable[[World, httpx.AsyncClient], Awaitable[None]], **settings: Any
) -> None:
    async def run() -> None:
        clock = ManualClock(wall_ns=at("2026-03-10") * 10**9)
        async with (
            api_at(folder, FakePeers(), clock=clock, book=_BOOK, **settings) as client,
            open_world(folder, clock, book=_BOOK, name="Dormouse GK") as world,
        ):
            await body(world, client)

    asyncio.run(run())


async def _read(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(f"/v1{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_from_a_draft_to_a_closed_invoice(tmp_path: Path) -> None:
    async def body(world: World, client: httpx.AsyncClient) -> None:
        made = await client.post(
            "/v1/organisations", json={"name": "acme", "time_zone": "Asia/Tokyo"}
        )
        acme = made.json()["id"]
        changed = await client.patch(
            f"/v1/organisations/{acme}", json={"billing_address": "Acme KK\nTokyo"}
        )
        assert changed.json()["billing_address"] == "Acme KK\nTokyo"
        shop = await world.tenant("shop", acme)
        await world.use(shop, write_requests=300)
        path = f"/organisations/{acme}/invoices"
        [draft] = (await _read(client, path))["invoices"]
        assert (draft["id"], draft["number"], draft["status"]) == (None, None, "draft")
        assert (draft["month"], draft["total_micros"], draft["payable"]) == (
            "2026-03",
            2_000_000,
            "2.00",
        )
        whole = InvoiceView.model_validate(await _read(client, f"{path}/draft"))
        assert (whole.total_micros, whole.sections[0].lines[0].tenant_name) == (2_000_000, "shop")
        usage = await _read(client, f"/organisations/{acme}/usage")
        assert usage["cost_micros"] == whole.total_micros
        world.go_to("2026-04-05")
        await world.closing.close_due()
        april, march = (await _read(client, path))["invoices"]
        assert (april["status"], april["month"]) == ("draft", "2026-04")
        assert (march["number"], march["status"]) == ("DM-000001", "closed")
        found = InvoiceView.model_validate(await _read(client, f"/invoices/{march['id']}"))
        assert found.buyer.billing_address == "Acme KK\nTokyo"
        assert found.seller.name == "Dormouse GK"
        assert found.period_start.isoformat() == "2026-02-28T15:00:00+00:00"
        assert str(found.due_date) == "2026-05-05"
        assert [entry["action"] for entry in (await _read(client, "/audit"))["entries"]][-1] == (
            "invoice.close"
        )

    _with_api(tmp_path, body)


def test_files_of_an_invoice(tmp_path: Path) -> None:
    async def body(world: World, client: httpx.AsyncClient) -> None:
        acme = await world.organisation("acme")
        await world.use(await world.tenant("shop", acme), write_requests=300)
        world.go_to("2026-04-05")
        await world.closing.close_due()
        answer = await client.get("/v1/invoices/1/csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert (
            answer.headers["content-disposition"] == 'attachment; filename="invoice-DM000001.csv"'
        )
        assert next(row["kind"] for row in csv.DictReader(io.StringIO(answer.text))) == (
            "request_units.writes"
        )
        answer = await client.get("/v1/invoices/1/pdf")
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.content.startswith(b"%PDF-")
        for missing in ("2", "x", "0"):
            for form in ("", "/csv", "/pdf"):
                answer = await client.get(f"/v1/invoices/{missing}{form}")
                assert (answer.status_code, answer.json()["code"]) == (404, "invoice_not_found")
        for nobody in ("99", "x"):
            for path in ("invoices", "invoices/draft"):
                answer = await client.get(f"/v1/organisations/{nobody}/{path}")
                assert answer.json()["code"] == "organisation_not_found"

    _with_api(tmp_path, body)


def test_the_list_has_pages(tmp_path: Path) -> None:
    async def body(world: World, client: httpx.AsyncClient) -> None:
        acme = await world.organisation("acme")
        await world.levels.take({await world.tenant("shop", acme): 1})
        world.go_to("2026-08-05")
        await world.closing.close_due()
        path, seen, before = f"/organisations/{acme}/invoices?limit=2", [], ""
        while True:
            page = await _read(client, path + before)
            seen += [each["month"] for each in page["invoices"]]
            if page["next"] is None:
                break
            before = f"&before={page['next']}"
        assert seen == [f"2026-0{month}" for month in (8, 7, 6, 5, 4, 3)]

    _with_api(tmp_path, body)


def test_a_deleted_organisation_gets_its_last_invoice(tmp_path: Path) -> None:
    async def body(world: World, client: httpx.AsyncClient) -> None:
        acme = await world.organisation("acme")
        shop = await world.tenant("shop", acme)
        await world.use(shop, write_requests=300)
        assert (await client.delete(f"/v1/tenants/{shop}?purge=true")).status_code in (202, 204)
        assert (await client.delete(f"/v1/organisations/{acme}")).status_code == 204
        world.go_to("2026-04-05")
        await world.closing.close_due()
        found = (await _read(client, f"/organisations/{acme}/invoices"))["invoices"][-1]
        assert (found["status"], found["total_micros"]) == ("closed", 2_000_000)
        document = await _read(client, f"/invoices/{found['id']}")
        assert document["sections"][0]["lines"][0]["tenant_name"] == "shop"

    _with_api(tmp_path, body)
