"""A tenant's page: live charts, usage, the spend limit, settings and what happened."""

from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Page, expect

from bench.gateway import OwnGateway
from tests.console.browser import Watch, visit

pytestmark = pytest.mark.e2e

# Pixels that are not the background, of the chart's own canvas.
_PAINTED = """canvas => {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let painted = 0;
  for (let i = 3; i < data.length; i += 4) painted += data[i] > 200;
  return painted;
}"""


@pytest.fixture(scope="module")
def busy(console_gateway: OwnGateway) -> Iterator[tuple[int, psycopg.Connection]]:
    """A tenant that has been used, and a connection to it."""
    made = console_gateway.create_tenant("busy")
    with psycopg.connect(made["connection_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE t (a int)")
        connection.execute("INSERT INTO t SELECT g FROM generate_series(1, 5000) g")
        yield int(made["id"]), connection


def test_the_charts_are_live(
    operator: tuple[Page, Watch], busy: tuple[int, psycopg.Connection]
) -> None:
    page, _ = operator
    tenant, connection = busy
    visit(page, f"#/tenants/{tenant}", "busy")
    expect(page.locator(".chart canvas")).to_have_count(4)
    units = page.locator(".chart", has_text="Request units")
    drawn = "document.querySelectorAll('.chart canvas')[1].toDataURL()"
    first = page.evaluate(drawn)
    for _ in range(3):
        connection.execute("SELECT sum(a) FROM t").fetchall()
        page.wait_for_timeout(300)
    expect(units.locator(".now")).not_to_have_text("0 RU/s")
    expect(page.locator(".chart", has_text="Pods").locator(".now")).to_have_text("1")
    label = units.get_by_role("img").get_attribute("aria-label")
    assert label is not None
    assert label.startswith("Request units: now ")
    for canvas in page.locator(".chart canvas").all():
        assert canvas.evaluate(_PAINTED) > 100
    page.wait_for_function(f"first => {drawn} !== first", arg=first)


def test_a_hidden_tab_asks_nothing(
    operator: tuple[Page, Watch], busy: tuple[int, psycopg.Connection]
) -> None:
    page, _ = operator
    visit(page, f"#/tenants/{busy[0]}", "busy")
    expect(page.locator(".chart canvas")).to_have_count(4)
    page.evaluate("""() => {
      Object.defineProperty(document, 'hidden', {value: true, configurable: true});
      document.dispatchEvent(new Event('visibilitychange'));
    }""")
    page.wait_for_timeout(500)  # for what is under way
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == []
    with page.expect_request(f"**/v1/tenants/{busy[0]}"):
        page.evaluate("""() => {
          Object.defineProperty(document, 'hidden', {value: false, configurable: true});
          document.dispatchEvent(new Event('visibilitychange'));
        }""")


def test_usage_is_told_by_cause_and_by_day(
    operator: tuple[Page, Watch], busy: tuple[int, psycopg.Connection], console_gateway: OwnGateway
) -> None:
    page, _ = operator
    tenant, connection = busy
    connection.execute("SELECT sum(a) FROM t").fetchall()
    visit(page, f"#/tenants/{tenant}/usage", "busy")
    causes = page.get_by_role("table", name="Request units by cause")
    expect(causes.get_by_role("row")).to_have_count(5)
    expect(causes.get_by_role("row").filter(has_text="Writes")).to_contain_text("RU")
    expect(page.locator(".bars canvas")).to_have_count(1)
    assert page.locator(".bars canvas").evaluate(_PAINTED) > 100
    page.get_by_text("As a table").click()
    expect(page.get_by_role("table", name="Usage by day").get_by_role("row")).to_have_count(2)
    month = page.get_by_role("region", name="This month")
    total = console_gateway.call("GET", f"/v1/tenants/{tenant}/usage")["request_units"]
    assert total > 5000
    expect(month).to_contain_text("Forecast")


def test_a_spend_limit_is_set_and_its_bar_drawn(
    operator: tuple[Page, Watch], busy: tuple[int, psycopg.Connection], console_gateway: OwnGateway
) -> None:
    page, watch = operator
    watch.allow(412)
    tenant, _ = busy
    path = f"/v1/tenants/{tenant}/spend-limit"
    visit(page, f"#/tenants/{tenant}/usage", "busy")
    units = page.get_by_label("Request units a month")
    units.fill("many")
    page.get_by_role("button", name="Save limit").click()
    expect(page.locator(".field .error:visible")).to_contain_text("whole number")
    used = console_gateway.call("GET", path)["used"]["request_units"]
    units.fill(str(int(used / 0.6)))
    page.get_by_label("Money a month").fill("12.50")
    page.get_by_label("When it is reached").select_option("notify")
    page.get_by_role("button", name="Save limit").click()
    expect(page.get_by_text("The limit is saved")).to_be_visible()
    limit = console_gateway.call("GET", path)
    assert (limit["monthly_cents"], limit["policy"]) == (1250, "notify")
    bar = page.get_by_role("meter", name="Spend limit")
    assert 50 <= int(bar.get_attribute("aria-valuenow") or "") < 75
    expect(bar.locator(".mark")).to_have_count(4)
    filled = bar.evaluate("bar => bar.querySelector('.fill').offsetWidth / bar.clientWidth")
    # The bar ends at 110 %, so that what is over the limit is seen.
    assert filled == pytest.approx(limit["used"]["percent"] / 110, abs=0.03)
    expect(page.locator(".notices")).to_contain_text("50 % reached")
    theirs = {"monthly_cents": 900, "policy": "stop"}
    console_gateway.call("PUT", path, json=theirs)
    page.get_by_label("Money a month").fill("99")
    page.get_by_role("button", name="Save limit").click()
    expect(page.get_by_role("alert").filter(has_text="Somebody else")).to_be_visible()
    expect(page.get_by_label("Money a month")).to_have_value("9.00")
    assert console_gateway.call("GET", path)["monthly_cents"] == 900


def test_settings_are_changed(operator: tuple[Page, Watch], console_gateway: OwnGateway) -> None:
    page, watch = operator
    watch.allow(422)
    tenant = console_gateway.create_tenant("tunable")["id"]
    visit(page, f"#/tenants/{tenant}/settings", "tunable")
    page.get_by_label("Sleeps without a statement").select_option("after")
    page.get_by_label("Seconds until it sleeps").fill("5400")
    expect(page.get_by_text("That is 1 hour 30 minutes")).to_be_visible()
    page.get_by_label("Pods, at most").fill("100")
    page.get_by_label("Allowed networks").fill("192.0.2.0/24\n300.1.1.1")
    page.get_by_role("button", name="Save settings").click()
    wrong = page.locator(".field:has(.error:visible)")
    expect(wrong).to_have_count(2)
    expect(wrong.first).to_contain_text("Pods, at most")
    expect(page.get_by_label("Pods, at most")).to_be_focused()
    page.get_by_label("Pods, at most").fill("4")
    page.get_by_label("Allowed networks").fill("192.0.2.0/24")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("The settings are saved")).to_be_visible()
    settings = console_gateway.call("GET", f"/v1/tenants/{tenant}/settings")
    assert (settings["idle_timeout_seconds"], settings["pods_max"]) == (5400, 4)
    assert settings["allowed_networks"] == ["192.0.2.0/24"]


def test_whoever_is_later_is_told_what_the_other_changed(
    operator: tuple[Page, Watch], console_gateway: OwnGateway
) -> None:
    page, watch = operator
    watch.allow(412)
    tenant = console_gateway.create_tenant("contested")["id"]
    visit(page, f"#/tenants/{tenant}/settings", "contested")
    page.get_by_label("Pods, at most").fill("3")
    console_gateway.change(tenant, pods_max=5, connections_max=7)
    page.get_by_role("button", name="Save settings").click()
    told = page.get_by_role("alert").filter(has_text="Somebody else")
    expect(told).to_contain_text("Pods, at most: 5 – you have 3")
    expect(told).to_contain_text("Connections, at most: 7")
    assert console_gateway.call("GET", f"/v1/tenants/{tenant}/settings")["pods_max"] == 5
    told.get_by_role("button", name="Keep mine and save").click()
    expect(page.get_by_text("The settings are saved")).to_be_visible()
    settings = console_gateway.call("GET", f"/v1/tenants/{tenant}/settings")
    assert (settings["pods_max"], settings["connections_max"]) == (3, 7)


def test_what_happened_is_listed(operator: tuple[Page, Watch], console_gateway: OwnGateway) -> None:
    page, _ = operator
    tenant = console_gateway.create_tenant("eventful")["id"]
    console_gateway.call("POST", f"/v1/tenants/{tenant}/wake")
    console_gateway.suspend(tenant)
    visit(page, f"#/tenants/{tenant}/activity", "eventful")
    for table, words in (
        ("Decisions", "suspend"),
        ("Events", "tenant.created"),
        ("Operations", "succeeded"),
        ("Changes", "tenant.create"),
    ):
        expect(page.get_by_role("table", name=table)).to_contain_text(words)
    moment = page.get_by_role("table", name="Changes").locator("time").first
    assert (moment.get_attribute("title") or "").endswith(" UTC")


def test_a_tenant_that_is_not_there(operator: tuple[Page, Watch]) -> None:
    page, watch = operator
    watch.allow(404)
    visit(page, "#/tenants/999999", "No such tenant")
    page.get_by_role("link", name="All tenants").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tenants")
