"""That everybody can use it: by keyboard, on a small screen, in the dark, on a bad network."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.gateway import OwnGateway
from tests.console.browser import Watch, sign_in, visit, watched

pytestmark = pytest.mark.e2e

_AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
_SCHEMES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast", "link-in-text-block"]},
}
_LONG = "a-name-as-long-as-a-name-may-ever-become"


@pytest.fixture(scope="module")
def places(console_gateway: OwnGateway) -> list[tuple[str, str]]:
    """Every page, and its heading."""
    body = {"name": _LONG, "labels": {"owner": "x" * 60}}
    tenant = console_gateway.call("POST", "/v1/tenants", json=body)["id"]
    return [
        ("#/tenants", "Tenants"),
        *((f"#/tenants/{tenant}{tab}", _LONG) for tab in ("", "/usage", "/settings", "/activity")),
        ("#/organisations", "Organisations"),
        ("#/organisations/1", "default"),
        ("#/status", "Status"),
    ]


def _settle(page: Page) -> None:
    """Until a page has what it waits for."""
    page.wait_for_load_state("networkidle")


def test_nothing_scrolls_sideways_on_the_smallest_screen(
    browser: Browser, places: list[tuple[str, str]], console_gateway: OwnGateway
) -> None:
    wide = "document.documentElement.scrollWidth"
    with watched(browser, console_gateway, size=(320, 700)) as (page, _):
        assert page.evaluate(wide) <= 320
        sign_in(page, str(console_gateway.ready["admin_key"]))
        for place, heading in places:
            visit(page, place, heading)
            _settle(page)
            assert page.evaluate(wide) <= 320, place


def test_no_page_has_what_axe_finds(
    browser: Browser, places: list[tuple[str, str]], console_gateway: OwnGateway
) -> None:
    def check(page: Page, place: str) -> None:
        # All rules in the light, and in the dark what depends on colours.
        for scheme, options in _SCHEMES.items():
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("options => axe.run(document, options)", options)
            wrong = [
                f"{place}, {scheme}: {each['id']}: {node['html'][:200]} {node['failureSummary']}"
                for each in found["violations"]
                for node in each["nodes"]
            ]
            assert not wrong, "\n".join(wrong)

    with watched(browser, console_gateway) as (page, _):
        page.evaluate(_AXE.read_text(encoding="utf-8"))
        check(page, "the door")
        sign_in(page, str(console_gateway.ready["admin_key"]))
        for place, heading in places:
            visit(page, place, heading)
            _settle(page)
            check(page, place)
        visit(page, "#/tenants", "Tenants")
        page.get_by_role("button", name="Create tenant").click()
        page.get_by_role("dialog").wait_for()
        check(page, "the dialog")


def test_the_colours_follow_the_system_and_the_choice(
    operator: tuple[Page, Watch],
) -> None:
    page, _ = operator
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(paper)
    assert light != dark
    page.get_by_label("Theme").select_option("light")
    assert page.evaluate(paper) == light
    page.reload()
    assert page.evaluate(paper) == light
    page.get_by_label("Theme").select_option("system")
    assert page.evaluate(paper) == dark
    assert json.loads(page.evaluate("JSON.stringify({...localStorage})")) == {}


def _focused(page: Page) -> str:
    words = "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText"
    return str(page.evaluate(words)).strip()


def _tab_to(page: Page, name: str) -> None:
    """Tab until this has the focus, which has to be seen."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if _focused(page) == name:
            style = "getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(style) == "solid", f"the focus on {name} is not seen"
            return
    raise AssertionError(f"{name} is not reached by the Tab key")


def test_all_of_it_goes_by_keyboard(door: tuple[Page, Watch], console_gateway: OwnGateway) -> None:
    page, _ = door
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.insert_text(str(console_gateway.ready["admin_key"]))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Tenants")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    _tab_to(page, "Create tenant")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Name")).to_be_focused()
    page.keyboard.insert_text("by-keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="by-keyboard is ready")).to_be_visible()
    _tab_to(page, "I have saved it")
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("by-keyboard")
    expect(heading).to_be_focused()
    _tab_to(page, "Settings")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Settings")).to_have_attribute("aria-current", "page")
    expect(page.get_by_role("link", name="Settings")).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "pods_max":
            break
    page.keyboard.insert_text("2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The settings are saved")).to_be_visible()
    found = console_gateway.call("GET", "/v1/tenants?name=by-keyboard")["tenants"][0]
    assert found["settings"]["pods_max"] == 2


def test_the_first_link_skips_to_the_content(operator: tuple[Page, Watch]) -> None:
    page, _ = operator
    page.get_by_role("link", name="Dormouse, start page").press("Shift+Tab")
    assert _focused(page) == "Skip to content"
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tenants")


def test_a_network_that_is_away_is_told_and_tried_again(operator: tuple[Page, Watch]) -> None:
    page, watch = operator
    watch.allow("ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    told = page.locator("#connection")
    expect(told).to_contain_text("The gateway does not answer.")
    expect(told).to_contain_text("Next try in")
    page.context.set_offline(False)
    told.get_by_role("button", name="Try now").click()
    expect(told).to_be_hidden()


def test_the_policy_is_in_force(door: tuple[Page, Watch]) -> None:
    page, watch = door
    watch.allow("")
    page.evaluate("""() => {
      window.broken = [];
      const note = (event) => window.broken.push(event.effectiveDirective);
      document.addEventListener('securitypolicyviolation', note);
      const picture = new Image();
      picture.src = 'https://example.invalid/x.png';
      document.body.setAttribute('style', 'color: red');
      try { document.body.innerHTML = '<b>x</b>'; } catch { window.refused = true; }
    }""")
    page.wait_for_function("window.broken.length >= 2")
    assert page.evaluate("window.refused") is True
