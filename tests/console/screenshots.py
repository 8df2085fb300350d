"""The pictures of docs/console.md: `python -m tests.console.screenshots`. Takes two minutes.

A gateway with five tenants; what they used on the days before is told to control's ledger while
the gateway is down, as pods would have told it. Then one of them is kept busy until the live
charts have something to show. Needs the extra `bench`, for Pillow makes the pictures small.
"""

import asyncio
import io
import math
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from PIL import Image
from playwright.sync_api import Browser, Page

from bench.gateway import Gateway, own_gateway
from control.amounts import Amounts
from control.database import open_database
from control.ledger import Ledger, Report
from dormouse.base.clock import ManualClock
from tests.console.browser import DESKTOP, PHONE, chromium, new_context, sign_in

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "console"
_TENANTS = {
    "shop": {"stage": "production"},
    "analytics": {"stage": "production", "team": "data"},
    "billing": {"stage": "production"},
    "forum": {},
    "shop-staging": {"stage": "test"},
}
_DAYS = 20
_DAY_NS = 86_400 * 10**9
_COLOURS = 128
_WATCHED_SECONDS = 65.0
_SETTLE_MS = 1500
_SCHEMES = ("light", "dark")
_SIZES = {"desktop": DESKTOP, "phone": PHONE}
_EVERYWHERE = {"tenants": "#/tenants", "tenant": "#/tenants/1", "usage": "#/tenants/1/usage"}
_ONCE = {
    "settings": "#/tenants/1/settings",
    "activity": "#/tenants/1/activity",
    "organisation": "#/organisations/1",
    "status": "#/status",
}


def main() -> None:
    """Take all pictures anew."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with own_gateway(folder, warm_pods=1) as gateway:
            urls = {
                tenant: gateway.call(
                    "POST", "/v1/tenants", json={"name": tenant, "labels": labels}
                )["connection_url"]
                for tenant, labels in _TENANTS.items()
            }
            port = gateway.sql_port
        asyncio.run(_remember_use(folder))
        with own_gateway(folder, warm_pods=2) as gateway:
            here = f":{gateway.sql_port}/"
            moved = {each: url.replace(f":{port}/", here) for each, url in urls.items()}
            _set_limits(gateway)
            with _load(moved), chromium() as browser:
                _take_all(browser, gateway)


async def _remember_use(folder: Path) -> None:
    """Book use on the days before today, a report a day for each tenant."""
    dice = random.Random(7)
    registry, secrets = (
        folder / "control" / "registry.sqlite",
        folder / "authority" / "secrets.keys",
    )
    async with open_database(registry, secrets) as database:
        for day in range(_DAYS, 0, -1):
            ledger = Ledger(database, ManualClock(wall_ns=time.time_ns() - day * _DAY_NS))
            busy = 1.0 if day % 7 > 1 else 0.45
            for tenant in range(1, len(_TENANTS) + 1):
                size = 8 * busy * dice.uniform(0.7, 1.2) / tenant**2
                total = Amounts(
                    sql_cpu_micros=int(2_400e6 * size),
                    read_batches=int(700_000 * size),
                    read_requests=int(4_000_000 * size),
                    write_batches=int(160_000 * size),
                    write_requests=int(480_000 * size),
                    egress_bytes=int(180e6 * size),
                    pod_millis=int(20_000_000 * size),
                )
                await ledger.add(
                    Report(tenant_id=tenant, pod_id=1000 + day, sequence=1, total=total)
                )


def _set_limits(gateway: Gateway) -> None:
    cost = gateway.call("GET", "/v1/tenants/1/spend-limit")["used"]["cost_micros"]
    limit = {"monthly_cents": 100 * math.ceil(cost / 1_000_000 / 0.8), "policy": "stop"}
    gateway.call("PUT", "/v1/tenants/1/spend-limit", json=limit)
    gateway.call("PUT", "/v1/organisations/1/spend-limit", json={"monthly_cents": 10_000})
    gateway.change(1, idle_timeout_seconds=600, pods_max=4, allowed_networks=["127.0.0.0/8", "::1"])
    gateway.call("POST", "/v1/tenants/5/wake")
    gateway.suspend(5)


@contextmanager
def _load(urls: dict[str, str]) -> Iterator[None]:
    """Keeps one tenant busy, by waves, and another one awake."""
    ended = threading.Event()

    def work() -> None:
        with (
            psycopg.connect(urls["shop"], autocommit=True) as shop,
            psycopg.connect(urls["analytics"], autocommit=True) as analytics,
        ):
            shop.execute("CREATE TABLE orders (id int PRIMARY KEY, customer int, note text)")
            for part in range(10):
                shop.execute(
                    "INSERT INTO orders SELECT g, g % 97, repeat('x', 100)"
                    f" FROM generate_series({part * 2000 + 1}, {part * 2000 + 2000}) g"
                )
            turn = 0
            while not ended.is_set():
                turn += 1
                busy_seconds = (0.55 if turn // 12 % 2 else 0.2) * random.uniform(0.6, 1)
                until = time.monotonic() + busy_seconds
                while time.monotonic() < until:
                    shop.execute("SELECT count(*) FROM orders WHERE customer = %s", (turn % 97,))
                    shop.execute("SELECT note FROM orders WHERE id = %s", (turn,))
                shop.execute("UPDATE orders SET note = 'paid' WHERE id = %s", (turn,))
                analytics.execute("SELECT 1")
                ended.wait(0.7)

    thread = threading.Thread(target=work, name="load")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _take_all(browser: Browser, gateway: Gateway) -> None:
    key = str(gateway.ready["admin_key"])
    pages: list[tuple[Page, str]] = []
    for size, pixels in _SIZES.items():
        for scheme in _SCHEMES:
            page = new_context(browser, size=pixels, scheme=scheme).new_page()
            page.goto(gateway.api + "/")
            suffix = f"{size}-{scheme}"
            if suffix in ("desktop-light", "phone-dark"):
                _take(page, f"signin-{suffix}", is_whole=False)
            sign_in(page, key)
            page.evaluate("location.hash = '#/tenants/1'")
            pages.append((page, suffix))
    pages[0][0].wait_for_timeout(_WATCHED_SECONDS * 1000)
    # The live charts first, for they begin anew when the page is left.
    for page, suffix in pages:
        _take(page, f"tenant-{suffix}")
    for page, suffix in pages:
        once = _ONCE if suffix in ("desktop-light", "phone-dark") else {}
        for name, place in {**_EVERYWHERE, **once}.items():
            if name == "tenant":
                continue
            page.evaluate("place => { location.hash = place }", place)
            page.wait_for_timeout(_SETTLE_MS)
            _take(page, f"{name}-{suffix}")
        page.context.close()


def _take(page: Page, name: str, *, is_whole: bool = True) -> None:
    picture = Image.open(io.BytesIO(page.screenshot(full_page=is_whole)))
    palette = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    palette.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
