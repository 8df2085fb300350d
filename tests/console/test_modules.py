"""The page's pure functions, called in the browser that runs them."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from bench.gateway import OwnGateway
from tests.console.browser import watched

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def page(browser: Browser, console_gateway: OwnGateway) -> Iterator[Page]:
    """One for all, for nothing here changes it."""
    with watched(browser, console_gateway) as (page, _):
        yield page


def _call(page: Page, module: str, expression: str) -> Any:
    """What an arrow function's body gives of a module (`m`), where the page has it from."""
    script = """async (name) => {
      const m = await import(new URL(name, document.querySelector('script[type=module]').src));
      return (() => BODY)();
    }"""
    return page.evaluate(script.replace("BODY", expression), module)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("m.bytes(0)", "0 B"),
        ("m.bytes(1536)", "1.5 KiB"),
        ("m.bytes(5 * 1024 ** 3)", "5 GiB"),
        ("m.bytes(null)", "–"),
        ("m.money(1234560000, 'EUR')", "€1,234.56"),
        ("m.money(1200, 'EUR')", "€0.0012"),
        ("m.money(0, 'EUR')", "€0.00"),
        ("m.cents(1250, 'EUR')", "€12.50"),
        ("m.rate(0.123456)", "0.123 RU/s"),
        ("m.units(1234567.8)", "1,234,568 RU"),
        ("m.compact(20_400_000)", "20.4M"),
        ("m.percent(8.24)", "8.2 %"),
        ("m.duration(5400)", "1 hour 30 minutes"),
        ("m.duration(86400)", "1 day"),
        ("m.duration(0)", "0 seconds"),
        ("m.month('2026-03')", "March 2026"),
        ("m.day('2026-03-01')", "1 Mar"),
        ("m.utc(new Date(0))", "1970-01-01 00:00:00 UTC"),
        ("m.plural(1, 'tenant') + m.plural(2, 'tenant')", "1 tenant2 tenants"),
    ],
)
def test_numbers_have_units(page: Page, expression: str, text: str) -> None:
    assert _call(page, "lib/format.js", expression) == text


def test_events_are_told_in_words(page: Page) -> None:
    limit = "{monthly_cents: 6900, monthly_request_units: null}"
    known = {
        f"kind: 'spend.notice', data: {{percent: 75, scope: 'tenant', limit: {limit}}}": (
            "75 % of the tenant's limit of 69 a month is used"
        ),
        "kind: 'tenant.renamed', data: {before: 'a', name: 'b'}": "a → b",
        "kind: 'spend.notice', data: {percent: 5}": "percent 5",
        "kind: 'constructor', data: {some_thing: {a: 1}}": 'some thing {"a":1}',
        "kind: 'new', data: null": "",
    }
    for event, sentence in known.items():
        assert _call(page, "parts/eventstable.js", f"m.sentenceOf({{{event}}})") == sentence


def test_waits_grow_to_a_bound_and_heed_the_gateway(page: Page) -> None:
    waits = _call(
        page, "lib/poll.js", "[1, 2, 3, 9, 99].map((each) => m.backoff(each, null, () => 0))"
    )
    assert waits == [2000, 4000, 8000, 30_000, 30_000]
    assert _call(page, "lib/poll.js", "m.backoff(1, 7000, () => 1)") == 7000
    assert _call(page, "lib/poll.js", "m.backoff(1, null, () => 1)") == 2400


def test_addresses_mean_one_page_or_none(page: Page) -> None:
    known = {
        "#/tenants": ["tenants", None],
        "#/tenants/17": ["tenant", 17],
        "#/tenants/17/usage": ["tenant", 17],
        "#/status": ["status", None],
        "#/tenants/x": ["", None],
        "#main": ["", None],
        "": ["", None],
    }
    for hash_, meaning in known.items():
        expression = f"(({{page, id}}) => [page, id])(m.parse('{hash_}'))"
        assert _call(page, "lib/router.js", expression) == meaning, hash_


def test_samples_are_bounded_and_show_their_gaps(page: Page) -> None:
    found = _call(
        page,
        "parts/samples.js",
        """{
          const samples = new m.Samples();
          const picture = {cpu_percent: 1, request_units_per_second: null, pods: 2};
          for (let second = 0; second < 2000; second += 0.5) samples.add(second, picture);
          samples.add(2100, picture);
          samples.setStorage(5);
          const lengths = Object.values(samples.values).map((each) => each.length);
          const newest = samples.values.cpu_percent.slice(-3);
          return [samples.times.length, lengths, newest, samples.times.at(-1)];
        }""",
    )
    length, lengths, newest, last = found
    assert length <= 400
    assert set(lengths) == {length}
    assert newest == [1, None, 1]
    assert last == 2100
