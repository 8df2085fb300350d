"""Keys: which open the console, what it shows them, and that it forgets them."""

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.gateway import OwnGateway
from tests.console.browser import Watch, sign_in, visit, watched

pytestmark = pytest.mark.e2e


def _key(gateway: OwnGateway, **body: object) -> str:
    return str(gateway.call("POST", "/v1/keys", json=body)["key"])


def test_a_wrong_key_opens_nothing(door: tuple[Page, Watch]) -> None:
    page, watch = door
    watch.allow(401)
    expect(page.get_by_text("admin.key").first).to_be_visible()
    for wrong, says in (("", "Enter a key"), ("dm_wrong", "opens nothing"), ("kéy", "no API key")):
        page.get_by_label("API key").fill(wrong)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator(".error:visible")).to_contain_text(says)
        expect(page.get_by_label("API key")).to_have_attribute("aria-invalid", "true")
    assert page.evaluate("sessionStorage.length") == 0


def test_a_key_stays_in_its_tab_until_it_is_forgotten(
    door: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, _ = door
    key = str(console_gateway.ready["admin_key"])
    sign_in(page, key)
    expect(page.get_by_role("heading", level=1)).to_have_text("Tenants")
    assert key not in page.url
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tenants")
    with page.context.expect_page() as opened:
        page.evaluate("open('/', '_blank', 'noopener')")
    expect(opened.value.get_by_label("API key")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_focused()
    kept = (
        "JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie, location.href])"
    )
    assert key not in page.evaluate(kept)
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()


def test_a_key_that_is_revoked_is_signed_out(browser: Browser, console_gateway: OwnGateway) -> None:
    made = console_gateway.call("POST", "/v1/keys", json={"label": "short", "scope": "admin"})
    with watched(browser, console_gateway) as (page, watch):
        watch.allow(401)
        sign_in(page, made["key"])
        console_gateway.call("DELETE", f"/v1/keys/{made['id']}")
        expect(page.get_by_role("alert")).to_contain_text("no longer valid")
        expect(page.get_by_label("API key")).to_be_visible()


def test_a_key_for_one_tenant_sees_that_one(browser: Browser, console_gateway: OwnGateway) -> None:
    tenant = console_gateway.create_tenant("only-one")
    key = _key(console_gateway, label="app", scope="tenant", tenant=tenant["id"])
    with watched(browser, console_gateway) as (page, _):
        sign_in(page, key)
        expect(page.get_by_role("heading", level=1)).to_have_text("only-one")
        page.evaluate("location.hash = '#/status'")
        expect(page).to_have_url(f"{console_gateway.api}/#/tenants/{tenant['id']}")
        expect(page.get_by_role("navigation", name="Main").get_by_role("link")).to_have_count(1)
        visit(page, f"#/tenants/{tenant['id']}/settings", "only-one")
        expect(page.get_by_role("button", name="Save settings")).to_be_visible()
        expect(page.get_by_role("button", name="Delete tenant")).to_have_count(0)


def test_a_key_that_only_reads_is_offered_no_change(
    browser: Browser, console_gateway: OwnGateway
) -> None:
    tenant = console_gateway.create_tenant("look-only")
    key = _key(
        console_gateway, label="<b>viewer</b>", scope="organisation", organisation=1, access="read"
    )
    with watched(browser, console_gateway) as (page, _):
        sign_in(page, key)
        expect(page.locator(".who")).to_contain_text("<b>viewer</b>")
        page.get_by_role("searchbox").fill("look-only")
        expect(page.get_by_role("link", name="look-only")).to_be_visible()
        expect(page.get_by_role("button", name="Create tenant")).to_have_count(0)
        expect(page.get_by_role("button", name="Wake look-only")).to_have_count(0)
        expect(page.get_by_role("link", name="Status")).to_have_count(0)
        visit(page, f"#/tenants/{tenant['id']}/settings", "look-only")
        expect(page.get_by_label("Pods, at least")).to_be_disabled()
        expect(page.get_by_role("button", name="Save settings")).to_have_count(0)
        visit(page, f"#/tenants/{tenant['id']}/usage", "look-only")
        expect(page.get_by_role("heading", name="Spend limit")).to_be_visible()
        expect(page.get_by_role("button", name="Save limit")).to_have_count(0)
