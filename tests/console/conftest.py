"""One gateway for all tests of the console, and a browser for each module."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from bench.gateway import OwnGateway
from tests.console.browser import Watch, chromium, sign_in, watched
from tests.support.gateway import gateway


@pytest.fixture(scope="package")
def console_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnGateway]:
    with gateway(tmp_path_factory.mktemp("console"), warm_pods=1) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def door(browser: Browser, console_gateway: OwnGateway) -> Iterator[tuple[Page, Watch]]:
    """A page that nobody has signed in to."""
    with watched(browser, console_gateway) as opened:
        yield opened


@pytest.fixture
def operator(door: tuple[Page, Watch], console_gateway: OwnGateway) -> tuple[Page, Watch]:
    """A page where the operator has signed in."""
    sign_in(door[0], str(console_gateway.ready["admin_key"]))
    return door
