"""Tenants: made, found, woken, put to sleep, deleted and restored."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from playwright.sync_api import Page, expect

from bench.gateway import OwnGateway
from tests.console.browser import Watch, visit

pytestmark = pytest.mark.e2e

_HOSTILE = "<img src=x onerror=document.title='broken'>"


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_a_tenant_is_made_and_its_password_shown_once(
    operator: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, watch = operator
    watch.allow(422, 409)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Create tenant").click()
    dialog = page.get_by_role("dialog")
    name = dialog.get_by_label("Name")
    expect(name).to_be_focused()
    name.fill("Not A Name")
    dialog.get_by_role("button", name="Create tenant").click()
    expect(dialog.locator(".field .error:visible")).to_contain_text("lower-case letters")
    expect(name).to_be_focused()
    name.fill("fresh")
    dialog.get_by_label("Labels").fill("stage=test\nconstructor=x")
    dialog.get_by_role("button", name="Create tenant").click()
    shown = page.get_by_role("dialog", name="fresh is ready")
    url = shown.get_by_role("group", name="Connection URL", exact=True).inner_text()
    with _connected(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    shown.get_by_role("button", name="Copy Connection URL", exact=True).click()
    assert page.evaluate("navigator.clipboard.readText()") == url
    shown.get_by_role("button", name="I have saved it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("fresh")
    expect(page.get_by_role("group", name=re.compile("in the user name"))).to_be_visible()
    password = url.split(":")[2].split("@")[0]
    assert password not in page.content()
    found = console_gateway.call("GET", "/v1/tenants?name=fresh")["tenants"][0]
    assert found["labels"] == {"stage": "test", "constructor": "x"}
    visit(page, "#/tenants", "Tenants")
    page.get_by_role("button", name="Create tenant").click()
    name.fill("fresh")
    dialog.get_by_role("button", name="Create tenant").click()
    expect(dialog.get_by_role("alert")).to_contain_text("exists")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Create tenant")).to_be_focused()


def test_tenants_are_searched_for_and_filtered(
    operator: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, _ = operator
    one = console_gateway.create_tenant("needle-one")
    console_gateway.call("POST", "/v1/tenants", json={"name": "straw", "labels": {"kind": "dry"}})
    search = page.get_by_role("searchbox")
    names = page.locator("tbody a.name:visible")
    for words, found in (
        ("needle", ["needle-one"]),
        ("kind=dry", ["straw"]),
        (f"needle-one-{one['id']}", ["needle-one"]),
        (str(one["id"]), ["needle-one"]),
    ):
        search.fill(words)
        expect(names).to_have_text(found)
    search.fill("nowhere")
    expect(page.get_by_text("No tenant matches")).to_be_visible()
    search.fill("needle")
    page.get_by_label("State").select_option("running")
    expect(page.get_by_text("No tenant matches")).to_be_visible()
    page.get_by_label("State").select_option("asleep")
    expect(names).to_have_text(["needle-one"])


def test_a_row_follows_its_tenant_without_being_redrawn(
    operator: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, _ = operator
    made = console_gateway.create_tenant("lively")
    row = page.get_by_role("row").filter(has_text="lively")
    expect(row).to_contain_text("Asleep")
    row.evaluate("row => { row.isTheSame = true }")
    row.get_by_role("button", name="Wake lively").focus()
    with _connected(made["connection_url"]):
        expect(row).to_contain_text("Running")
        expect(row.locator("[data-name=Pods]")).to_have_text("1")
        expect(row.locator("[data-name=Sessions]")).to_have_text("1")
        expect(row.locator("[data-name='Why awake']")).not_to_be_empty()
        expect(row.get_by_role("button", name="Suspend lively")).to_be_focused()
        assert row.evaluate("row => row.isTheSame") is True


def test_the_next_page_and_back(operator: tuple[Page, Watch], console_gateway: OwnGateway) -> None:
    page, _ = operator
    for number in range(51):
        body = {"name": f"many-{number:02}", "labels": {"many": ""}}
        console_gateway.call("POST", "/v1/tenants", json=body)
    page.get_by_role("searchbox").fill("many-")
    names = page.locator("tbody a.name:visible")
    expect(names).to_have_count(50)
    page.get_by_role("button", name="Next").click()
    expect(names).to_have_text(["many-50"])
    page.get_by_role("button", name="Previous").click()
    expect(names).to_have_count(50)


def test_a_tenant_is_woken_and_put_to_sleep(
    operator: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, _ = operator
    made = console_gateway.create_tenant("sleeper")
    visit(page, f"#/tenants/{made['id']}", "sleeper")
    head = page.locator(".pagehead")
    expect(head).to_contain_text("the first query wakes it")
    page.get_by_role("button", name="Wake").click()
    expect(head).to_contain_text("Running")
    page.get_by_role("button", name="Suspend").click()
    page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
    expect(head).to_contain_text("Asleep")
    expect(page.get_by_role("status").filter(has_text="sleeper is asleep")).to_have_count(1)


def test_deleting_wants_the_name_and_can_be_undone(
    operator: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, watch = operator
    watch.allow(404)  # the poll that is under way meanwhile
    made = console_gateway.create_tenant("short-lived")
    visit(page, f"#/tenants/{made['id']}/settings", "short-lived")
    page.get_by_role("button", name="Delete tenant").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Type short-lived to confirm").fill("short")
    dialog.get_by_role("button", name="Delete tenant").click()
    expect(dialog.locator(".error:visible")).to_contain_text("This is not “short-lived”")
    assert console_gateway.tenant(made["id"])["name"] == "short-lived"
    dialog.get_by_label("Type short-lived to confirm").fill("short-lived")
    dialog.get_by_role("button", name="Delete tenant").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("short-lived is deleted")
    expect(page.get_by_text("It can be restored until")).to_be_visible()
    visit(page, "#/tenants", "Tenants")
    page.get_by_label("State").select_option("deleted")
    page.get_by_role("button", name="Restore short-lived").click()
    page.get_by_role("dialog").get_by_role("button", name="Restore").click()
    expect(page.get_by_text("short-lived is back")).to_be_visible()
    assert console_gateway.tenant(made["id"])["state"] == "asleep"


def test_other_peoples_words_are_text(
    operator: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, _ = operator
    body = {"name": "hostile", "labels": {"note": _HOSTILE}}
    made = console_gateway.call("POST", "/v1/tenants", json=body)
    key = {"label": _HOSTILE, "scope": "tenant", "tenant": made["id"]}
    text = console_gateway.call("POST", "/v1/keys", json=key)["key"]
    page.get_by_role("searchbox").fill("hostile")
    row = page.get_by_role("row").filter(has_text="hostile")
    expect(row.locator(".label")).to_have_text(f"note={_HOSTILE}")
    console_gateway.request(
        "PATCH",
        f"/v1/tenants/{made['id']}/settings",
        json={"pods_max": 2},
        headers={"Authorization": f"Bearer {text}"},
    ).raise_for_status()
    visit(page, f"#/tenants/{made['id']}/activity", "hostile")
    expect(page.get_by_role("row").filter(has_text=_HOSTILE).first).to_be_visible()
    visit(page, f"#/tenants/{made['id']}/settings", "hostile")
    expect(page.get_by_role("textbox", name="Labels")).to_have_value(f"note={_HOSTILE}")
    assert page.locator("img[src=x]").count() == 0
    assert page.title() != "broken"
