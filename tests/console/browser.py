"""A real Chromium, Debian's, that watches what a page does behind the user's back.

A test fails when its page logs an error, breaks the content policy, throws, or asks any other host
for anything. Chromium logs each answer of 400 and above as an error: those a test means to get are
named by it (`watch.allow(412)`).
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from bench.gateway import Gateway

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = (1440, 900)
PHONE = (390, 844)
WAIT_MS = 10_000
expect.set_options(timeout=WAIT_MS)
_STATUS = re.compile(r"status of (\d+)")


class Watch:
    """What one page did that it should not have."""

    def __init__(self, page: Page, origin: str) -> None:
        self._origin = origin
        self._allowed: set[str] = set()
        self._found: list[tuple[str, str]] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._found.append(("", f"thrown: {error}")))
        page.on("request", lambda request: self._on_request(request.url))

    def allow(self, *words: int | str) -> None:
        """Statuses of answers, and words of network errors, that the test provokes."""
        self._allowed |= {str(each) for each in words}

    def check(self) -> None:
        """Raises AssertionError for what is not allowed."""
        wrong = [text for word, text in self._found if word not in self._allowed]
        assert not wrong, "\n".join(wrong)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        status = _STATUS.search(message.text)
        network = re.search(r"net::(\w+)", message.text)
        word = status[1] if status else network[1] if network else ""
        self._found.append((word, f"{message.type}: {message.text} ({message.location})"))

    def _on_request(self, url: str) -> None:
        if not url.startswith((self._origin + "/", "blob:" + self._origin + "/")):
            self._found.append(("", f"foreign host: {url}"))


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a profile. Its loop lives as long as it does, so no test with a loop of its
    own may run meanwhile: open it for a module, not for the session."""
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        # What Debian's wrapper would remember it remembers in a folder that goes.
        environment: dict[str, str | float | bool] = {"HOME": home, "PATH": "/usr/bin:/bin"}
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=list(FLAGS), env=environment
        )
        try:
            yield browser
        finally:
            browser.close()


def new_context(
    browser: Browser, *, size: tuple[int, int] = DESKTOP, scheme: Any = "light", **more: Any
) -> BrowserContext:
    """A window of this size, and nothing remembered."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="Europe/Vienna",
        **more,
    )
    context.set_default_timeout(WAIT_MS)
    return context


@contextmanager
def watched(browser: Browser, gateway: Gateway, **options: Any) -> Iterator[tuple[Page, Watch]]:
    """A page at the console's door; what it did is judged at the end."""
    context = new_context(browser, **options)
    try:
        page = context.new_page()
        watch = Watch(page, gateway.api)
        page.goto(gateway.api + "/")
        yield page, watch
        watch.check()
    finally:
        context.close()


def sign_in(page: Page, key: str) -> None:
    """From the door to the first page."""
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def visit(page: Page, place: str, heading: str) -> None:
    """Go to a place of the console, as `#/tenants/3`, and wait for its heading."""
    page.evaluate("place => { location.hash = place }", place)
    page.get_by_role("heading", level=1, name=heading, exact=True).wait_for()
