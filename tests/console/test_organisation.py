"""An organisation's page: usage of all its tenants, its limit, its invoices."""

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from bench.gateway import OwnGateway
from tests.console.browser import Watch, sign_in, visit, watched

pytestmark = pytest.mark.e2e

_CLOSED = {
    "id": 3,
    "number": "2026-000003",
    "status": "closed",
    "organisation": 1,
    "month": "2026-03",
    "period_start": "2026-03-01T00:00:00Z",
    "period_end": "2026-04-01T00:00:00Z",
    "closed_at": "2026-04-02T00:00:10Z",
    "currency": "EUR",
    "total_micros": 125_640_000,
    "payable": "149.51",
}


def test_an_organisation_is_made_and_limited(
    operator: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, _ = operator
    visit(page, "#/organisations", "Organisations")
    page.get_by_role("button", name="Create organisation").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("acme")
    expect(dialog.get_by_label("Time zone")).to_have_value("Europe/Vienna")
    dialog.get_by_role("button", name="Create organisation").click()
    page.get_by_role("link", name="acme").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("acme")
    expect(page.get_by_text("its months begin in Europe/Vienna")).to_be_visible()
    expect(page.get_by_text("Nothing used yet this month").first).to_be_visible()
    expect(page.get_by_role("table", name="Invoices")).to_contain_text("Draft")
    page.get_by_label("Money a month").fill("20")
    page.get_by_role("button", name="Save limit").click()
    expect(page.get_by_role("meter", name="Spend limit")).to_be_visible()
    found = console_gateway.call("GET", "/v1/organisations?name=acme")["organisations"][0]
    limit = console_gateway.call("GET", f"/v1/organisations/{found['id']}/spend-limit")
    assert limit["monthly_cents"] == 2000


def test_an_organisations_key_sees_its_own(browser: Browser, console_gateway: OwnGateway) -> None:
    made = console_gateway.call("POST", "/v1/organisations", json={"name": "elsewhere"})
    body = {"label": "theirs", "scope": "organisation", "organisation": made["id"]}
    key = console_gateway.call("POST", "/v1/keys", json=body)["key"]
    with watched(browser, console_gateway) as (page, _):
        sign_in(page, key)
        expect(page.get_by_text("No tenants yet")).to_be_visible()
        page.get_by_role("link", name="Organisation").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("elsewhere")
        page.evaluate("location.hash = '#/status'")
        expect(page.get_by_role("heading", level=1)).to_have_text("Tenants")


def test_an_invoice_is_downloaded_with_the_key_in_a_header(
    operator: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, _ = operator
    asked: list[str] = []

    def give_file(route: Route) -> None:
        asked.append(route.request.headers.get("authorization", ""))
        route.fulfill(body=b"%PDF-1.7", content_type="application/pdf")

    # No month of this gateway is over yet: the list and the file are made up, the page is not.
    page.route(
        "**/v1/organisations/1/invoices",
        lambda route: route.fulfill(json={"invoices": [_CLOSED], "next": None}),
    )
    page.route("**/v1/invoices/3/pdf", give_file)
    visit(page, "#/organisations/1", "default")
    row = page.get_by_role("table", name="Invoices").get_by_role("row").nth(1)
    for text in ("March 2026", "2026-000003", "€125.64", "149.51 EUR"):
        expect(row).to_contain_text(text)
    with page.expect_download() as download:
        row.get_by_role("button", name="Download invoice-2026-000003 as PDF").click()
    assert download.value.suggested_filename == "invoice-2026-000003.pdf"
    assert download.value.path().read_bytes() == b"%PDF-1.7"
    assert asked == [f"Bearer {console_gateway.ready['admin_key']}"]
    assert "dm_" not in page.url
